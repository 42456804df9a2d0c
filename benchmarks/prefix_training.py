"""Seconds of an epoch on ml-100k: RecBole's expanded rows against every prefix in one pass.

Promise: both are measured in this one run, turn by turn, on the same data and the same number of threads; *stock* is
RecBole's own batch, loss and optimiser step, untouched. An epoch of stock SASRec takes minutes, so steps are timed
and multiplied by the steps of an epoch (``--steps`` of the stock ones, six times as many of ours, medians).

RecBole 1.2 switches autograd's anomaly detection on when its models are imported, and so stock runs with it;
``*_same_autograd`` is the ratio with it off on both sides.

Run: ``python benchmarks/prefix_training.py [--steps N] [--json]``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import torch
from _script import end, names_among, open_parser, positive, show

from llmrg.recbole_adapter.base_models import CAUSAL_MODELS
from llmrg.recbole_adapter.prefix_training import PrefixBatch, PrefixWindows, prefix_loss
from llmrg.recbole_adapter.training import prepare

TARGETS = {"speedup_sasrec": ">= 30"}
OURS_PER_STOCK = 6


def seconds_of(step: Callable[[], object], anomaly: bool) -> float:
    """Wall clock of one step."""
    with torch.autograd.set_detect_anomaly(anomaly):
        started = time.perf_counter()
        step()
        return time.perf_counter() - started


def measure(model_name: str, steps: int) -> dict[str, float]:
    """Median seconds per epoch of both paths, and their ratio."""
    prepared = prepare(model_name, "ml-100k")
    model = prepared.new_model().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=prepared.config["learning_rate"])
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    ours: list[PrefixBatch] = list(windows.batches(torch.Generator().manual_seed(0)))
    rows: Iterator[Any] = iter(prepared.train)
    ours_in_turn = cycle(ours)

    def descend(loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def stock_step() -> None:
        optimizer.zero_grad()
        descend(model.calculate_loss(next(rows)))

    def our_step() -> None:
        optimizer.zero_grad()
        descend(prefix_loss(model, next(ours_in_turn)))

    our_step()  # warm
    stock: list[float] = []
    quiet: list[float] = []
    prefix: list[float] = []
    for turn in range(2 * steps):
        (stock if turn % 2 == 0 else quiet).append(seconds_of(stock_step, anomaly=turn % 2 == 0))
        prefix += [seconds_of(our_step, anomaly=False) for _ in range(OURS_PER_STOCK // 2)]
    epoch = {
        "stock": statistics.median(stock) * len(prepared.train),
        "quiet": statistics.median(quiet) * len(prepared.train),
        "prefix": statistics.median(prefix) * len(ours),
    }
    name = model_name.lower()
    return {
        f"speedup_{name}": epoch["stock"] / epoch["prefix"],
        f"speedup_{name}_same_autograd": epoch["quiet"] / epoch["prefix"],
        f"stock_seconds_{name}": epoch["stock"],
        f"prefix_seconds_{name}": epoch["prefix"],
    }


def main() -> None:
    """Measure both models and print the figures."""
    parser = open_parser(__doc__)
    parser.add_argument("--steps", type=positive, default=5, help="stock steps timed per model and setting")
    parser.add_argument("--models", type=names_among(CAUSAL_MODELS), default="SASRec,GRU4Rec")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    for model in arguments.models:
        figures.update(measure(model, arguments.steps))
    show(figures, TARGETS)
    end("prefix_training", figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
