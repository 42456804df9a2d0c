"""Softmax over a sample of the catalogue: the base model's cross-entropy where scoring every item is most of a step.

Candidates of a batch are its targets and items drawn evenly from the catalogue; the score of each is lowered by the
logarithm of its chance to be one (Bengio & Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling").
A user's own targets are in every batch that holds one of the user's rows: for those rows their chance is 1.

Promise: the class of the model is not touched and its own ``calculate_loss`` runs, over fewer columns. With as many
items drawn as there are it is the loss over all items.

Letters: I items, C candidates, T targets, U users of a batch, H base width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmrg.encoder.fusion import Pointed
from llmrg.errors import SettingsError
from llmrg.recbole_adapter.base_models import traits_of

SETTING = "llmrg.training.sampled_softmax"


@dataclass(frozen=True)
class Candidates:
    """What one batch is scored against.

    Args:
        items: internal item ids, ascending; the first is the padding item, as in the loss over all items; [C].
        column: place of each item among them, 0 for those that are none; [I].
        correction: what is added to the score of each, for a user of whom it is no target; [C].
        own: whether it is a target of each user; [U, C].
        user: of each row; [T].
    """

    items: Tensor
    column: Tensor
    correction: Tensor
    own: Tensor
    user: Tensor

    def to(self, device: Any) -> Candidates:
        """The same on ``device``."""
        return Candidates(*(part.to(device) for part in vars(self).values()))


class CandidateSampler:
    """Draws the candidates of every batch.

    Args:
        counts: how often each item is a target in an epoch; [I].
        drawn: items drawn evenly, without repetition, beside the targets.
    """

    def __init__(self, counts: Tensor, drawn: int) -> None:
        self.counts = counts.double()
        self.drawn = min(drawn, len(counts) - 1)

    def draw(self, target: Tensor, user: Tensor, generator: torch.Generator) -> Candidates:
        """Candidates of the batch that predicts ``target`` [T] for ``user`` [T]; on the generator's device, the CPU."""
        others = len(self.counts) - 1
        even = torch.randperm(others, generator=generator)[: self.drawn] + 1
        items = torch.cat([target.new_zeros(1), target, even]).unique()
        column = torch.zeros(len(self.counts), dtype=torch.long)
        column[items] = torch.arange(len(items))
        share = min(1.0, len(target) / float(self.counts.sum()))  # of an epoch's targets
        missed = (1 - share) ** self.counts[items] * (1 - self.drawn / others)
        missed[0] = 0
        users, place = user.unique(return_inverse=True)
        own = torch.zeros(len(users), len(items), dtype=torch.bool)
        own[place, column[target]] = True
        return Candidates(items, column, -torch.log1p(-missed).float(), own, place)


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
        given = self.candidates
        correction = given.correction.masked_fill(given.own, 0.0)  # [U, C]
        value: Tensor = self.loss(scores + correction.index_select(0, given.user), given.column[target])
        return value


def check_sampled(model: Any) -> None:
    """Refuse a model whose loss is no cross-entropy over products with its item table.

    Raises:
        SettingsError: say what was found.
    """
    table = getattr(model, traits_of(model).item_table, None)
    loss = getattr(model, "loss_fct", None)
    loss = getattr(loss, "loss", loss)  # an enhanced model puts its pointer before the base's
    if not (isinstance(table, nn.Embedding) and isinstance(loss, nn.CrossEntropyLoss)):
        raise SettingsError(
            f"{SETTING}: {type(model).__name__} needs a loss_fct that is cross-entropy (loss_type: CE) over products "
            f"with its item table, found {type(loss).__name__} and {type(table).__name__}",
            name=SETTING,
        )


def whole_table(table: nn.Embedding | CandidateTable) -> nn.Embedding:
    """The item table itself, also where :func:`over_candidates` has put candidates before it."""
    return table.whole if isinstance(table, CandidateTable) else table


def in_columns(table: nn.Module, pointed: Pointed) -> Pointed:
    """``pointed`` at columns of the scores in place of items; nothing is added for an item that has none."""
    if not isinstance(table, CandidateTable):
        return pointed
    column = table.candidates.column[pointed.item]
    return Pointed(pointed.row, column, pointed.weight * (column > 0))


@contextlib.contextmanager
def over_candidates(model: Any, candidates: Candidates | None) -> Iterator[None]:
    """Inside, ``model.calculate_loss`` scores the candidates alone; None changes nothing."""
    if candidates is None:
        yield
        return
    name = traits_of(model).item_table
    table, loss = getattr(model, name), model.loss_fct
    try:
        setattr(model, name, CandidateTable(table, candidates))
        model.loss_fct = _CandidateLoss(loss, candidates)
        yield
    finally:
        setattr(model, name, table)
        model.loss_fct = loss
