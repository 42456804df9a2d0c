"""DuoRec: contrastive regularisation between two dropouts and two users who went on to the same item.

Source: Qiu et al., "Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation" (arXiv
2110.05730; WSDM 2022). The first view of a sequence is the sequence itself under other dropout masks, the second a
training sequence that leads to the same target item, drawn at random. The loss is the next-item loss plus ``lmd``
times the contrast between the two.

Promise: the second view is another sequence than the row's own wherever the training part holds one.

Letters: R rows, L positions, H base width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from llmrg.recbole_adapter.models.contrastive import ContrastiveSASRec


class DuoRec(ContrastiveSASRec):
    """SASRec, contrasted between its own dropout and a sequence of the same target."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        # the training rows, shared with the data set: no copy, and no part of the weights
        self.rows = SameTarget(
            *(dataset.inter_feat[field] for field in (self.ITEM_SEQ, self.ITEM_SEQ_LEN, self.POS_ITEM_ID)),
            num_items=self.n_items,
        )

    def views(self, item_seq: Tensor, length: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The sequence once more, and one of the same target; [R, H] each."""
        others, other_length = self.rows.draw(item_seq, target, self.draw(len(target)))
        return self.forward(item_seq, length), self.forward(others, other_length)


class SameTarget:
    """Training sequences by the item they lead to.

    Args:
        item_seq: [R, L], zero-padded at the right.
        length: [R].
        target: [R].
        num_items: of the catalogue.
    """

    def __init__(self, item_seq: Tensor, length: Tensor, target: Tensor, *, num_items: int) -> None:
        self.item_seq, self.length = item_seq, length
        self.order = torch.argsort(target, stable=True)
        self.count = torch.bincount(target, minlength=num_items)
        self.start = self.count.cumsum(0) - self.count

    def draw(self, item_seq: Tensor, target: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """One sequence of each target, another than ``item_seq`` where there is another.

        Args:
            item_seq: the rows' own; [R, at most L].
            target: [R].
            where: uniform numbers that say which; [R].

        Returns:
            Sequences [R, L] and lengths [R], on the device of ``item_seq``.

        >>> rows = SameTarget(torch.tensor([[1, 0], [2, 0]]), torch.tensor([1, 1]), torch.tensor([3, 3]), num_items=4)
        >>> rows.draw(torch.tensor([[1, 0]]), torch.tensor([3]), torch.tensor([0.1]))
        (tensor([[2, 0]]), tensor([1]))
        """
        own, wanted = item_seq.cpu(), target.cpu()
        count, start = self.count[wanted], self.start[wanted]
        drawn = (where.cpu() * count).long()
        found = self.order[start + drawn]
        padded = own.new_zeros(len(own), self.item_seq.shape[1])
        padded[:, : own.shape[1]] = own
        same = (self.item_seq[found] == padded).all(1)
        found = torch.where(same, self.order[start + (drawn + 1) % count], found)
        return self.item_seq[found].to(item_seq.device), self.length[found].to(item_seq.device)
