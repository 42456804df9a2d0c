"""Which states a causal base model keeps: one at each target, or the usual one a row.

Promise: the class of the model is not touched; an entry of the instance hides its method for the time of a block.
Both blocks are for base models that pick their states by ``gather_indexes``.

Letters: W windows, L positions, T targets, H base width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

_PICKER = "gather_indexes"


@contextlib.contextmanager
def every_position(model: nn.Module, state_index: Tensor) -> Iterator[None]:
    """Inside, the base model keeps the states at ``state_index`` (window · L + position; [T]) instead of one a row."""

    def gather(output: Tensor, _: Tensor) -> Tensor:
        return output.reshape(-1, output.shape[-1]).index_select(0, state_index)  # [W, L, H] → [T, H]

    vars(model)[_PICKER] = gather
    try:
        yield
    finally:
        del vars(model)[_PICKER]


@contextlib.contextmanager
def one_state_a_row(model: nn.Module) -> Iterator[None]:
    """Inside, the base model keeps one state a row, also within :func:`every_position`: for augmented views."""
    hidden: Any = vars(model).pop(_PICKER, None)
    try:
        yield
    finally:
        if hidden is not None:
            vars(model)[_PICKER] = hidden
