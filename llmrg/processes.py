"""Worker processes: how many this machine has room for, and how they end.

Promise: what works in them ends with the process that started it, also where that one was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess

SECONDS_TO_END = 5.0  # for a worker that was told to; none is waited for longer


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


def end_at_once(pools: Collection[ProcessPoolExecutor], others: Collection[BaseProcess]) -> None:
    """End workers in the midst of what they do: leaving a pool waits for it, and nobody wants it any more.

    Args:
        pools: whose workers.
        others: children of this process that are none of theirs.
    """
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    workers = set(multiprocessing.active_children()) - set(others)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(SECONDS_TO_END)
