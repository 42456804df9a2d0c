"""Softmax over a sample of the catalogue: the base model's cross-entropy where scoring every item is most of a step.

Candidates of a batch are its targets and items drawn evenly from the catalogue; the score of each is lowered by the
logarithm of its chance to be one (Bengio & Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling"),
that of a row's own target, which is always there, is not.

Promise: the class of the model is not touched and its own ``calculate_loss`` runs; what it reads of the item table
for its scores are the candidates' rows alone. With as many items drawn as there are it is the loss over all items.

Letters: I items, C candidates, T targets, H base width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmrg.recbole_adapter.base_models import traits_of


@dataclass(frozen=True)
class Candidates:
    """What one batch is scored against.

    Args:
        items: internal item ids, ascending; the first is the padding item, as in the loss over all items; [C].
        column: place of each item among them, 0 for those that are none; [I].
        correction: what is added to the score of each; [C].
    """

    items: Tensor
    column: Tensor
    correction: Tensor


class CandidateSampler:
    """Draws the candidates of every batch.

    Args:
        counts: how often each item is a target in an epoch; [I].
        drawn: items drawn evenly, without repetition, beside the targets.
    """

    def __init__(self, counts: Tensor, drawn: int) -> None:
        self.share = counts.double() / counts.sum()
        self.drawn = min(drawn, len(counts) - 1)

    def draw(self, targets: Tensor, generator: torch.Generator) -> Candidates:
        """Candidates of the batch that predicts ``targets`` [T]; on the generator's device, the CPU."""
        others = len(self.share) - 1
        even = torch.randperm(others, generator=generator)[: self.drawn] + 1
        items = torch.cat([targets.new_zeros(1), targets, even]).unique()
        column = torch.zeros(len(self.share), dtype=torch.long)
        column[items] = torch.arange(len(items))
        missed = (1 - self.share[items]).pow(len(targets)) * (1 - self.drawn / others)
        missed[0] = 0
        return Candidates(items, column, -torch.log1p(-missed).float())


class CandidateTable(nn.Module):
    """The item table while a batch is scored: all of it to look items up in, the candidates' rows to score with."""

    def __init__(self, whole: nn.Embedding, candidates: Candidates) -> None:
        super().__init__()
        self.whole = whole
        self.candidates = candidates

    @property
    def weight(self) -> Tensor:
        """Vectors of the candidates; [C, H]."""
        return functional.embedding(self.candidates.items, self.whole.weight)

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of ``items``, candidates or not."""
        vectors: Tensor = self.whole(items)
        return vectors


class _CandidateLoss(nn.Module):
    """Cross-entropy over the candidates' corrected scores."""

    def __init__(self, loss: nn.Module, candidates: Candidates) -> None:
        super().__init__()
        self.loss = loss
        self.candidates = candidates

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of scores [T, C] and internal ids of the targets [T]."""
        column = self.candidates.column[target]
        own = -self.candidates.correction[column].unsqueeze(1)
        corrected = (scores + self.candidates.correction).scatter_add_(1, column.unsqueeze(1), own)
        value: Tensor = self.loss(corrected, column)
        return value


def whole_table(table: nn.Embedding | CandidateTable) -> nn.Embedding:
    """The item table itself, also where :func:`over_candidates` has put candidates before it."""
    return table.whole if isinstance(table, CandidateTable) else table


def in_columns(table: nn.Embedding | CandidateTable, items: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of the scores that ``items`` have, and ``weight``: zero where an item has none."""
    if not isinstance(table, CandidateTable):
        return items, weight
    column = table.candidates.column[items]
    return column, weight * (column > 0)


@contextlib.contextmanager
def over_candidates(model: Any, candidates: Candidates | None) -> Iterator[None]:
    """Inside, ``model.calculate_loss`` scores the candidates alone; None changes nothing."""
    if candidates is None:
        yield
        return
    name = traits_of(model).item_table
    table, loss = getattr(model, name), model.loss_fct
    device = table.weight.device
    moved = Candidates(*(part.to(device) for part in vars(candidates).values()))
    setattr(model, name, CandidateTable(table, moved))
    model.loss_fct = _CandidateLoss(loss, moved)
    try:
        yield
    finally:
        setattr(model, name, table)
        model.loss_fct = loss
