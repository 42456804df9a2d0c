"""What the knowledge base saves, and what it costs: calls by users done, verification scores, audits, hits.

Promise: the same users in the same order, once with the knowledge base and once without, embedded reasoner, nothing
trained. Calls are counted as asked; scores are those in the graphs; hits say how often the validation item is among
the newest items imagined before it, which no verification score tells.

Run: ``python benchmarks/knowledge_reuse.py [--dataset NAME] [--data-path DIR] [--max-users N] [--min-fit A,B]``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _script import end, open_parser, positive, show

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import NodeKind, ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.job.reading import GraphJob, read_job
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoning.generate import generate
from llmrg.reasoning.generation_report import GenerationReport, Progress
from llmrg.text.encoder import load_text_encoder

TARGETS = {
    "saved_3001_to_6000": ">= 0.6",  # of the calls, on a data set with so many users (amazon-beauty)
    "reason_score_ratio": ">= 1",  # mean verification score of all reasons, with over without
}
STEP = 1000  # users a line of the table


@dataclass
class Run:
    """One run of the job.

    Args:
        report: of the job.
        calls: answered so far, after each user.
        reasons: mean score of all reasons.
        hits: share of users whose validation item the newest imagined items before it name.
    """

    report: GenerationReport
    calls: list[int] = field(default_factory=list)
    reasons: float = 0.0
    hits: float = 0.0

    def between(self, first: int, last: int) -> int:
        """Calls for users ``first`` to ``last``, counted from 1."""
        before = self.calls[first - 2] if first > 1 else 0
        return self.calls[min(last, len(self.calls)) - 1] - before


def run_job(
    job: GraphJob, histories: Sequence[UserHistory], reasoner: EmbeddedReasoner, **changes: object
) -> Run:
    """Generate every graph, counting."""
    calls: list[int] = []
    settings = job.settings.generation.model_copy(update=changes)

    def watch(progress: Progress) -> None:
        if len(calls) < progress.done:
            calls.append(progress.requests)

    with tempfile.TemporaryDirectory() as folder, GraphStore.open(Path(folder) / "graphs.sqlite") as store:
        report = generate(histories, job.dataset.catalog, reasoner, store, settings=settings, progress=watch)
        graphs = {graph.user_id: graph for graph in store}
    scores = [node.score for g in graphs.values() for node in g.nodes if node.kind is NodeKind.REASON]
    return Run(report, calls, sum(scores) / max(1, len(scores)), hit_rate(histories, graphs))


def hit_rate(histories: Sequence[UserHistory], graphs: dict[str, ReasoningGraph]) -> float:
    """Of users with a validation item and something imagined before it, how often that names it."""
    hits = rows = 0
    for history in histories:
        imagined: dict[int, set[str]] = {}
        for node in graphs[history.user_id].nodes:
            if node.kind is NodeKind.IMAGINED_ITEM and node.item_id and node.position < history.train_length:
                imagined.setdefault(node.position, set()).add(node.item_id)
        if imagined and history.train_length < len(history):
            rows += 1
            hits += history.item_ids[history.train_length] in imagined[max(imagined)]
    return hits / max(1, rows)


def table(plain: Run, known: Run) -> list[str]:
    """Users done against calls saved."""
    lines = [f"{'users':>15} {'calls without':>14} {'with':>8} {'saved':>7}"]
    for first in range(1, len(plain.calls) + 1, STEP):
        last = min(first + STEP - 1, len(plain.calls))
        without, asked = plain.between(first, last), known.between(first, last)
        lines.append(f"{first:>7}-{last:<7} {without:>14} {asked:>8} {1 - asked / without:>7.1%}")
    return lines


def figures_of(plain: Run, known: Run) -> dict[str, float]:
    """The figures of a pair of runs."""
    users = len(plain.calls)
    reuse = known.report.reuse
    figures = {
        "saved": 1 - known.calls[-1] / plain.calls[-1],
        "calls_per_user_without": plain.calls[-1] / users,
        "calls_per_user_with": known.calls[-1] / users,
        "reason_score_without": plain.reasons,
        "reason_score_with": known.reasons,
        "reason_score_ratio": known.reasons / plain.reasons,
        "audited": reuse.audited_links.count + reuse.audited_imagined.count,
        "audited_link_score": reuse.audited_links.score,
        "audited_imagined_score": reuse.audited_imagined.score,
        "false_links": reuse.audited_links.false_rate,
        "false_imagined": reuse.audited_imagined.false_rate,
        "hits_without": plain.hits,
        "hits_with": known.hits,
    }
    enough = users >= 6000
    saved = 1 - known.between(3001, 6000) / plain.between(3001, 6000) if enough else None
    return {**figures, "saved_3001_to_6000": saved}


def main() -> None:
    """Run twice (or more), and print."""
    parser = open_parser(__doc__)
    parser.add_argument("--dataset", default="ml-100k", metavar="NAME")
    parser.add_argument("--data-path", type=Path, metavar="DIR")
    parser.add_argument("--max-users", type=positive, metavar="N")
    parser.add_argument(
        "--min-fit", default="", metavar="A,B", help="values of generation.knowledge_min_fit to try"
    )
    chosen = parser.parse_args()
    try:
        fits = [float(value) for value in chosen.min_fit.split(",") if value]
    except ValueError:
        parser.error(f"--min-fit: expected numbers, found {chosen.min_fit!r}")
    overrides: dict[str, object] = {} if chosen.data_path is None else {"data_path": str(chosen.data_path)}
    job = read_job(chosen.dataset, overrides=overrides)
    histories = job.dataset.histories[: chosen.max_users]
    reasoner = EmbeddedReasoner.from_histories(
        job.dataset.histories,
        job.dataset.catalog,
        load_text_encoder(job.settings.text),
        job.settings.embedded,
    )
    plain = run_job(job, histories, reasoner, knowledge=False)
    figures: dict[str, float | None] = {}
    for fit in fits or [job.settings.generation.knowledge_min_fit]:
        known = run_job(job, histories, reasoner, knowledge=True, knowledge_min_fit=fit)
        figures = figures_of(plain, known)
        print(f"{chosen.dataset}, {len(histories)} users, knowledge_min_fit {fit:g}")
        print("\n".join(table(plain, known)))
        show(figures, TARGETS)
    end("knowledge_reuse", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
