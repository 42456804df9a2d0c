"""What would be sent, written to a file instead.

Promise: a dry run opens no connection and changes nothing in the folder. It writes exactly the requests a run would
send next: one for every user of the first wave that has something to ask. What those users ask after that depends on
the replies, and what later waves ask also on what this one teaches the knowledge base; no dry run can know it.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from llmrg.errors import LlmrgError
from llmrg.graph.store import Failure, GraphStore
from llmrg.graph.store_records import STORE_FILE
from llmrg.graph.store_schema import explained
from llmrg.job.assembly import embedded_world
from llmrg.job.online import settled_offline
from llmrg.job.reading import GraphJob
from llmrg.reasoners.batch_files import batch_line
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.ledger import LEDGER_FILE, Ledger
from llmrg.reasoners.openai_endpoint import host_of
from llmrg.reasoners.traffic import Traffic
from llmrg.reasoning.engine import Steps
from llmrg.reasoning.generate import generate
from llmrg.reasoning.replay import replay
from llmrg.text.kept_vectors import kept_encoder

T = TypeVar("T")


def write_dry_run(
    job: GraphJob, path: Path, *, pilot: int | None = None
) -> tuple[DryRunEndsError | None, bool, list[Failure]]:
    """Write the requests that :func:`make_graphs` would send next, and send nothing.

    Args:
        job: data, settings (which name a language model) and folder; nothing in it is changed.
        path: file that gets one request a line, in the batch format.
        pilot: requests of so many users only, as a run with it would send.

    Returns:
        What was written (``None``: there is nothing to ask), whether how replies are held to their schema is
        assumed, because the endpoint was never asked, and the users that fail before anything more is asked of them.
    """
    _, world = embedded_world(job, kept_encoder(job.settings.text, job.folder, keep=False))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory())) / STORE_FILE
        if job.store_path.exists():
            with (
                explained(job.store_path),
                closing(sqlite3.connect(f"{job.store_path.absolute().as_uri()}?mode=ro", uri=True)) as kept,
                closing(sqlite3.connect(scratch)) as copy,
            ):
                kept.backup(copy)
        ledger = None
        if (job.folder / LEDGER_FILE).exists():
            ledger = stack.enter_context(Ledger.open(job.folder / LEDGER_FILE, create=False))
        store = stack.enter_context(GraphStore.open(scratch))
        model, assumed = settled_offline(store, job.settings.language_model)
        engine = DryRun(path, ledger, host_of(model))
        try:
            generate(
                job.dataset.histories,
                job.dataset.catalog,
                LanguageModel(model),
                store,
                engine=engine,
                settings=job.settings.generation,
                world=world,
                pilot=pilot,
            )
        except DryRunEndsError as end:
            return end, assumed, engine.failures
    return None, assumed, engine.failures


class DryRunEndsError(LlmrgError):
    """A dry run has written what it can know.

    Args:
        path: the file.
        requests: lines in it.
        users: whose next request it holds.
    """

    def __init__(self, path: Path, requests: int, users: int) -> None:
        super().__init__(f"{path}: {requests} requests of {users} users; nothing was sent")
        self.path, self.requests, self.users = path, requests, users


class DryRun:
    """An engine that sends nothing: it writes the next request of every user of a wave, and ends there.

    The file is in the batch format: a line a request, its body exactly as it would be sent.

    Args:
        path: of the file.
        ledger: what is recorded there is replayed, as a run would; ``None``: nothing is.
        host: would be sent to; hosts differ in a name.

    Attributes:
        failures: of the users so far who fail before anything more is asked.
    """

    traffic = Traffic()

    def __init__(self, path: Path, ledger: Ledger | None, host: str) -> None:
        self.path, self._ledger, self._host = path, ledger, host
        self.failures: list[Failure] = []

    def run(self, steps: Iterable[Steps[T]], pulse: Callable[[], None] | None = None) -> list[T]:
        """See :meth:`~llmrg.reasoning.engine.Engine.run`.

        Raises:
            DryRunEndsError: requests were written.
        """
        results, users = [], 0
        waiting: dict[str, CompletionRequest] = {}
        for one in steps:
            outcome = replay(one, self._known)
            if isinstance(outcome, CompletionRequest):
                waiting[outcome.content_hash] = outcome
                users += 1
                continue
            results.append(outcome)
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
        if not waiting:
            return results
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", encoding="utf-8") as file:
            for request in waiting.values():
                file.write(json.dumps(batch_line(request, self._host), ensure_ascii=True) + "\n")
        raise DryRunEndsError(self.path, len(waiting), users)

    def _known(self, request: CompletionRequest) -> Completion | EndpointError | None:
        return None if self._ledger is None else self._ledger.look_up(request)
