"""What the graph branch costs: enhanced against base seconds per step on ml-100k, on each path a model has.

Promise: base and enhanced take turns, batch by batch, on the same batches, settings and threads; graphs are those of
the embedded reasoner with the default recipe (made once, kept in ``--folder``). ``ratio_<model>`` is the worse of
its paths: every prefix in one pass where the model is causal, and RecBole's rows (in batches of a quarter, to be done
in time) for all.

Run: ``python benchmarks/wrapper_overhead.py [--steps N] [--json]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from _script import end, names_among, open_parser, positive, show

from llmrg.job.assembly import make_graphs
from llmrg.job.reading import read_job
from llmrg.recbole_adapter.base_models import CAUSAL_MODELS
from llmrg.recbole_adapter.prefix_training import PrefixWindows, prefix_loss
from llmrg.recbole_adapter.training import Prepared, enhanced_name, prepare

MODELS = ("SASRec", "GRU4Rec", "BERT4Rec", "FDSA", "CL4SRec", "DuoRec")
ROWS = 512
TARGETS = {
    "ratio_sasrec": "<= 1.15",
    "ratio_gru4rec": "<= 1.15",
    "ratio_bert4rec": "<= 1.15",
    "ratio_fdsa": "<= 1.15",
    "ratio_cl4srec": "<= 1.15",
    "ratio_duorec": "<= 1.15",
}


def timed_step(model: Any, optimizer: torch.optim.Optimizer, batch: Any, path: str) -> float:
    """Seconds of one optimisation step."""
    started = time.perf_counter()
    optimizer.zero_grad()
    loss = prefix_loss(model, batch) if path == "prefix" else model.calculate_loss(batch)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - started


def batches(prepared: Prepared, path: str) -> Iterable[Any]:
    """Batches of one epoch."""
    if path == "expanded":
        return prepared.train
    return PrefixWindows.from_config(prepared.config, prepared.train.dataset).batches(
        torch.Generator().manual_seed(0)
    )


def measure(base: str, path: str, steps: int, graphs: Path) -> float:
    """Median over steps of enhanced seconds / base seconds."""
    size = {} if path == "prefix" else {"train_batch_size": ROWS}
    plain = prepare(base, "ml-100k", overrides=size)
    enhanced = prepare(enhanced_name(base), "ml-100k", overrides={"llmrg": {"graphs": str(graphs)}, **size})
    models = [plain.new_model().train(), enhanced.new_model().train()]
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in models]
    ratios = []
    with torch.autograd.set_detect_anomaly(False):
        for turn, batch in enumerate(batches(enhanced, path)):
            seconds = [timed_step(m, o, batch, path) for m, o in zip(models, optimizers, strict=True)]
            ratios.append(seconds[1] / seconds[0])
            if turn == steps:
                break
    return statistics.median(ratios[1:])


def main() -> None:
    """Measure every model on its paths and print the figures."""
    parser = open_parser(__doc__, graphs=True)
    parser.add_argument(
        "--steps", type=positive, default=20, help="steps timed on the prefix path (a quarter on the other)"
    )
    parser.add_argument("--models", type=names_among(MODELS), default=",".join(MODELS))
    arguments = parser.parse_args()
    job = read_job("ml-100k", folder=arguments.folder)
    make_graphs(job, notice=lambda sentence: print(sentence, file=sys.stderr))
    figures: dict[str, float] = {}
    for model in arguments.models:
        by_path = {"expanded": measure(model, "expanded", max(3, arguments.steps // 4), job.arrays_path)}
        if model in CAUSAL_MODELS:
            by_path["prefix"] = measure(model, "prefix", arguments.steps, job.arrays_path)
        figures[f"ratio_{model.lower()}"] = max(by_path.values())
        figures |= {f"ratio_{model.lower()}_{path}": ratio for path, ratio in by_path.items()}
    show(figures, TARGETS)
    end("wrapper_overhead", figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
