"""Position-masked attention from a base state to the nodes its row may see.

Promise: a row reads nodes of a position below its own only; the weights it reads them with are returned, for
explanations; a row that sees nothing reads exactly zero.

Letters: T rows, W blocks, Q rows of a block at most, N nodes in a block's reach at most, n nodes, H base width,
D graph width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmrg.encoder.graph_batch import Reach, ViewBatch


@dataclass(frozen=True)
class Read:
    """What the rows read from one view.

    Args:
        vector: weighted mean of node values; [T, D].
        logit: attention logit of every node in reach, very low where hidden; [W, Q, N].
        reach: which nodes those are, and which rows see any.
    """

    vector: Tensor
    logit: Tensor
    reach: Reach


class MaskedReadout(nn.Module):
    """Attention whose query is the base state.

    .. math:: a_{tn} = q_t \\cdot x_n / \\sqrt{D} + b - c\\, d_{tn} / 10 + s\\, v_n

    with :math:`x_n` the node's state, :math:`d` the distance in positions between the node and the newest one the
    row may see, and :math:`v` the verification score. There is no key and no value matrix: the first would only
    multiply the query's, the second the fusion's.

    Args:
        state_channels: width H of the base state.
        width: graph width D.
    """

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
        start, decay, trust = self.bias
        trusted = (start + trust * view.score)[reach.node].unsqueeze(1)  # [W, 1, N]
        logit = torch.baddbmm(
            reach.hidden - decay / 10 * reach.distance + trusted,
            spread.view(blocks, rows, width),
            states.transpose(1, 2),
        )
        mean = torch.bmm(logit.softmax(-1), states).view(-1, width)  # [W · Q, D]
        return Read(mean.index_select(0, reach.place) * reach.seen, logit, reach)
