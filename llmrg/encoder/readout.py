"""Position-masked attention from a base state to the nodes its row may see.

Promise: a row reads nodes of a position below its own only; the weights it reads them with are returned, for
explanations; a row that sees nothing reads exactly zero.

Letters: T rows, W windows, Q rows of a window at most, N nodes in a window's reach at most, H base width,
D graph width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmrg.encoder.graph_batch import Reach


@dataclass(frozen=True)
class Read:
    """What the rows read from one view.

    Args:
        vector: weighted mean of node values; [T, D].
        logit: attention logit of every node in reach, very low where invisible; [W, Q, N].
        seen: whether the row sees any node; [T, 1].
        reach: which nodes those are.
    """

    vector: Tensor
    logit: Tensor
    seen: Tensor
    reach: Reach


class MaskedReadout(nn.Module):
    """Attention whose query is the base state.

    .. math:: a_{tn} = q_t \\cdot k_n / \\sqrt{D} + c \\cdot (\\log(1 + d_{tn}),\\ 1 / (1 + d_{tn}),\\ s_n)

    with :math:`d` the distance in positions and :math:`s` the verification score.

    Args:
        state_channels: width H of the base state.
        width: graph width D.
    """

    def __init__(self, state_channels: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(state_channels, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, state: Tensor, nodes: Tensor, score: Tensor, reach: Reach) -> Read:
        """Read ``nodes`` [n, D] with scores [n] for the base states [T, H]."""
        windows, rows = reach.shape
        width = nodes.shape[-1]
        query = self.query(state) / math.sqrt(width)  # [T, D]
        spread = query.new_zeros(windows * rows, width).index_copy(0, reach.place, query)
        keys = self.key(nodes)[reach.node]  # [W, N, D]
        distance = reach.distance.clamp(min=0).to(query.dtype)  # [W, Q, N]
        logit = torch.baddbmm(
            self.bias[0] * torch.log1p(distance) + self.bias[1] / (1 + distance),
            spread.view(windows, rows, width),
            keys.transpose(1, 2),
        )
        logit = logit + (self.bias[2] * score)[reach.node].unsqueeze(1)
        logit = logit.masked_fill(~reach.visible, torch.finfo(logit.dtype).min)
        seen = reach.visible.any(-1, keepdim=True)  # [W, Q, 1]
        weight = logit.softmax(-1) * seen
        vector = torch.bmm(weight, self.value(nodes)[reach.node]).view(-1, width)  # [W · Q, D]
        return Read(vector[reach.place], logit, seen.view(-1, 1)[reach.place], reach)
