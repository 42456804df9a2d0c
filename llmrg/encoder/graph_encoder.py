"""Node features and the gated graph network over one view.

Source: LLMRG (arXiv 2308.10835) encodes each of its two graphs with SR-GNN (arXiv 1811.00855), a gated graph
network (arXiv 1511.05493). Ours differs in one point, law 1: messages run along edges only, from older to newer
evidence, so that a node's state never depends on a later one and one encoding serves every prefix.

Promise: a node's state depends on its own features and on what reaches it along edges, on nothing else in the
batch.

Letters: n nodes, e edges, I items, V texts, C text width, H base width, D graph width.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import GatedGraphConv

from llmrg.encoder.graph_batch import ViewBatch
from llmrg.graph.schema import NodeKind, Relation

MANY_TEXTS = 1 << 16
"""Texts up to which all are projected, whatever the batch holds: cheap, and the same sums for every batch."""


class NodeFeatures(nn.Module):
    """First node states: projected words + projected item embedding (the base model's own table) + kind.

    Args:
        text_channels: width C of the text vectors.
        item_channels: width H of the base model's item embedding.
        width: graph width D.

    Shapes:
        - text: [V + 1, C], the last row being zero (a node without words)
        - item table: [I, H]
        - out: [n, D]
    """

    def __init__(self, text_channels: int, item_channels: int, width: int) -> None:
        super().__init__()
        self.text = nn.Linear(text_channels, width, bias=False)
        self.item = nn.Linear(item_channels, width, bias=False)
        self.kind = nn.Embedding(len(NodeKind), width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small values, as the base models use for their own embeddings."""
        nn.init.normal_(self.text.weight, std=1 / math.sqrt(self.text.in_features))
        nn.init.normal_(self.item.weight, std=1 / math.sqrt(self.item.in_features))
        nn.init.normal_(self.kind.weight, std=0.02)

    def project(
        self, text_table: Tensor, item_table: Tensor, *, nodes: int = 0
    ) -> tuple[Tensor, Tensor, bool]:
        """Both tables in graph width, projected once for all views of a batch.

        Args:
            text_table: [V + 1, C]
            item_table: [I, H]
            nodes: of one of the views. A language model's labels are millions, of which a batch reads a few: where
                there are many texts, and more than nodes, they are left as they are.

        Returns:
            Texts [V + 1, D], or as given; items [I, D]; whether the texts were projected.
        """
        if len(text_table) > max(nodes, MANY_TEXTS):
            return text_table, self.item(item_table), False
        return self.text(text_table.to(self.text.weight.dtype)), self.item(item_table), True

    def forward(self, view: ViewBatch, texts: Tensor, items: Tensor, projected: bool) -> Tensor:
        """First states from what :meth:`project` gave; [n, D]."""
        words = texts.index_select(0, view.text)
        if not projected:
            words = self.text(words.to(self.text.weight.dtype))
        known = (view.item > 0).to(items.dtype).unsqueeze(-1)  # row 0 of an item table is padding, not a fact
        return torch.addcmul(
            words + self.kind.weight.index_select(0, view.kind),
            items.index_select(0, view.item),
            known,
        )


class GraphEncoder(nn.Module):
    """A gated graph network, with one learned weight per relation where there are several.

    .. math:: m_v = \\sum_{u \\to v} w_{r(u, v)} W h_u, \\qquad h'_v = \\mathrm{GRU}(m_v, h_v)

    Args:
        width: graph width D.
        steps: message-passing steps.
        relations: how many relations its view has; the weight of a single one would only scale W.

    Shapes:
        - states: [n, D]
        - edge_index: [2, e], relation: [e]
        - out: [n, D]
    """

    per_row: ClassVar[bool] = False  # whether every row needs a graph of its own

    def __init__(self, width: int, steps: int, *, relations: int = len(Relation)) -> None:
        super().__init__()
        self.layer = GatedGraphConv(width, num_layers=steps, bias=False)
        self.relation = nn.Parameter(torch.ones(len(Relation))) if relations > 1 else None

    def forward(self, states: Tensor, edge_index: Tensor, relation: Tensor) -> Tensor:
        """States after message passing; [n, D]."""
        weight = None if self.relation is None else self.relation[relation]
        encoded: Tensor = self.layer(states, edge_index, weight)
        return encoded
