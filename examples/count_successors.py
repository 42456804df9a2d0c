"""What counting alone reaches on ml-100k: no model, no graph, no training.

Run: ``python examples/count_successors.py``; ml-100k lies inside RecBole, nothing is downloaded. An item's score is
how often it followed one of the user's newest items in the training part, the same users, targets and full ranking
as in ``llmrg compare``. Read every gain of a graph on this data set beside these figures.
"""

from __future__ import annotations

import numpy as np

from llmrg.evaluation.metrics import mean_of, ranks_of_targets
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
    newest = [history[::-1][:NEWEST] for history in test.histories]
    scores = np.stack([DECAY ** np.arange(len(few)) @ counts[few] for few in newest])
    scores[:, 0] = -np.inf  # RecBole's padding item
    both = ranks_of_targets(scores, test.targets, test.histories)
    for seen_again in (True, False):
        ranks = both.of(seen_again)
        words = "seen items ranked like all others" if seen_again else "seen items ranked last"
        figures = ", ".join(f"{name.upper()} {mean_of(name, ranks):.4f}" for name in ("hr@10", "ndcg@10"))
        print(f"{len(ranks)} users, {words}: {figures}")


if __name__ == "__main__":
    main()
