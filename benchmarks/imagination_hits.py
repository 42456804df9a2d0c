"""How often the true next item is among the imagined ones, how far up, and among as many that need no reasoning.

Promise: nothing is trained; every rate is taken over all users with a validation row, at equal budget (each
rival names exactly as many items as the user's graph imagines; the control arm ``neighbours`` as many a window
as the reasoner is asked for), and only ``--test`` reads the test targets.
The embedded reasoner's constants were chosen with this script, on validation targets alone::

    python benchmarks/imagination_hits.py --max-history 10 --vary divergent.DECAY=0.6,0.75,0.9
    python benchmarks/imagination_hits.py --max-history 10 --vary divergent.DECAY=0.6,0.75,0.9 \\
        --dataset amazon-beauty --data-path DIR --max-users 3000

Run: ``python benchmarks/imagination_hits.py [--dataset NAME] [--data-path DIR] [--max-users N] [--test] [--json]``.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _script import end, open_parser, positive, show

from llmrg.data.atomic_files import read_dataset
from llmrg.data.cutoff import GlobalTime
from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import NodeKind, ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.job.reading import GraphJob, read_job
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoning.generate import generate
from llmrg.reasoning.neighbours import neighbour_graphs
from llmrg.reasoning.world import World
from llmrg.text.encoder import load_text_encoder

TARGETS = {
    "hit_fresh_over_neighbours": ">= 1.1",
    "hit_fresh_over_control": ">= 1.1",
    "ndcg_fresh_over_control": ">= 1.1",
    "hit_recent_over_control": ">= 1",  # over_neighbours would set four windows against one fresh list as long
}

RECENT = 20  # positions: four windows of five
LIST = 10  # places of a list that NDCG counts
SEEDS = 5  # newest items whose neighbours the rival names
ROOMS = {"divergent", "evidence", "verification", "chained"}

Row = tuple[UserHistory, int, str]  # history, position of the target, target


@dataclass(frozen=True)
class Rates:
    """Over all rows: share of targets named, where they stand, and items named per row.

    Args:
        imagined: by the graphs.
        neighbours: by co-occurrence with the newest items, as many as the graph imagines.
        popularity: by popularity, as many.
        ndcg: NDCG@10 of the graphs' lists, ordered by node score (of an item imagined twice the better one).
        items: mean budget.
    """

    imagined: float
    neighbours: float
    popularity: float
    ndcg: float
    items: float


def rows_of(histories: Sequence[UserHistory]) -> list[Row]:
    """Every user's validation row."""
    return [(h, h.train_length, h.item_ids[h.train_length]) for h in histories if h.train_length < len(h)]


def test_rows_of(histories: Sequence[UserHistory], job: GraphJob, data_path: Path | None) -> list[Row]:
    """Every user's test row; reads the files a second time, without a cut-off."""
    everything = read_dataset(data_path, job.dataset.name, cutoff=GlobalTime(math.inf, math.inf)).by_user
    rows = []
    for history in histories:
        full = everything[history.user_id].item_ids
        if len(full) > len(history):
            if full[: len(history)] != history.item_ids:
                raise SystemExit(f"user {history.user_id}: the two readings of the files differ")
            rows.append((history, len(history), full[len(history)]))
    return rows


def measure(
    rows: Sequence[Row], graphs: dict[str, ReasoningGraph], reasoner: EmbeddedReasoner, reach: int | None
) -> Rates:
    """Hit rates over rows.

    Args:
        rows: whose targets.
        graphs: by user.
        reasoner: holds the statistics the rivals are made from.
        reach: positions before the target whose imagined items count; ``None``: the newest window's alone.
    """
    hits, gain, budget = np.zeros(3), 0.0, 0
    for history, position, target in rows:
        graph = graphs[history.user_id]
        oldest = position - (1 if reach is None else reach)
        imagined: dict[str, float] = {}
        for node in graph.nodes:
            fresh = node.kind is NodeKind.IMAGINED_ITEM and oldest <= node.position < position
            if fresh and node.item_id is not None and node.score >= graph.tau:
                imagined[node.item_id] = max(node.score, imagined.get(node.item_id, 0.0))
        if not imagined:
            continue
        wanted = reasoner.cooccurrence.index[target]
        rivals = _rivals(history.item_ids[:position], history.user_id, reasoner, len(imagined))
        hits += [target in imagined, *(wanted in rival for rival in rivals)]
        place = sorted(imagined, key=lambda one: -imagined[one])[:LIST]
        gain += 1 / math.log2(place.index(target) + 2) if target in place else 0.0
        budget += len(imagined)
    rates = hits / len(rows)
    return Rates(float(rates[0]), float(rates[1]), float(rates[2]), gain / len(rows), budget / len(rows))


def _rivals(
    known: Sequence[str], user_id: str, reasoner: EmbeddedReasoner, count: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Item indexes: neighbours of the newest items, then popular ones; none the user has. [count] each"""
    cooccurrence = reasoner.cooccurrence
    view = cooccurrence.without(cooccurrence.fold_of(user_id))
    taken = np.array([cooccurrence.index[i] for i in known])
    newest = taken[-SEEDS:]
    item, score = view.neighbours.item[newest].ravel(), view.neighbours.score[newest].ravel()
    for strength in (np.bincount(item, score, minlength=len(cooccurrence)), view.popularity.astype(float)):
        strength[taken] = -1.0
        yield np.argsort(-strength, kind="stable")[:count]


def without_held_out(history: UserHistory) -> UserHistory:
    """The training part alone, so that the last window ends where the validation row begins."""
    return dataclasses.replace(history, item_ids=history.train_item_ids, timestamps=())


def imagine(
    job: GraphJob,
    histories: Sequence[UserHistory],
    reasoner: EmbeddedReasoner,
    *,
    knowledge: bool | None = None,
) -> dict[str, ReasoningGraph]:
    """The graphs of some users; knowledge is reused where a reasoner's settings say so by default."""
    settings = job.settings.generation.model_copy(update={"knowledge": knowledge})
    with tempfile.TemporaryDirectory() as folder, GraphStore.open(Path(folder) / "graphs.sqlite") as store:
        generate(histories, job.dataset.catalog, reasoner, store, settings=settings)
        return {graph.user_id: graph for graph in store}


def figures_of(
    rows: Sequence[Row],
    graphs: dict[str, ReasoningGraph],
    control: dict[str, ReasoningGraph],
    reasoner: EmbeddedReasoner,
    suffix: str = "",
) -> dict[str, float]:
    """All figures over some rows."""
    figures: dict[str, float] = {}
    for name, reach in (("fresh", None), ("recent", RECENT)):
        rates = measure(rows, graphs, reasoner, reach)
        plain = measure(rows, control, reasoner, reach)
        figures[f"hit_{name}{suffix}"] = rates.imagined
        figures[f"control_{name}{suffix}"] = plain.imagined
        figures[f"ndcg_{name}{suffix}"] = rates.ndcg
        figures[f"control_ndcg_{name}{suffix}"] = plain.ndcg
        figures[f"neighbours_{name}{suffix}"] = rates.neighbours
        figures[f"popularity_{name}{suffix}"] = rates.popularity
        figures[f"items_{name}{suffix}"] = rates.items
        figures[f"control_items_{name}{suffix}"] = plain.items
        figures[f"hit_{name}_over_neighbours{suffix}"] = rates.imagined / max(rates.neighbours, 1e-9)
        figures[f"hit_{name}_over_control{suffix}"] = rates.imagined / max(plain.imagined, 1e-9)
        figures[f"ndcg_{name}_over_control{suffix}"] = rates.ndcg / max(plain.ndcg, 1e-9)
    return figures


def variants(vary: Sequence[str]) -> Iterator[str]:
    """Set the constants of the reasoner's rooms to every combination asked for, and say which it is."""
    axes = []
    for word in vary:
        name, _, values = word.partition("=")
        room, _, constant = name.partition(".")
        if room not in ROOMS:
            raise SystemExit(
                f"--vary: expected ROOM.CONSTANT=VALUE,... with a room of {sorted(ROOMS)}, found {word!r}"
            )
        module = importlib.import_module(f"llmrg.reasoners.offline_{room}")
        if not hasattr(module, constant):
            raise SystemExit(f"--vary: {module.__name__} has no constant {constant!r}")
        axes.append([(module, constant, float(value)) for value in values.split(",")])
    for choice in itertools.product(*axes):
        for module, constant, value in choice:
            setattr(module, constant, value)
        yield ", ".join(f"{constant} {value:g}" for _, constant, value in choice) or "as shipped"


def main() -> None:
    """Imagine, count, and print."""
    parser = open_parser(__doc__)
    parser.add_argument("--dataset", default="ml-100k", metavar="NAME")
    parser.add_argument("--data-path", type=Path, metavar="DIR")
    parser.add_argument(
        "--max-users", type=positive, metavar="N", help="users counted; statistics read all of them"
    )
    parser.add_argument(
        "--max-history", type=positive, metavar="N", help="newest interactions reasoned about (quicker)"
    )
    parser.add_argument(
        "--window", type=positive, metavar="N", help="new items a window (default: the settings')"
    )
    parser.add_argument(
        "--vary", action="append", default=[], metavar="ROOM.CONSTANT=A,B", help="try other constants"
    )
    parser.add_argument(
        "--test", action="store_true", help="count test targets too; look once, when all is chosen"
    )
    chosen = parser.parse_args()
    generation = {"max_history": chosen.max_history}
    if chosen.window is not None:
        generation["window"] = chosen.window
    overrides: dict[str, object] = {"llmrg": {"generation": generation}}
    if chosen.data_path is not None:
        overrides["data_path"] = str(chosen.data_path)
    job = read_job(chosen.dataset, overrides=overrides)
    histories = job.dataset.histories[: chosen.max_users]
    first = EmbeddedReasoner.from_histories(
        job.dataset.histories,
        job.dataset.catalog,
        load_text_encoder(job.settings.text),
        job.settings.embedded,
    )
    world = World(job.dataset.catalog, first.cooccurrence, first.grounding)
    train = [without_held_out(history) for history in histories]
    plain = {graph.user_id: graph for graph in neighbour_graphs(train, world, job.settings.generation)}
    figures: dict[str, float] = {}
    for words in variants(chosen.vary):
        begun = time.perf_counter()
        reasoner = EmbeddedReasoner(
            job.dataset.catalog,
            first.cooccurrence,
            first.grounding,
            neighbours=job.settings.embedded.neighbours,
        )
        graphs = imagine(job, train, reasoner)
        figures = figures_of(rows_of(histories), graphs, plain, reasoner)
        reused = measure(rows_of(histories), imagine(job, train, reasoner, knowledge=True), reasoner, None)
        figures["hit_fresh_with_knowledge"] = reused.imagined
        figures["hit_fresh_with_over_without_knowledge"] = reused.imagined / max(figures["hit_fresh"], 1e-9)
        if chosen.test:
            test = test_rows_of(histories, job, chosen.data_path)
            graphs = imagine(job, histories, reasoner)
            settings = job.settings.generation
            control = {graph.user_id: graph for graph in neighbour_graphs(histories, world, settings)}
            figures |= figures_of(test, graphs, control, reasoner, "_test")
        figures["seconds"] = time.perf_counter() - begun
        print(words)
        show(figures, TARGETS)
    end("imagination_hits", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
