"""Position-masked attention to the nodes a row may see: from its base state, or from its last node as SR-GNN has it.

Promise: a row reads nodes of a position below its own only; what each of them brings to what was read can be told, for
explanations; a row that sees nothing reads exactly zero.

Letters: T rows, W blocks, Q rows of a block at most, N nodes in a block's reach at most, n nodes, H base width,
D graph width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from llmrg.encoder.graph_batch import Reach, ViewBatch
from llmrg.graph.schema import NodeKind

PACE = 10.0
"""Unit of single numbers that must travel far: an optimiser like Adam moves each by about its learning rate a step,
as it does every element of a matrix, of which many act together."""

_ITEMS = [kind in (NodeKind.ITEM, NodeKind.IMAGINED_ITEM) for kind in NodeKind]


@dataclass(frozen=True)
class Read:
    """What the rows read from one view.

    Args:
        vector: what was read; [T, D].
        logit: attention logit of every node in reach, very low where hidden; [W, Q, N].
        reach: which nodes those are, and which rows see any.
    """

    vector: Tensor
    logit: Tensor
    reach: Reach


def standing(bias: Tensor, view: ViewBatch, reach: Reach) -> Tensor:
    """What a node's place and score say, whoever asks: 10 b − c d + 10 s v for ``bias`` (b, c, s); [W, Q, N]."""
    start, decay, trust = bias
    trusted = PACE * (start + trust * view.score)[reach.node].unsqueeze(1)  # [W, 1, N]
    placed: Tensor = trusted - decay * reach.distance
    return placed


class MaskedReadout(nn.Module):
    """Attention whose query is the base state.

    .. math:: a_{tn} = q_t \\cdot x_n / \\sqrt{D} + 10 b - c\\, d_{tn} + 10 s\\, v_n

    with :math:`x_n` the node's state, :math:`d` the distance in positions between the node and the newest one the
    row reads, and :math:`v` the verification score. There is no key and no value matrix: the first would only
    multiply the query's, the second the fusion's. The tens are :data:`PACE`.

    Args:
        state_channels: width H of the base state.
        width: graph width D.
    """

    is_mean: ClassVar[bool] = True  # the weights of a row sum to 1: what one node loses, the others gain

    def __init__(self, state_channels: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(state_channels, width)
        self.bias = nn.Parameter(torch.zeros(3))  # b, c, s

    def forward(self, state: Tensor, nodes: Tensor, view: ViewBatch, reach: Reach) -> Read:
        """Read ``nodes`` [n, D] of ``view`` for the base states [T, H]."""
        blocks, rows, _ = reach.hidden.shape
        width = nodes.shape[-1]
        query = self.query(state) / math.sqrt(width)  # [T, D]
        spread = query.new_zeros(blocks * rows, width).index_copy(0, reach.place, query)
        states = nodes.index_select(0, reach.node.view(-1)).view(blocks, -1, width)  # [W, N, D]
        logit = torch.baddbmm(
            reach.hidden + standing(self.bias, view, reach),
            spread.view(blocks, rows, width),
            states.transpose(1, 2),
        )
        mean = torch.bmm(logit.softmax(-1), states).view(-1, width)  # [W · Q, D]
        return Read(mean.index_select(0, reach.place) * reach.seen, logit, reach)

    def attribute(
        self, nodes: Tensor, view: ViewBatch, read: Read, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the nodes in reach of the one row of ``read`` bring to a quantity; [N] each.

        Args:
            nodes: states of all nodes; [n, D].
            view: the nodes.
            read: what the row read.
            gradient: of the quantity, with respect to the read vector; [D].

        Returns:
            The weight each node is read with, and the change of the quantity as that weight grows.
        """
        weight = read.logit[0, 0].softmax(-1)  # [N]
        return weight, weight * ((nodes[read.reach.node[0]] - read.vector[0]) @ gradient)


class LastNodeReadout(nn.Module):
    """SR-GNN's soft attention (arXiv 1811.00855): the query is the row's last item, the weights are not normalised.

    .. math:: a_{tn} = q \\cdot \\sigma(W_1 x_l + W_2 x_n + c), \\qquad
        r_t = W_3 \\Big[x_l ;\\; \\sum_n a_{tn} x_n\\Big]

    with :math:`x_l` the state of the newest item the row sees: an item node, or the mean of the newest imagined items
    (which have no order among them) in their view.

    Args:
        state_channels: width H of the base state, which is not read.
        width: graph width D.
    """

    is_mean: ClassVar[bool] = False

    def __init__(self, state_channels: int, width: int) -> None:
        super().__init__()
        self.last = nn.Linear(width, width, bias=False)  # W_1
        self.other = nn.Linear(width, width)  # W_2, c
        self.weigh = nn.Linear(width, 1, bias=False)  # q
        self.join = nn.Linear(2 * width, width, bias=False)  # W_3

    def forward(self, state: Tensor, nodes: Tensor, view: ViewBatch, reach: Reach) -> Read:
        """Read ``nodes`` [n, D] of ``view``, for as many rows as there are base states [T, H]."""
        width = nodes.shape[-1]
        states = nodes[reach.node]  # [W, N, D]
        last = torch.bmm(_newest_item(view, reach), states)  # [W, Q, D]
        mixed = torch.sigmoid(self.last(last).unsqueeze(2) + self.other(states).unsqueeze(1))  # [W, Q, N, D]
        weight = self.weigh(mixed).squeeze(-1)  # [W, Q, N]
        total = torch.bmm(weight * (reach.hidden == 0), states)
        vector = self.join(torch.cat([last, total], -1)).view(-1, width)  # [W · Q, D]
        return Read(vector.index_select(0, reach.place) * reach.seen, weight + reach.hidden, reach)

    def attribute(
        self, nodes: Tensor, view: ViewBatch, read: Read, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the nodes in reach of the one row of ``read`` bring to a quantity; as :meth:`MaskedReadout.attribute`.

        Returns:
            The share of each node in the sizes of all weights, and its part of the quantity, which is a sum over nodes.
        """
        reach = read.reach
        seen = reach.hidden[0, 0] == 0  # [N]
        weight = torch.where(seen, read.logit[0, 0], 0.0)
        states = nodes[reach.node[0]]  # [N, D]
        of_last, of_total = (gradient @ self.join.weight).chunk(2)  # [D] each
        part = weight * (states @ of_total) + _newest_item(view, reach)[0, 0] * (states @ of_last)
        return weight.abs() / weight.abs().sum().clamp_min(1e-12), part


Readout = MaskedReadout | LastNodeReadout

READOUTS: dict[str, type[Readout]] = {"attention": MaskedReadout, "last_node": LastNodeReadout}


def _newest_item(view: ViewBatch, reach: Reach) -> Tensor:
    """For each row, equal weights on the newest of the items in its reach, zero elsewhere; [W, Q, N]."""
    item = torch.tensor(_ITEMS, device=view.kind.device)[view.kind][reach.node].unsqueeze(1)  # [W, 1, N]
    distance = reach.distance.masked_fill((reach.hidden < 0) | ~item, math.inf)
    nearest = distance.amin(-1, keepdim=True)
    newest = ((distance == nearest) & (nearest < math.inf)).to(distance.dtype)
    return newest / newest.sum(-1, keepdim=True).clamp_min(1)
