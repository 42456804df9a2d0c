"""The step that several verbs begin with: graphs of a data set, made or found unchanged, with progress.

Promise: what comes back was made for exactly these data and settings, and says what it cost, also where an
earlier run paid.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrg.cli.job_figures import figure_words, job_figures
from llmrg.cli.reuse_words import reuse_document
from llmrg.cli.screen import Bars, Screen, duration
from llmrg.errors import GraphError

if TYPE_CHECKING:
    from llmrg.evaluation.results import GenerationCost
    from llmrg.job.assembly import LanguageJob
    from llmrg.job.reading import GraphJob
    from llmrg.reasoners.budget import BudgetLimits
    from llmrg.reasoning.generate import GenerationReport, Progress

COST = "cost"  # key in the store's meta
SECONDS_BETWEEN_WORDS = 0.1  # completions come a thousand a second


@dataclass(frozen=True)
class MadeGraphs:
    """What the step left behind.

    Args:
        job: data, settings and folder.
        report: what this run did.
        graphs: users with a graph, older ones included.
        cost: of all graphs in the store, as far as recorded.
    """

    job: GraphJob
    report: GenerationReport
    graphs: int
    cost: GenerationCost

    @property
    def reused(self) -> bool:
        """Whether everything was there already."""
        return self.report.done == 0 and self.report.failed == 0

    @property
    def arrays(self) -> Path | None:
        """Where the graphs lie as arrays; ``None``: there is no graph, as after a pilot of part of a wave."""
        return self.job.arrays_path if self.graphs else None

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        report = self.report
        return {
            "dataset": self.job.dataset.name,
            "users": report.users,
            "graphs": self.graphs,
            "done": report.done,
            "skipped": report.skipped,
            "failed": report.failed,
            "problems": dict(report.problems),
            "requests": dict(report.requests),
            "cached": report.cached,
            "usage": asdict(report.usage),
            "usd": report.usd,
            "rungs": dict(report.rungs),
            "reuse": reuse_document(report.reuse),
            "claims": report.claims,
            "mean_score": report.mean_score,
            "rejected_share": report.rejected_share,
            "seconds": report.seconds,
            "recipe": report.recipe,
            "store": str(self.job.store_path),
            "arrays": None if self.arrays is None else str(self.arrays),
        }


def make_with_progress(
    screen: Screen,
    job: GraphJob,
    *,
    limits: BudgetLimits | None = None,
    pilot: int | None = None,
    language_job: LanguageJob | None = None,
    processes: int | None = None,
) -> MadeGraphs:
    """Make what is missing and say so.

    Args:
        screen: where to.
        job: data, settings and folder.
        limits: see :func:`~llmrg.job.assembly.make_graphs`.
        pilot: see :func:`~llmrg.job.assembly.make_graphs`.
        language_job: see :func:`~llmrg.job.assembly.make_graphs`.
        processes: the same; default: one a core.

    Raises:
        BudgetReached: a limit; what is finished and paid for is kept.
        GraphError: no user has a graph, nor got one in a pilot.
    """
    from llmrg.graph.store import GraphStore
    from llmrg.job.assembly import make_graphs
    from llmrg.processes import usable_cores

    said = float("-inf")

    def show(progress: Progress) -> None:
        nonlocal said
        if progress.seconds - said >= SECONDS_BETWEEN_WORDS or progress.done == progress.total:
            said = progress.seconds
            _show(bars, progress)

    with screen.progress() as bars:
        report = make_graphs(
            job,
            limits=limits,
            pilot=pilot,
            language_job=language_job,
            processes=processes or usable_cores(),
            notice=screen.note,
            progress=show,
            texts=lambda done, total: bars.update("text vectors", done, total),
        )
    with GraphStore.open(job.store_path) as store:
        cost = _add_cost(store.meta().get(COST), report, store.meta().get("reasoner", ""))
        cost |= _paid(job.folder)
        store.set_meta(**{COST: {"recipe": report.recipe, **cost}})
        graphs, failures = len(store), store.failures()
    if not graphs and not report.done:  # what a pilot of part of a wave has done is in no store
        first = f"; user {failures[0].user_id!r}: {failures[0].message}" if failures else ""
        raise GraphError(
            f"no user of {job.dataset.name!r} has a graph ({report.failed} of {report.users} users failed){first}"
        )
    made = MadeGraphs(job, report, graphs, _as_cost(cost))
    if made.reused:
        screen.note(f"the graphs of all {graphs} users are there already and unchanged: reused")
    else:
        screen.note(
            f"{report.done} graphs made in {duration(report.seconds)}, "
            f"{report.skipped} were there already, {report.failed} users failed"
        )
    return made


def _show(bars: Bars, progress: Progress) -> None:
    words = [f"{progress.requests} requests", *figure_words(job_figures(asdict(progress)))]
    if progress.failed:
        words.append(f"{progress.failed} failed")
    bars.update("reasoning graphs", progress.done, progress.total, ", ".join(words))


def _add_cost(before: Any, report: GenerationReport, reasoner: str) -> dict[str, Any]:
    """The recorded cost of a recipe with this run's on top."""
    now: dict[str, Any] = {
        "requests": report.requests.total(),
        "cached": report.cached,
        "input_tokens": report.usage.prompt_tokens,
        "output_tokens": report.usage.completion_tokens,
        # a run that found everything done took time to find out, which is no cost of the graphs
        "seconds": report.seconds if report.requests else 0.0,
    }
    if isinstance(before, dict) and before.get("recipe") == report.recipe:
        now = {name: value + (before.get(name) or 0) for name, value in now.items()}
    return {"reasoner": reasoner, **now}


def _paid(folder: Path) -> dict[str, Any]:
    """What the ledger says was paid, also by runs that were cut off before they could say so."""
    from llmrg.reasoners.ledger import LEDGER_FILE, Ledger

    if not (folder / LEDGER_FILE).exists():
        return {}
    with Ledger.open(folder / LEDGER_FILE, create=False) as ledger:
        totals = ledger.totals()
    tokens = {"input_tokens": totals.prompt_tokens, "output_tokens": totals.completion_tokens}
    return {**tokens, "dollars": totals.usd + totals.unsure_usd}


def _as_cost(values: dict[str, Any]) -> GenerationCost:
    from llmrg.evaluation.results import GenerationCost

    return GenerationCost(**values)
