"""Graphs by the embedded reasoner in one process and in several: the same bytes, in less time.

Promise: both ways take turns in one run, each with statistics and workers of its own; the seconds are of the whole job,
starting the workers included, as ``GenerationReport`` has them. Titles are hashed, so that no model is loaded. Five
processes at most by default: a worker has whole folds, of which there are ten.

Run: ``python benchmarks/generation_processes.py [--dataset NAME] [--data-path DIR] [--max-users N] [--processes N]
[--rounds N] [--json]``.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from _script import end, open_parser, positive, show

from llmrg.graph.store import GraphStore
from llmrg.job.assembly import embedded_world
from llmrg.job.reading import GraphJob, read_job
from llmrg.processes import usable_cores
from llmrg.reasoning.generate import generate
from llmrg.text.encoder import load_text_encoder

TARGETS = {"speedup_per_process": ">= .75", "same_graphs": ">= 1"}


def run_job(job: GraphJob, processes: int) -> tuple[float, str]:
    """Generate every graph; the seconds, and a hash of the graphs."""
    reasoner, world = embedded_world(job, load_text_encoder(job.settings.text))
    with tempfile.TemporaryDirectory() as folder, GraphStore.open(Path(folder) / "graphs.sqlite") as store:
        report = generate(
            job.dataset.histories,
            job.dataset.catalog,
            reasoner,
            store,
            settings=job.settings.generation,
            world=world,
            processes=processes,
        )
        return report.seconds, store.content_hash()


def main() -> None:
    """Take turns, and print."""
    parser = open_parser(__doc__)
    parser.add_argument("--dataset", default="ml-100k", metavar="NAME")
    parser.add_argument("--data-path", type=Path, metavar="DIR")
    parser.add_argument("--max-users", type=int, default=400, metavar="N", help="0: all")
    parser.add_argument("--processes", type=positive, default=min(usable_cores(), 5), metavar="N")
    parser.add_argument("--rounds", type=positive, default=2, metavar="N")
    chosen = parser.parse_args()
    overrides: dict[str, object] = {"data_path": str(chosen.data_path)} if chosen.data_path else {}
    overrides["llmrg"] = {
        "text": {"encoder": "hashing"},
        "training": {"max_users": chosen.max_users or None},
    }
    job = read_job(chosen.dataset, overrides=overrides)
    seconds: dict[int, list[float]] = {1: [], chosen.processes: []}
    hashes = set()
    for _ in range(chosen.rounds):
        for processes, found in seconds.items():
            took, content = run_job(job, processes)
            found.append(took)
            hashes.add(content)
            print(f"{processes} processes: {took:.1f} s", flush=True)
    one, several = statistics.median(seconds[1]), statistics.median(seconds[chosen.processes])
    figures = {
        "processes": chosen.processes,
        "seconds_one": one,
        "seconds_several": several,
        "speedup": one / several,
        "speedup_per_process": one / several / chosen.processes,
        "same_graphs": float(len(hashes) == 1),
    }
    show(figures, TARGETS)
    end("generation_processes", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
