"""The wrapper for base models that predict masked positions (BERT4Rec).

Such a model gives the states of all positions and looks at both sides of a masked one. Each masked position is then
a row of its own: it reads the graph as of the item it must predict, so that what lies at or after that item is hidden
even though the base model sees the items behind the mask. The pointer rides on ``output_bias``, which such a model
adds to every score it computes, in its loss as in its predictions.

Promise: law 1 for every masked position, law 3 for the model; positions that are not predicted stay as they are.

Letters: B sequences, M masked positions of each, T rows (real masked positions), L positions, N nodes in reach,
I items, H base width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llmrg.encoder.fusion import Pointer
from llmrg.encoder.graph_batch import Rows
from llmrg.errors import ModelError
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH
from llmrg.recbole_adapter.enhanced import Enhanced, Pass


class EnhancedMasked(Enhanced):
    """The mixin for base models whose ``forward`` gives [B, L, H]."""

    output_bias: Tensor  # the base model's
    _place: tuple[Tensor, Tensor]  # sequence and position of each row; [T] each
    _cell: Tensor  # flat index of each row in the scores the base computes; [T]

    def _let_pointer_in(self) -> None:
        if not isinstance(getattr(self, "output_bias", None), Tensor):
            raise ModelError(
                f"{self.base_name} adds no output_bias to its scores, which the pointer could ride on"
            )

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The base model's loss over fused states and pointed scores of the masked positions."""
        with self._reading(interaction, self._masked_rows(interaction)):
            loss: Tensor = super(Enhanced, self).calculate_loss(interaction)  # type: ignore[misc]
        return loss

    def predict(self, interaction: Any) -> Tensor:
        """Scores of one candidate a row; [B]."""
        with self._reading(interaction, self._last_rows(interaction)):
            scores: Tensor = super(Enhanced, self).predict(interaction)  # type: ignore[misc]
        return scores

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items; [B, I]."""
        with self._reading(interaction, self._last_rows(interaction)):
            scores: Tensor = super(Enhanced, self).full_sort_predict(interaction)  # type: ignore[misc]
        return scores

    @contextlib.contextmanager
    def _reading(self, interaction: Any, rows: Rows) -> Iterator[Pass]:
        with super()._reading(interaction, rows) as current:
            if self.pointer is not None:
                # an entry of the instance hides the parameter of that name, for the time of the call
                vars(self)["output_bias"] = _PointedBias(self.output_bias, self.pointer, current, self._cell)
            try:
                yield current
            finally:
                vars(self).pop("output_bias", None)

    def _last_rows(self, interaction: Any) -> Rows:
        """Predicting: the base puts its mask behind the newest item and keeps the state there."""
        length = interaction[self.ITEM_SEQ_LEN]  # type: ignore[attr-defined]
        self._cell = torch.arange(len(length), device=length.device)
        self._place = (self._cell, length - 1)
        return self._rows_of(interaction)

    def _masked_rows(self, interaction: Any) -> Rows:
        """Training: the real masked positions; the base gives those it padded with 0 no weight."""
        masked = interaction[self.MASK_INDEX]  # type: ignore[attr-defined]  # [B, M]
        real = masked > 0
        sequence, slot = torch.nonzero(real, as_tuple=True)
        position = masked[sequence, slot]
        self._place = (sequence, position)
        self._cell = sequence * masked.shape[1] + slot
        self._rows_of(interaction)  # refuses interactions without the fields below
        user, prefix, length = (
            interaction[field][sequence]
            for field in (self.USER_ID, PREFIX_LENGTH, self.ITEM_SEQ_LEN)  # type: ignore[attr-defined]
        )
        begin = prefix - length  # index in the history of the window's oldest item
        running = torch.cumsum(real, 1)[sequence, slot] - 1
        parts = (user, begin + position, running)
        return Rows.of_windows(*(part.cpu().numpy() for part in parts))

    def _fuse_rows(self, state: Tensor, current: Pass) -> Tensor:
        """Fuse into the states of the predicted positions alone; [B, L, H]."""
        if state.dim() != 3:
            raise ModelError(f"{self.base_name}: expected states of all positions, found {list(state.shape)}")
        before = state[self._place]  # [T, H]
        fused = self._fuse(before, current)
        return state if fused is before else state.index_put(self._place, fused)


class _PointedBias:
    """The base model's ``output_bias``, to which the pointer's weights are added where a row has any."""

    def __init__(self, bias: Tensor, pointer: Pointer, current: Pass, cell: Tensor) -> None:
        self.bias, self.pointer, self.current, self.cell = bias, pointer, current, cell

    def __radd__(self, scores: Tensor) -> Tensor:
        """Scores of all items, [B, I] or [B, M, I], with the bias added."""
        scores = scores + self.bias
        if self.current.pointed is None:
            return scores
        cells = scores.view(-1, scores.shape[-1])
        self.pointer.add(cells, replace(self.current.pointed, row=self.cell[self.current.pointed.row]))
        return scores

    def __getitem__(self, candidate: Tensor) -> Tensor:
        """The bias of one candidate a row or masked position; [B] or [B, M]."""
        bias = self.bias[candidate]
        if self.current.pointed is None:
            return bias
        of_rows = self.pointer.of(candidate.reshape(-1)[self.cell], self.current.pointed)  # [T]
        return bias.reshape(-1).index_add(0, self.cell, of_rows).view_as(bias)
