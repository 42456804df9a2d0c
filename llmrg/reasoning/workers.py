"""Worker processes that think, for the embedded reasoner, which is as fast as its core.

Promise: how many there are changes no bit of a graph and no count of a report but its seconds. (Where a title has to be
encoded after all, its vector may depend on what else is encoded with it: see :mod:`llmrg.text.encoder`.) A worker has
the users of some scopes and no others, so that what answers a scope is prepared once, not once in each process.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError
from llmrg.processes import IN_ONE, end_at_once, endings_explained, leave_endings_to_parent
from llmrg.reasoning.engine import InProcess, one_blas_thread
from llmrg.reasoning.generation_report import GenerationReport
from llmrg.reasoning.thinker import Outcome, Thinker


@dataclass(frozen=True, slots=True)
class Thought:
    """What thinking about one user ended in.

    Args:
        outcome: the graph with what belongs to it, or why there is none.
        answers: a report that counts the questions asked and nothing else.
    """

    outcome: Outcome
    answers: GenerationReport


class Workers:
    """Processes that think about users; made by :func:`started`.

    Args:
        thinker: of which each has a copy.
        pools: one process each.
    """

    def __init__(self, thinker: Thinker, pools: Sequence[ProcessPoolExecutor]) -> None:
        self._scope, self._pools = thinker.reasoner.scope, pools
        self._place: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._pools)

    def think(self, users: Sequence[UserHistory], wave: int) -> list[Future[Thought]]:
        """Have the users of a wave thought about; returns at once, one future for each (see :func:`thought_of`).

        Raises:
            ReasonerError: a process has ended.
        """
        with endings_explained(ReasonerError, "thinks about users", BrokenProcessPool):
            return [self._pool_of(user).submit(_think, user, wave) for user in users]

    def _pool_of(self, user: UserHistory) -> ProcessPoolExecutor:
        """The process that has the users of this scope: the next one in turn where none has yet."""
        return self._pools[self._place.setdefault(self._scope(user.user_id), len(self._place)) % len(self)]


@contextmanager
def started(thinker: Thinker, processes: int) -> Iterator[Workers]:
    """Worker processes while the context lasts; left by an exception they are ended at once.

    Args:
        thinker: copied into each process by way of a temporary file.
        processes: how many.

    Raises:
        ReasonerError: the thinker cannot be copied.
    """
    with TemporaryDirectory(prefix="llmrg-thinker-") as folder:
        path = Path(folder) / "thinker.pickle"
        try:
            with path.open("wb") as file:
                pickle.dump(thinker, file, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ReasonerError(
                f"a reasoner that cannot be copied into a process: {error}; {IN_ONE}"
            ) from error
        context = multiprocessing.get_context("spawn")  # torch, which encoded the titles, and fork do not mix
        before = multiprocessing.active_children()
        pools = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(path,))
            for _ in range(processes)
        ]
        workers: set[BaseProcess] = set()
        try:
            for pool in pools:
                pool.submit(_ready)  # which starts its process
            workers = set(multiprocessing.active_children()) - set(before)
            yield Workers(thinker, pools)
        except BaseException:
            end_at_once(pools, workers)
            raise
        for pool in pools:
            pool.shutdown()


def thought_of(future: Future[Thought]) -> Thought:
    """Wait for what :meth:`Workers.think` began.

    Raises:
        ReasonerError: the process has ended.
        SettingsError, MissingExtraError: see :meth:`~llmrg.reasoning.thinker.Thinker.steps`.
    """
    with endings_explained(ReasonerError, "thinks about users", BrokenProcessPool):
        return future.result()


_thinker: Thinker | None = None  # of a worker process


def _begin(path: Path) -> None:
    global _thinker
    leave_endings_to_parent()
    with path.open("rb") as file:
        _thinker = pickle.load(file)
    one_blas_thread()


def _ready() -> None:
    """Nothing: what a process is started with."""


def _think(user: UserHistory, wave: int) -> Thought:
    assert _thinker is not None
    answers = GenerationReport(_thinker.recipe)
    (outcome,) = InProcess().run([_thinker.steps(user, wave, None, answers.note)])
    return Thought(outcome, answers)
