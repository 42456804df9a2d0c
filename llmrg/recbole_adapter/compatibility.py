"""The only room that touches the host's rough edges: old NumPy aliases, ``sys.argv``, TensorBoard folders.

Promise: importing llmrg changes nothing; :func:`host_ready` is called by the rooms that are about to use RecBole,
is idempotent, and adds only names that NumPy 2 removed and RecBole 1.2 still asks for. What must not leak out of
a call (argv, TensorBoard) is put back when the call ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator

import numpy as np

# RecBole 1.2's Config writes np.float = np.float_ and two more; NumPy 2.0 removed the right-hand sides.
# ray 2.6, which recbole.quick_start imports, asks for the last.
_REMOVED_IN_NUMPY_2 = {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "bool8": np.bool_,
}


def host_ready() -> None:
    """Make RecBole importable and its Config constructible on NumPy 1.26 and 2.x."""
    for name, replacement in _REMOVED_IN_NUMPY_2.items():
        if not hasattr(np, name):
            setattr(np, name, replacement)


_GPUS = "CUDA_VISIBLE_DEVICES"
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of glibc's mallopt


@functools.cache
def keep_freed_memory() -> None:
    """Let the process keep the memory of freed tensors for the next ones, where its allocator is glibc's.

    glibc maps large blocks from the kernel and gives them back. A step of cross-entropy over all items makes several
    of rows × items, and touching fresh pages cost a third of it (amazon-beauty: .42 s a step, and .27 with this).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def argv_hidden() -> Iterator[None]:
    """RecBole's Config reads ``sys.argv`` of whatever program runs: show it an empty one."""
    saved = sys.argv
    sys.argv = saved[:1] or ["llmrg"]
    try:
        yield
    finally:
        sys.argv = saved


def visible_gpus() -> dict[str, str]:
    """``gpu_id`` as ``CUDA_VISIBLE_DEVICES`` has it, if it is set: RecBole's Config would overwrite it with 0."""
    return {"gpu_id": os.environ[_GPUS]} if _GPUS in os.environ else {}


class _SilentWriter:
    """Stands in for TensorBoard's SummaryWriter: accepts and forgets."""

    def add_scalar(self, *args: object, **kwargs: object) -> None:
        """Forget."""

    def add_hparams(self, *args: object, **kwargs: object) -> None:
        """Forget."""


@contextlib.contextmanager
def without_tensorboard() -> Iterator[None]:
    """RecBole's Trainer opens ``./log_tensorboard`` when it is constructed; give it a silent writer instead."""
    from recbole.trainer import trainer as host

    original = host.get_tensorboard
    host.get_tensorboard = lambda logger: _SilentWriter()
    try:
        yield
    finally:
        host.get_tensorboard = original


_TORCH_SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextlib.contextmanager
def trusting_pickles() -> Iterator[None]:
    """Let ``torch.load`` run what a file says, as it did before torch 2.6: RecBole's checkpoints pickle the Config.

    Only for files you (or this very run) wrote: a pickle can do anything.
    """
    saved = os.environ.get(_TORCH_SWITCH)
    os.environ[_TORCH_SWITCH] = "1"
    try:
        yield
    finally:
        if saved is None:
            del os.environ[_TORCH_SWITCH]
        else:
            os.environ[_TORCH_SWITCH] = saved
