"""Runs shared out among processes.

Promise: every run that is finished is kept by the process that finished it, so an interruption loses no more than
the runs in flight; the results, and the bits in them, are those of one process after the other.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.managers import SyncManager
from queue import Empty
from typing import Any

from llmrg.errors import ModelError
from llmrg.evaluation.runs import RunResult
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.identity import family, run_key
from llmrg.experiment.runs import Run, RunProgress, run_one
from llmrg.fingerprint import fingerprint
from llmrg.processes import end_at_once, endings_explained, leave_endings_to_parent

TRAINS = "trains"


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
    """
    waiting = []
    for run in runs:
        kept = None if archive is None else archive.find(run_key(run))
        if kept is None:
            waiting.append(run)
        else:
            yield Finished(run, kept, reused=True)
    if processes == 1 or len(waiting) < 2:
        for run in waiting:
            yield Finished(run, _run_and_keep(run, archive, progress), reused=False)
        return
    yield from _in_parallel(waiting, min(processes, len(waiting)), archive, progress)


def _in_parallel(
    runs: Sequence[Run],
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
                queue = manager.Queue()
                pending = {pool.submit(_run_reporting, run, archive, queue): run for run in runs}
                while pending:
                    try:
                        entry = queue.get(timeout=0.2)
                        if progress is not None:
                            progress(entry)
                        continue
                    except Empty:
                        pass
                    for future in [done for done in pending if done.done()]:
                        yield Finished(pending.pop(future), future.result(), reused=False)
            except BaseException:  # one run failed, or a person has had enough: the others may need hours
                end_at_once([pool], set(multiprocessing.active_children()) - others)
                raise


def _run_and_keep(
    run: Run, archive: RunArchive | None, progress: Callable[[RunProgress], None] | None
) -> RunResult:
    try:
        result = run_one(run, progress)
    except ModelError as error:  # such as one that diverged; finished runs are kept
        raise ModelError(f"{run.name}: {error}") from error
    if archive is not None:
        archive.keep(run_key(run), result, family=fingerprint(family(run)))
    return result


def _run_reporting(run: Run, archive: RunArchive | None, queue: Any) -> RunResult:
    return _run_and_keep(run, archive, queue.put)
