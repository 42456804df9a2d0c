"""Batch files and a host's batch service: handing in, waiting, and taking answers in, for one folder of graphs.

Promise: every step may be killed and done again; what was handed in is known to the ledger before anybody waits for
it, and what came back is taken in once. What came back and could not be taken is never asked anew by itself: it may
be paid for, so it stays out, counted at its worst case, and lies where :class:`Polled` says.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmrg.errors import StoreError
from llmrg.job.batch import BATCHES_FOLDER
from llmrg.job.online import LOCK_FILE, hold
from llmrg.reasoners.batch_files import Ingested, ingest
from llmrg.reasoners.batch_ledger import BatchFile, BatchLedger
from llmrg.reasoners.batch_service import ENDED, BatchService, HostBatch
from llmrg.reasoners.ledger import LEDGER_FILE
from llmrg.reasoners.retry import RetryPolicy
from llmrg.settings import LlmrgSettings

T = TypeVar("T")


def open_ledger(folder: Path) -> BatchLedger:
    """The ledger of a folder that something was exported from.

    Raises:
        StoreError: nothing was.
    """
    if not (folder / LEDGER_FILE).exists():
        raise StoreError(f"{folder}: expected exported batches, found none; run `llmrg batch export` first")
    return BatchLedger.open(folder / LEDGER_FILE, create=False)


def ingest_files(folder: Path, paths: Iterable[Path], *, any_model: bool = False) -> Ingested:
    """Take answers in, from any host or colleague.

    Args:
        folder: of the graphs.
        paths: files of answers or errors, in any order.
        any_model: see :func:`~llmrg.reasoners.batch_files.ingest`.

    Raises:
        StoreError: nothing was exported, or another run works on the folder.
    """
    found = Ingested()
    with hold(folder / LOCK_FILE), open_ledger(folder) as ledger:
        for path in paths:
            ingest(path, ledger, found, any_model=any_model)
    return found


def open_files(folder: Path) -> list[BatchFile]:
    """Files with requests that have no outcome yet."""
    with open_ledger(folder) as ledger:
        return [file for file in ledger.files() if file.out]


def submit_files(
    folder: Path,
    settings: LlmrgSettings,
    *,
    notice: Callable[[str], None],
    service: BatchService | None = None,
) -> list[BatchFile]:
    """Hand every file in that was not, and is not answered.

    Args:
        folder: of the graphs.
        settings: ``language_model`` says where; ``job`` how often it is tried.
        notice: called with a sentence for each file.
        service: of the host; by default the one the settings name.

    Returns:
        The files handed in.

    Raises:
        EndpointError: the host does not take one; those before it are written down.
        StoreError: a file is missing, nothing was exported, or another run works on the folder.
    """

    async def work(ledger: BatchLedger) -> list[BatchFile]:
        host = service or BatchService(settings.language_model)
        done = []
        try:
            for file in ledger.files():
                if file.host_id or not file.out:
                    continue
                path = folder / BATCHES_FOLDER / file.name
                if not path.is_file():
                    raise StoreError(
                        f"{path}: expected the exported file, found none; write its requests anew: --again"
                    )
                host_id = await _stubbornly(settings, partial(host.submit, path, file.digest))
                ledger.submitted(file.number, host_id)
                notice(f"{path}: {file.requests} requests handed in to {host.host}")
                done.append(replace(file, host_id=host_id))
        finally:
            await host.aclose()
        return done

    with hold(folder / LOCK_FILE), open_ledger(folder) as ledger:
        return asyncio.run(work(ledger))


@dataclass
class Polled:
    """What waiting came to.

    Args:
        ended: files the host is through with, to their last status.
        waiting: files it still works on.
        ingested: what the answers came to.
        problems: why batches failed as a whole.
        again: requests the host left without an outcome; the next export writes them anew.
        kept: requests that stay out, for their answers came and could not be taken.
        kept_in: files of answers with lines that could not be taken.
    """

    ended: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    ingested: Ingested = field(default_factory=Ingested)
    problems: list[str] = field(default_factory=list)
    again: int = 0
    kept: int = 0
    kept_in: list[Path] = field(default_factory=list)


def poll_files(
    folder: Path,
    settings: LlmrgSettings,
    *,
    notice: Callable[[str], None],
    wait: bool = True,
    interval: float = 60.0,
    any_model: bool = False,
    service: BatchService | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Polled:
    """Look after everything handed in, and take in what came back.

    Args:
        folder: of the graphs; it is not held while waiting.
        settings: see :func:`submit_files`.
        notice: called with a sentence whenever something moved.
        wait: until the host is through with everything; otherwise look once.
        interval: seconds between looks.
        any_model: see :func:`~llmrg.reasoners.batch_files.ingest`.
        service: see :func:`submit_files`.
        sleep: waits so many seconds.

    Raises:
        EndpointError: the host refuses to tell.
        StoreError: nothing was exported, or another run works on the folder when answers are there.
    """

    async def work() -> Polled:
        host = service or BatchService(settings.language_model)
        found, said = Polled(), dict[int, str]()
        try:
            while True:
                with open_ledger(folder) as ledger:
                    files = [file for file in ledger.files() if file.host_id and not file.ended]
                found.waiting = []
                for file in files:
                    stands = await _stubbornly(settings, partial(host.look, file.host_id))
                    words = f"{file.name}: {stands.status}, {stands.done} of {stands.total}"
                    if said.get(file.number) != words:
                        said[file.number] = words
                        notice(words)
                    if stands.status in ENDED:
                        paths = await _fetched(folder, settings, host, file, stands)
                        _take_in(folder, file, stands, paths, found, any_model)
                    else:
                        found.waiting.append(file.name)
                if not found.waiting or not wait:
                    return found
                await sleep(interval)
        finally:
            await host.aclose()

    return asyncio.run(work())


async def _fetched(
    folder: Path, settings: LlmrgSettings, host: BatchService, file: BatchFile, stands: HostBatch
) -> list[Path]:
    """The answers of a batch that ended, on disk."""
    paths = []
    for number, name in enumerate(stands.files):
        path = folder / BATCHES_FOLDER / f"{file.number:04d}.answers-{number + 1}.jsonl"
        await _stubbornly(settings, partial(host.fetch, name, path))
        paths.append(path)
    return paths


def _take_in(
    folder: Path, file: BatchFile, stands: HostBatch, paths: list[Path], found: Polled, any_model: bool
) -> None:
    """Take the answers of a batch that ended in, and let go of what the host left alone."""
    unread = set[str]()
    with hold(folder / LOCK_FILE), open_ledger(folder) as ledger:
        for path in paths:
            names = ingest(path, ledger, found.ingested, any_model=any_model)
            unread |= names
            found.kept_in += [path] if names else []
        why = f"its batch ended ({stands.status}) without an answer to it"
        found.again += ledger.end(file.number, why, unread=unread)
        found.kept += ledger.file(file.number).out
    found.ended[file.name] = stands.status
    found.problems += [f"{file.name}: {problem}" for problem in stands.problems]


async def _stubbornly(settings: LlmrgSettings, action: Callable[[], Awaitable[T]]) -> T:
    policy = RetryPolicy(settings.job.attempts, settings.job.deadline)
    retrying = policy.retrying(clock=time.monotonic, rng=random.Random())
    result: T = await retrying(action)
    return result
