"""What counting alone reaches on ml-100k: no model, no graph, no training.

Run: ``python examples/count_successors.py``; ml-100k lies inside RecBole, nothing is downloaded. An item's score is
how often it followed one of the user's newest items in the training part, the same users, targets and full ranking
as in ``llmrg compare``. Read every gain of a graph on this data set beside these figures.
"""

from __future__ import annotations

import numpy as np

from llmrg.evaluation.metrics import mean_of
from llmrg.recbole_adapter.training import held_out, prepare

SPAN = 3  # steps within which one item counts as following another, by 1 / step
NEWEST = 5  # items of the user that are asked for their successors
DECAY = 0.7  # per step back


def main() -> None:
    prepared = prepare("SASRec", "ml-100k")
    items = prepared.dataset.item_num
    counts = np.zeros((items, items))
    for sequence in prepared.train_sequences():
        for step in range(1, SPAN + 1):
            np.add.at(counts, (sequence[:-step], sequence[step:]), 1 / step)

    test = held_out(prepared, "test")
    for seen_again in (True, False):
        ranks = np.empty(len(test.targets))
        for row, (history, target) in enumerate(zip(test.histories, test.targets, strict=True)):
            newest = history[::-1][:NEWEST]
            scores = DECAY ** np.arange(len(newest)) @ counts[newest]
            scores[0] = -1  # RecBole's padding item
            if not seen_again:
                scores[history] = -1  # as implausible as it gets: nobody here rates a film twice
            above, level = scores > scores[target], scores == scores[target]
            ranks[row] = above.sum() + (level.sum() + 1) / 2  # ties count half
        words = "seen items ranked like all others" if seen_again else "seen items ranked last"
        figures = ", ".join(f"{name.upper()} {mean_of(name, ranks):.4f}" for name in ("hr@10", "ndcg@10"))
        print(f"{len(ranks)} users, {words}: {figures}")


if __name__ == "__main__":
    main()
