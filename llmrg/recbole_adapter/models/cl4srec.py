"""CL4SRec: contrastive learning between two augmented views of a sequence.

Source: Xie et al., "Contrastive Learning for Sequential Recommendation" (arXiv 2010.14395; ICDE 2022). A view is made
by one of three operations, drawn for each sequence and view: *crop* keeps a contiguous share ``eta``, *mask* replaces
a share ``gamma`` of the items by a learned mask, *reorder* shuffles a contiguous share ``beta``. The loss is the
next-item loss plus ``lmd`` times the contrastive one, over the batch's other 2R − 2 views as negatives. The paper
tunes the shares and the weight for each data set; our defaults lie in ``recbole_configs/CL4SRec.yaml``.

Promise: a view holds only items of its own sequence, in numbers the shares say (rounded down, at least one where it
is cropped).

Letters: R rows, L positions, H base width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from llmrg.errors import SettingsError
from llmrg.recbole_adapter.models.contrastive import ContrastiveSASRec


class CL4SRec(ContrastiveSASRec):
    """SASRec, contrasted between crop, mask and reorder. Beside SASRec's, reads ``eta``, ``gamma`` and ``beta``.

    Raises:
        SettingsError: a share outside [0, 1].
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.eta, self.gamma, self.beta = (float(config[name]) for name in ("eta", "gamma", "beta"))
        if not all(0 <= share <= 1 for share in (self.eta, self.gamma, self.beta)):
            raise SettingsError(
                f"expected shares eta, gamma and beta in [0, 1], found {self.eta}, {self.gamma}, {self.beta}",
                name="eta",
            )
        start = torch.randn(self.hidden_size, generator=torch.Generator().manual_seed(int(config["seed"])))
        self.mask_vector = nn.Parameter(self.initializer_range * start)

    def views(self, item_seq: Tensor, length: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Two augmented views of each sequence; [R, H] each."""
        return self._view(item_seq, length), self._view(item_seq, length)

    def _view(self, item_seq: Tensor, length: Tensor) -> Tensor:
        rows, width = item_seq.shape
        cropped, kept = crop(item_seq, length, self.eta, self.draw(rows))
        masked = mask(length, self.gamma, self.draw(rows, width))
        shuffled = reorder(item_seq, length, self.beta, self.draw(rows), self.draw(rows, width))
        choice = (3 * self.draw(rows)).long().unsqueeze(1)  # [R, 1]: 0 crop, 1 mask, 2 reorder
        items = torch.where(choice == 0, cropped, torch.where(choice == 1, item_seq, shuffled))
        masked = masked & (choice == 1)

        def put_mask(_: nn.Module, __: Any, vectors: Tensor) -> Tensor:
            return torch.where(masked.unsqueeze(-1), self.mask_vector, vectors)  # [R, L, H]

        with self.item_embedding.register_forward_hook(put_mask):
            state: Tensor = self.forward(items, torch.where(choice.squeeze(1) == 0, kept, length))
        return state


def crop(item_seq: Tensor, length: Tensor, share: float, where: Tensor) -> tuple[Tensor, Tensor]:
    """A contiguous ``share`` of each sequence, moved to its left edge.

    Args:
        item_seq: [R, L], zero-padded at the right.
        length: [R].
        share: kept, rounded down to items, at least one.
        where: uniform numbers that say where it begins; [R].

    Returns:
        The cropped sequences [R, L] and their lengths [R].

    >>> crop(torch.tensor([[1, 2, 3, 4, 0]]), torch.tensor([4]), 0.5, torch.tensor([0.5]))
    (tensor([[2, 3, 0, 0, 0]]), tensor([2]))
    """
    kept = (share * length).long().clamp_min(1)
    begin = (where * (length - kept + 1)).long()
    column = torch.arange(item_seq.shape[1], device=item_seq.device)
    source = (begin.unsqueeze(1) + column).clamp_max(item_seq.shape[1] - 1)
    return item_seq.gather(1, source) * (column < kept.unsqueeze(1)), kept


def mask(length: Tensor, share: float, order: Tensor) -> Tensor:
    """Which ``share`` of each sequence's positions is masked.

    Args:
        length: [R].
        share: masked, rounded down to items.
        order: uniform numbers, of which the smallest are chosen; [R, L].

    >>> mask(torch.tensor([3]), 0.4, torch.tensor([[0.9, 0.1, 0.5, 0.0]]))
    tensor([[False,  True, False, False]])
    """
    inside = torch.arange(order.shape[1], device=order.device) < length.unsqueeze(1)
    place = order.masked_fill(~inside, 2.0).argsort(1).argsort(1)  # [R, L]
    return place < (share * length).long().unsqueeze(1)


def reorder(item_seq: Tensor, length: Tensor, share: float, where: Tensor, order: Tensor) -> Tensor:
    """A contiguous ``share`` of each sequence shuffled; [R, L].

    Args:
        item_seq: [R, L].
        length: [R].
        share: shuffled, rounded down to items.
        where: uniform numbers that say where it begins; [R].
        order: uniform numbers that say the new order; [R, L].

    >>> order = torch.tensor([[0.0, 0.9, 0.1, 0.0, 0.0]])
    >>> reorder(torch.tensor([[1, 2, 3, 4, 0]]), torch.tensor([4]), 0.5, torch.tensor([0.5]), order)
    tensor([[1, 3, 2, 4, 0]])
    """
    count = (share * length).long()
    begin = (where * (length - count + 1)).long().unsqueeze(1)
    column = torch.arange(item_seq.shape[1], device=item_seq.device)
    moved = (column >= begin) & (column < begin + count.unsqueeze(1))
    key = torch.where(moved, begin - 0.5 + count.unsqueeze(1) * order, column.to(order.dtype))
    return item_seq.gather(1, key.argsort(1))
