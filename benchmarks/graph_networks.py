"""What each graph network, fusion and read-out costs: seconds per training step on ml-100k beside the default's.

Promise: all arms take turns, batch by batch, on the same windows (every prefix in one pass, SASRec), settings and
threads; graphs are those of the embedded reasoner with the default recipe (made once, kept in ``--folder``). A ratio
is the median over steps of an arm's seconds over the default's, its base model included; ``paper`` is the shipped
preset, whose horizon is 50 positions instead of 10.

Run: ``python benchmarks/graph_networks.py [--steps N] [--json]``.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from _script import end, names_among, open_parser, positive, show
from wrapper_overhead import batches, timed_step

from llmrg.job.assembly import make_graphs
from llmrg.job.reading import read_job
from llmrg.recbole_adapter.training import Prepared, prepare

TARGETS = {
    "ratio_gatv2": "<= 1.2",
    "ratio_transformer": "<= 1.2",
    "ratio_last_node": "<= 1.2",
    "ratio_norm_matched": "<= 1.2",
    "ratio_concat": "<= 1.2",
}
ARMS: dict[str, dict[str, Any]] = {
    "default": {},
    "gatv2": {"network": "gatv2"},
    "transformer": {"network": "transformer"},
    "srgnn": {"network": "srgnn"},
    "shared": {"shared": True},
    "last_node": {"readout": "last_node"},
    "norm_matched": {"fusion": "norm_matched"},
    "concat": {"fusion": "concat"},
    "paper": {},
}


def prepared_arm(arm: str, graphs: Path) -> Prepared:
    """One arm's model and data."""
    overrides = {"llmrg": {"graphs": str(graphs), "encoder": ARMS[arm]}}
    return prepare("SASRecLLMRG", "ml-100k", config_files=["paper"] * (arm == "paper"), overrides=overrides)


def measure(arms: list[str], steps: int, graphs: Path) -> dict[str, float]:
    """Median seconds of each arm's step, and their ratio to the default's."""
    prepared = {arm: prepared_arm(arm, graphs) for arm in arms}
    models = {arm: each.new_model().train() for arm, each in prepared.items()}
    optimizers = {arm: torch.optim.Adam(model.parameters(), lr=1e-3) for arm, model in models.items()}
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    with torch.autograd.set_detect_anomaly(False):
        for turn, batch in enumerate(batches(prepared["default"], "prefix")):
            for arm in arms:
                seconds[arm].append(timed_step(models[arm], optimizers[arm], batch, "prefix"))
            if turn == steps:
                break
    figures: dict[str, float] = {}
    for arm in arms:
        beside = zip(seconds[arm][1:], seconds["default"][1:], strict=True)
        figures[f"ratio_{arm}"] = statistics.median(ours / default for ours, default in beside)
        figures[f"seconds_{arm}"] = statistics.median(seconds[arm][1:])
    return figures


def main() -> None:
    """Measure every arm and print the figures."""
    parser = open_parser(__doc__, graphs=True)
    parser.add_argument("--steps", type=positive, default=8, help="steps timed per arm")
    parser.add_argument(
        "--arms",
        type=names_among(ARMS),
        default=",".join(ARMS),
        help="the default is measured in any case",
    )
    arguments = parser.parse_args()
    job = read_job("ml-100k", folder=arguments.folder)
    make_graphs(job, notice=lambda sentence: print(sentence, file=sys.stderr))
    arms = list(dict.fromkeys(["default", *arguments.arms]))
    figures = measure(arms, arguments.steps, job.arrays_path)
    show(figures, TARGETS)
    end("graph_networks", figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
