"""How long one user waits for ten recommendations on the CPU, with a stored graph, with one made now, and without.

Promise: every history is another user's, none is asked for twice, and the clock runs from the history to the titles;
loading the checkpoint is told apart. The model is SASRec with the graphs of the embedded reasoner on ml-100k, trained
for ``--epochs`` once and kept in ``--checkpoint`` (how well it recommends changes no time).

Run: ``python benchmarks/recommend_latency.py [--users N] [--json]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import torch
from _script import end, open_parser, positive, show

from llmrg.errors import LlmrgError
from llmrg.job.assembly import make_graphs
from llmrg.job.reading import read_job
from llmrg.recbole_adapter.checkpoint import load_checkpoint, save_checkpoint
from llmrg.recbole_adapter.training import fit, prepare
from llmrg.serving.recommender import GraphsFrom, Recommender, open_recommender

TARGETS = {"p50_ms": "<= 10"}
K = 10


def note(sentence: str) -> None:
    """What happens, beside the figures."""
    print(sentence, file=sys.stderr)


def trained(checkpoint: Path, folder: Path, epochs: int) -> Path:
    """A checkpoint of SASRecLLMRG on ml-100k, trained unless it is there and fits its graphs."""
    job = read_job("ml-100k", folder=folder)
    make_graphs(job, notice=note)
    try:
        load_checkpoint(checkpoint)
        return checkpoint
    except LlmrgError as error:
        note(f"training {epochs} epochs: {error}")
    overrides = {"epochs": epochs, "llmrg": {"graphs": str(job.arrays_path)}}
    prepared = prepare("SASRecLLMRG", "ml-100k", overrides=overrides)
    model = fit(prepared, prepared.new_model(), progress=lambda epoch: note(str(epoch))).model
    return save_checkpoint(checkpoint, model, prepared.config, prepared.train.dataset)


def waits(
    recommender: Recommender, histories: list[tuple[str, tuple[str, ...]]], *, named: bool
) -> list[float]:
    """Milliseconds of each user, ascending, but for the first five, who pay for what is loaded once."""
    times = []
    for user, history in histories:
        started = time.perf_counter()
        recommender.recommend(history, K, user_id=user if named else None)
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times[5:])


def main() -> None:
    """Measure and print."""
    parser = open_parser(__doc__, graphs=True)
    parser.add_argument("--users", type=positive, default=300, metavar="N")
    parser.add_argument(
        "--made", type=positive, default=60, metavar="N", help="users whose graph is made anew"
    )
    parser.add_argument("--epochs", type=positive, default=8, metavar="N")
    parser.add_argument("--threads", type=positive, default=1, metavar="N")
    parser.add_argument("--checkpoint", type=Path, default=Path("llmrg-data/benchmarks/checkpoint"))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    checkpoint = trained(chosen.checkpoint, chosen.folder, chosen.epochs)
    figures: dict[str, float] = {}
    ways: tuple[tuple[str, GraphsFrom, bool, int], ...] = (
        ("", "stored", True, chosen.users),
        ("masked_", "none", True, chosen.users),
        ("made_", "any", False, chosen.made),
    )
    histories: list[tuple[str, tuple[str, ...]]] = []
    for name, graphs, named, count in ways:
        started = time.perf_counter()
        with open_recommender(checkpoint, graphs=graphs) as recommender:
            if not name:
                figures["load_seconds"] = time.perf_counter() - started
                assert recommender.arrays is not None
                users = recommender.arrays.user_ids.tolist()
                histories = [(user, recommender.known_history(user)) for user in users]
            times = waits(recommender, histories[: count + 5], named=named)
        figures[f"{name}p50_ms"] = statistics.median(times)
        figures[f"{name}p95_ms"] = times[int(0.95 * len(times))]
    show(figures, TARGETS)
    end("recommend_latency", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
