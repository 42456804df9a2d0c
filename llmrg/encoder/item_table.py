"""Words in the base model's item table: each item's vector plus its projected text vector.

Promise: the projection starts at zero, so the table is the base model's own until training moves it; everything that
reads the table (the base model's input, its scores, our nodes) reads the same sum; the text vectors are part of the
weights, so that a checkpoint needs no graphs to know them.

Letters: I items, H base width, C text width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class ItemTexts(nn.Module):
    """What is added to the item table: :math:`e'_i = e_i + P t_i` with :math:`P = 0` at the start.

    Args:
        items: rows I of the item table.
        channels: width H of the base model's item embedding.
        text_channels: width C of the text vectors.
    """

    texts: Tensor

    def __init__(self, items: int, channels: int, text_channels: int) -> None:
        super().__init__()
        self.project = nn.Parameter(torch.zeros(text_channels, channels))
        self.register_buffer("texts", torch.zeros(items, text_channels))

    def forward(self, weight: Tensor) -> Tensor:
        """The item table [I, H] with words."""
        return torch.addmm(weight, self.texts, self.project)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What a host that writes the table may write: the item's own part."""
        return weight


def put_texts_in(table: nn.Embedding, text_channels: int) -> None:
    """Let ``table.weight`` be item vectors plus projected words from now on; without words until they are filled in."""
    added = ItemTexts(table.num_embeddings, table.embedding_dim, text_channels)
    parametrize.register_parametrization(table, "weight", added, unsafe=True)


def fill_texts(table: nn.Embedding, texts: Tensor) -> None:
    """Give a table of :func:`put_texts_in` its words: text vectors by internal item id, zero without words; [I, C]."""
    table.parametrizations.weight[0].texts.copy_(texts)  # type: ignore[index, union-attr]
