"""What is not computed where the catalogue is large and histories short (the shape of amazon-beauty, items at random).

Promise: ways take turns on the same batches, model (SASRec) and threads; a ratio is the median over turns. A step over
all items against one over a batch's targets and 1,024 drawn items (``llmrg.training.sampled_softmax``), and the
scores of all items for the same users from RecBole's padded rows against rows of like length.

Run: ``python benchmarks/sparse_data.py [--steps N] [--json]``.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _script import end, open_parser, positive, show
from prefix_training import seconds_of

from llmrg.data.synthetic import write_atomic_files
from llmrg.recbole_adapter.prefix_training import PrefixBatch, PrefixWindows, prefix_loss
from llmrg.recbole_adapter.ranking import scores_of_all
from llmrg.recbole_adapter.sampled_softmax import Candidates, CandidateSampler
from llmrg.recbole_adapter.training import Prepared, prepare

TARGETS = {"speedup_sampled": ">= 2", "speedup_validation": ">= 2"}
USERS, ITEMS, DRAWN = 4_000, 12_000, 1_024


def prepared_data(folder: Path) -> Prepared:
    """SASRec on random users of 5 to 100 items, 9 on average; the loader's protocol is the shipped one."""
    random = np.random.default_rng(0)
    lengths = np.minimum(4 + random.geometric(0.2, USERS), 100)
    sequences = {
        f"u{user}": [f"i{item}" for item in random.integers(ITEMS, size=length)]
        for user, length in enumerate(lengths)
    }
    write_atomic_files(folder, "sparse", sequences)
    return prepare("SASRec", "sparse", overrides={"data_path": str(folder), "train_batch_size": 2048})


def measure(prepared: Prepared, turns: int) -> dict[str, float]:
    """Median seconds of every way, and their ratios."""
    model = prepared.new_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    generator = torch.Generator().manual_seed(0)
    sampler = CandidateSampler(windows.target_counts(), DRAWN)
    seconds: dict[str, list[float]] = {"all_items": [], "sampled": [], "padded": [], "by_length": []}
    rows = next(iter(prepared.valid))[0]

    def descend(batch: PrefixBatch, candidates: Candidates | None) -> None:
        optimizer.zero_grad()
        prefix_loss(model.train(), batch, candidates=candidates).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    for turn, batch in zip(range(turns + 1), windows.batches(generator), strict=False):
        drawn = sampler.draw(batch.target, batch.user, generator)
        took = {
            name: seconds_of(partial(descend, batch, candidates), anomaly=False)
            for name, candidates in (("all_items", None), ("sampled", drawn))
        }
        with torch.no_grad():
            model.eval()
            took["padded"] = seconds_of(partial(model.full_sort_predict, rows), anomaly=False)
            took["by_length"] = seconds_of(partial(scores_of_all, model, rows), anomaly=False)
        if turn:  # the first pays for what is loaded once
            for name, value in took.items():
                seconds[name].append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "speedup_sampled": median["all_items"] / median["sampled"],
        "speedup_validation": median["padded"] / median["by_length"],
        **{f"seconds_{name}": value for name, value in median.items()},
    }


def main() -> None:
    """Measure and print the figures."""
    parser = open_parser(__doc__)
    parser.add_argument("--steps", type=positive, default=8, help="turns timed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmrg-") as folder:
        figures = measure(prepared_data(Path(folder)), arguments.steps)
    show(figures, TARGETS)
    end("sparse_data", figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
