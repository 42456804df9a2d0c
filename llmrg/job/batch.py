"""The offline job by files: a wave's users think until each waits for an answer, and what they ask is a file.

Promise: nothing is sent, and no connection opened. What the ledger knows is replayed, so the files of a wave are its
stages; a wave whose last answer has arrived is committed, and ends in the very store that a run online leaves. What is
out in a file is not written to another one unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from llmrg.errors import BudgetReached, LlmrgError
from llmrg.graph.store import GraphStore
from llmrg.job.online import LOCK_FILE, OnlineJob, hold, own_price, settled_offline
from llmrg.reasoners.batch_files import BatchWriter
from llmrg.reasoners.batch_ledger import BatchLedger
from llmrg.reasoners.budget import Budget, BudgetLimits
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.ledger import LEDGER_FILE
from llmrg.reasoners.openai_endpoint import host_of
from llmrg.reasoners.prices import price_table
from llmrg.reasoners.traffic import EVENTS_FILE, EventLog, Traffic
from llmrg.reasoning.engine import Steps
from llmrg.reasoning.replay import replay
from llmrg.settings import LlmrgSettings

BATCHES_FOLDER = "batches"

T = TypeVar("T")


class ExportEndsError(LlmrgError):
    """A wave waits for answers.

    Args:
        files: written now, to their number of requests.
        out: requests that lie in files written before, and have no answer yet.
        users: who wait.
        assumed: how replies are held to their schema is a guess: the endpoint was never asked.
        held_back: users whose request the budget left no room for.
    """

    def __init__(
        self, files: dict[Path, int], *, out: int, users: int, assumed: bool = False, held_back: int = 0
    ) -> None:
        super().__init__(f"{sum(files.values())} requests were written, {users} users wait for answers")
        self.files, self.out, self.users = files, out, users
        self.assumed, self.held_back = assumed, held_back


class BatchExport:
    """An engine that writes what it would ask into files, and ends there.

    Args:
        ledger: what it holds is replayed.
        writer: makes the writer of one wave's files.
        attempts: after so many failed ones a request is given up.
        again: write also what is out already.
    """

    def __init__(
        self, ledger: BatchLedger, writer: Callable[[], BatchWriter], *, attempts: int, again: bool = False
    ) -> None:
        self._ledger, self._writer, self._attempts, self._again = ledger, writer, attempts, again
        self._recorded = 0

    @property
    def traffic(self) -> Traffic:
        """Nothing goes over the line; what was recorded is counted."""
        return Traffic(recorded=self._recorded)

    def run(self, steps: Iterable[Steps[T]], pulse: Callable[[], None] | None = None) -> list[T]:
        """See :meth:`~llmrg.reasoning.engine.Engine.run`.

        Raises:
            ExportEndsError: somebody waits for an answer.
            BudgetReached: somebody has something to ask, nothing is out, and the budget leaves no room at all.
        """
        results, users, held_back = [], 0, 0
        out: set[str] = set()
        mine: set[str] = set()
        limit: BudgetReached | None = None
        with self._writer() as writer:
            for one in steps:
                outcome = replay(one, self._known)
                if not isinstance(outcome, CompletionRequest):
                    results.append(outcome)
                    continue
                users += 1
                name = outcome.content_hash
                if name in mine:
                    continue
                if self._ledger.outcome(outcome, self._attempts)[1] and not self._again:
                    out.add(name)
                    continue
                try:
                    writer.add(outcome)
                    mine.add(name)
                except BudgetReached as reached:
                    limit, held_back = reached, held_back + 1
        if limit is not None and not writer.written and not out:
            raise limit
        if users:
            raise ExportEndsError(writer.written, out=len(out), users=users, held_back=held_back)
        return results

    def _known(self, request: CompletionRequest) -> Completion | EndpointError | None:
        found, _ = self._ledger.outcome(request, self._attempts)
        self._recorded += found is not None
        return found


@contextmanager
def open_batch_job(
    folder: Path,
    store: GraphStore,
    settings: LlmrgSettings,
    *,
    limits: BudgetLimits | None = None,
    again: bool = False,
) -> Iterator[OnlineJob]:
    """Make a language model ready that is asked by files, and close everything afterwards.

    Args:
        folder: of the store; the files go to :data:`BATCHES_FOLDER` in it.
        store: remembers what the endpoint keeps to, if it was ever asked.
        settings: ``language_model`` and ``job`` are read.
        limits: of money, calls and tokens, at the price of batches.
        again: write also what is out in files that were never answered.

    Raises:
        StoreError: another run works on the folder, or the ledger cannot be used.
        ExportEndsError: (inside) a wave waits for answers.
    """
    job, model = settings.job, settings.language_model
    with (
        hold(folder / LOCK_FILE),
        BatchLedger.open(folder / LEDGER_FILE) as ledger,
        EventLog(folder / EVENTS_FILE) as events,
    ):
        totals, own = ledger.totals(), own_price(job)
        budget = Budget(limits or BudgetLimits(), price_table(), own_price=own, before=totals, mode="batch")
        settled, assumed = settled_offline(store, model)

        def writer() -> BatchWriter:
            return BatchWriter(folder / BATCHES_FOLDER, ledger, budget, host_of(model), own_price=own)

        engine = BatchExport(ledger, writer, attempts=job.attempts, again=again)
        events.write("started", model=model.model, limits=asdict(budget.limits), ledger=asdict(totals))
        try:
            yield OnlineJob(LanguageModel(settled), engine, budget, events)
        except ExportEndsError as end:
            end.assumed = assumed
            events.write("exported", files=[path.name for path in end.files], users=end.users, out=end.out)
            raise
        finally:
            events.write("ended", traffic=asdict(engine.traffic), spent_usd=budget.spent.usd)
