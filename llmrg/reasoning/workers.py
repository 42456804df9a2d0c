"""Worker processes that think, for a reasoner that answers by itself and so is as fast as its core.

Promise: how many there are changes no bit of a graph and no count of a report but its seconds. A worker has the users
of some scopes and no others, so that what answers a scope is prepared once, not once in each process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError
from llmrg.graph.store import Failure
from llmrg.processes import end_at_once, leave_endings_to_parent
from llmrg.reasoning.agent import Reasoned
from llmrg.reasoning.engine import InProcess, one_blas_thread
from llmrg.reasoning.generation_report import GenerationReport
from llmrg.reasoning.knowledge_base import Snapshot
from llmrg.reasoning.thinker import Thinker


@dataclass(frozen=True, slots=True)
class Thought:
    """What thinking about one user ended in.

    Args:
        outcome: the graph with what belongs to it, or why there is none.
        answers: a report that counts the questions asked and nothing else.
    """

    outcome: Reasoned | Failure
    answers: GenerationReport


class Workers:
    """Processes that think about users; a context manager.

    Args:
        thinker: copied into each process; its reasoner answers by itself.
        processes: how many.
    """

    def __init__(self, thinker: Thinker, processes: int) -> None:
        self._scope = thinker.reasoner.scope
        self._place: dict[str, int] = {}
        self._others = multiprocessing.active_children()
        context = multiprocessing.get_context("spawn")  # torch, which encoded the titles, and fork do not mix
        self._pools = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(thinker,))
            for _ in range(processes)
        ]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            end_at_once(self._pools, self._others)
            return
        for pool in self._pools:
            pool.shutdown()

    def begin(self, users: Sequence[UserHistory], wave: int, snapshot: Snapshot) -> list[Future[Thought]]:
        """Have the users of a wave thought about; returns at once, one future for each.

        Raises:
            ReasonerError: see :func:`thought_of`.
        """
        with _told():
            return [
                self._of(self._scope(history.user_id)).submit(_think, history, wave, snapshot)
                for history in users
            ]

    def _of(self, scope: str) -> ProcessPoolExecutor:
        """The process that has the users of a scope: the next one in turn where it has none yet."""
        return self._pools[self._place.setdefault(scope, len(self._place)) % len(self._pools)]


def thought_of(future: Future[Thought]) -> Thought:
    """Wait for what :meth:`Workers.begin` began.

    Raises:
        ReasonerError: the process was ended from outside.
    """
    with _told():
        return future.result()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise ReasonerError(
            "a process that thinks about users ended by itself (killed for want of memory?); what is finished is kept; "
            "go on with fewer: --processes 1"
        ) from error


_thinker: Thinker | None = None  # of a worker process


def _begin(thinker: Thinker) -> None:
    global _thinker
    leave_endings_to_parent()
    _thinker = thinker


def _think(history: UserHistory, wave: int, snapshot: Snapshot) -> Thought:
    assert _thinker is not None
    answers = GenerationReport(_thinker.recipe)
    with one_blas_thread():
        (outcome,) = InProcess().run([_thinker.steps(history, wave, snapshot, answers.note)])
    return Thought(outcome, answers)
