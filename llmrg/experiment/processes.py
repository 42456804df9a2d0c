"""Runs shared out among processes.

Promise: every run that is finished is kept by the process that finished it, so an interruption loses no more than
the runs in flight; a run is trained on, and filed under, what it was when the plan was made, or not at all; the
results, and the bits in them, are those of one process after the other.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.managers import SyncManager
from queue import Empty
from typing import Any

from llmrg.errors import FingerprintError, LlmrgError, ModelError
from llmrg.evaluation.runs import RunResult
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.identity import family, run_key
from llmrg.experiment.runs import Run, RunProgress, run_one
from llmrg.fingerprint import fingerprint
from llmrg.processes import end_at_once, endings_explained, leave_endings_to_parent

TRAINS = "trains"
FEWER = "train fewer at a time (--processes), or with a smaller train_batch_size or eval_batch_size"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A run with its result, and whether an earlier comparison had left it behind."""

    run: Run
    result: RunResult
    reused: bool


def train_all(
    runs: Sequence[Run],
    *,
    processes: int,
    archive: RunArchive | None = None,
    progress: Callable[[RunProgress], None] | None = None,
) -> Iterator[Finished]:
    """Every run once: those in the archive at once, then the others as they finish.

    Args:
        runs: what to train.
        processes: how many at a time.
        archive: where finished runs are looked for and kept; None: neither.
        progress: called after every epoch of every run.

    Raises:
        ModelError: a run failed, or the process that trained it was ended; the others that are finished are kept.
        FingerprintError: what a run is made of has changed since the plan was made.
        OSError: the archive cannot be written to.
    """
    waiting: list[_Planned] = []
    for run in runs:
        key = None if archive is None else run_key(run)
        kept = None if archive is None or key is None else archive.find(key)
        if kept is None:
            waiting.append(_Planned(run, key))
        else:
            yield Finished(run, kept, reused=True)
    if archive is not None and waiting:
        archive.begin()
    if processes == 1 or len(waiting) < 2:
        for planned in waiting:
            yield Finished(planned.run, _run_and_keep(planned, archive, progress), reused=False)
        return
    yield from _in_parallel(waiting, min(processes, len(waiting)), archive, progress)


@dataclass(frozen=True)
class _Planned:
    """A run to train, and what it was when the plan was made; no key where nothing is kept."""

    run: Run
    key: str | None

    def refuse_change(self) -> None:
        """Refuse to train on, or to file under the key, what has become something else."""
        if self.key is not None and (found := run_key(self.run)) != self.key:
            raise FingerprintError(
                f"{self.run.name}: its data, graphs, settings or code have changed since the comparison began; run it "
                "again, finished runs are kept",
                expected=self.key,
                found=found,
            )


def _in_parallel(
    waiting: Sequence[_Planned],
    processes: int,
    archive: RunArchive | None,
    progress: Callable[[RunProgress], None] | None,
) -> Iterator[Finished]:
    context = multiprocessing.get_context("spawn")  # torch and fork do not mix
    manager = SyncManager(ctx=context)
    with endings_explained(ModelError, TRAINS, EOFError):
        manager.start(leave_endings_to_parent)
    with manager, endings_explained(ModelError, TRAINS, BrokenProcessPool):
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(processes, mp_context=context, initializer=leave_endings_to_parent) as pool:
            try:
                yield from _flown(pool, manager.Queue(), waiting, processes, archive, progress)
            except BaseException:  # a worker has ended, or a person has had enough: the others may need hours
                end_at_once([pool], set(multiprocessing.active_children()) - others)
                raise


def _flown(
    pool: ProcessPoolExecutor,
    queue: Any,
    waiting: Sequence[_Planned],
    processes: int,
    archive: RunArchive | None,
    progress: Callable[[RunProgress], None] | None,
) -> Iterator[Finished]:
    """The runs as they finish, so many in flight; once one has failed, no other begins."""
    ahead = list(reversed(waiting))
    flying: dict[Future[RunResult], Run] = {}
    failed: LlmrgError | None = None
    while flying or (ahead and failed is None):
        while ahead and failed is None and len(flying) < processes:
            planned = ahead.pop()
            flying[pool.submit(_run_reporting, planned, archive, queue)] = planned.run
        try:
            entry = queue.get(timeout=0.2)
            if progress is not None:
                progress(entry)
            continue
        except Empty:
            pass
        for future in [done for done in flying if done.done()]:
            run = flying.pop(future)
            try:
                result = future.result()
            except LlmrgError as error:
                if archive is None:
                    raise
                log.warning("%s (the other runs in flight are finished first, and kept)", error)
                failed = failed or error
            else:
                yield Finished(run, result, reused=False)
    if failed is not None:
        raise failed


def _run_and_keep(
    planned: _Planned, archive: RunArchive | None, progress: Callable[[RunProgress], None] | None
) -> RunResult:
    run = planned.run
    planned.refuse_change()
    try:
        result = run_one(run, progress)
    except ModelError as error:  # such as one that diverged; finished runs are kept
        raise ModelError(f"{run.name}: {error}") from error
    except (MemoryError, RuntimeError) as error:  # torch's own are of the second kind
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        words = str(error).partition("\n")[0] or type(error).__name__
        raise ModelError(f"{run.name}: no memory left ({words}); {FEWER}") from error
    if archive is not None and planned.key is not None:
        planned.refuse_change()
        try:
            archive.keep(planned.key, result, family=fingerprint(family(run)))
        except OSError as error:
            log.warning("%s is finished but could not be kept: %s", run.name, error)
    return result


def _run_reporting(planned: _Planned, archive: RunArchive | None, queue: Any) -> RunResult:
    return _run_and_keep(planned, archive, queue.put)
