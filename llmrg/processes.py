"""Worker processes: how many this machine has room for, and how they end.

Promise: what works in them ends with the process that started it, also where that one was killed; a worker that
was ended from outside is one clear error.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmrg.errors import LlmrgError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.process import BaseProcess

IN_ONE = "ask for one process (--processes 1)"
SECONDS_TO_END = 5.0  # for a worker that was told to; after that it is killed


def usable_cores() -> int:
    """Processor cores that this process may use, which in a container may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_endings_to_parent() -> None:
    """Begin a worker: Ctrl-C reaches every process of a terminal, but the one that started the workers ends them.

    Where it was killed and could not, they end by themselves: nobody would wait for what they do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def end_with_parent() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=end_with_parent, daemon=True).start()


def end_at_once(pools: Collection[ProcessPoolExecutor], workers: Collection[BaseProcess]) -> None:
    """End pools and the processes in them in the midst of what they do, which nobody wants any more."""
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(SECONDS_TO_END)
        if worker.is_alive():
            worker.kill()


@contextmanager
def endings_explained(kind: type[LlmrgError], work: str, *endings: type[Exception]) -> Iterator[None]:
    """Tell in one of our errors that a worker has ended.

    Args:
        kind: the error to raise.
        work: what the worker does, such as ``trains``.
        endings: the exceptions by which that is known.
    """
    try:
        yield
    except endings as error:
        raise kind(
            f"a process that {work} has ended (killed for want of memory? started by a script that does not "
            f'keep its work under if __name__ == "__main__"?); what is finished is kept; {IN_ONE}'
        ) from error
