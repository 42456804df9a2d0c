"""How what was read joins the base model: fusion into its state, and the pointer onto its scores.

Promise: shut (gate or beta zero, as they are right after construction unless said otherwise), both leave the base
model's numbers as they are, bit for bit; a row that sees no node is left as it is, always.

Letters: T rows, N nodes in reach, I items, n nodes, H base width, D graph width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmrg.encoder.graph_batch import ViewBatch
from llmrg.encoder.readout import PACE, Read, standing


class GatedFusion(nn.Module):
    """Gated residual, shut at the start: :math:`h' = h + g \\odot W [r_1; r_2]` with :math:`g = 0`.

    Shapes:
        - state: [T, H], read: [T, 2D], out: [T, H]
    """

    def __init__(self, state_channels: int, read_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(read_channels, state_channels, bias=False)
        self.gate = nn.Parameter(torch.zeros(state_channels))

    def forward(self, state: Tensor, read: Tensor, seen: Tensor) -> Tensor:
        """Fused states; rows with ``seen`` false stay as they are."""
        fused: Tensor = state + self.gate * self.project(read) * seen
        return fused


class ConcatFusion(nn.Module):
    """Concat + linear, as in the paper: :math:`h' = W [h; r_1; r_2]`, with W starting as (identity, 0).

    Shapes:
        - state: [T, H], read: [T, 2D], out: [T, H]
    """

    def __init__(self, state_channels: int, read_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(state_channels + read_channels, state_channels, bias=False)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.weight[:, :state_channels].fill_diagonal_(1)

    def forward(self, state: Tensor, read: Tensor, seen: Tensor) -> Tensor:
        """Fused states; rows with ``seen`` false stay as they are."""
        return torch.where(seen, self.linear(torch.cat([state, read], -1)), state)


class NormMatchedFusion(nn.Module):
    """Sum with what was read brought to the length of the base state, shut at the start.

    .. math:: h' = h + g \\, \\lVert h \\rVert \\frac{v}{\\lVert v \\rVert}, \\qquad v = W [r_1; r_2]

    with one learned number :math:`g = 0`: how long the graph's part is beside the base's, whatever either's scale.

    Shapes:
        - state: [T, H], read: [T, 2D], out: [T, H]
    """

    def __init__(self, state_channels: int, read_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(read_channels, state_channels, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, state: Tensor, read: Tensor, seen: Tensor) -> Tensor:
        """Fused states; rows with ``seen`` false stay as they are."""
        direction = nn.functional.normalize(self.project(read), dim=-1)  # [T, H], zero where nothing was read
        fused: Tensor = state + self.gate * state.norm(dim=-1, keepdim=True) * direction * seen
        return fused


Fusion = GatedFusion | ConcatFusion | NormMatchedFusion

FUSIONS: dict[str, type[Fusion]] = {
    "gated": GatedFusion,
    "concat": ConcatFusion,
    "norm_matched": NormMatchedFusion,
}


@dataclass(frozen=True)
class Pointed:
    """What imagined items add to scores.

    Args:
        row: row of the scores each row of the graph's readers stands for; [R].
        item: internal item id of every node in reach, 0 for none; [R, N].
        weight: what the node adds to that item's score; [R, N].
    """

    row: Tensor
    item: Tensor
    weight: Tensor


class Pointer(nn.Module):
    """Imagined catalogue items raise their own score.

    .. math:: s'(i) = s(i) + 10 \\beta \\sum_{n \\to i} \\sigma(a_n + 10 b - c\\, d_n + 10 s\\, v_n)

    over the visible imagined nodes n grounded to item i, with :math:`a_n` the read-out logit, :math:`d_n` the distance
    in positions from the newest node the row reads, and :math:`v_n` the score; the tens are
    :data:`~llmrg.encoder.readout.PACE`. It starts where imagined items rank about as well as they can untrained: one
    of the newest list with a high score adds about 5, older lists, which the newest supersedes, nearly nothing. From
    a start at nothing the base model learns the training rows by heart before the pointer has moved.

    Args:
        beta: start value; 0 is shut.
    """

    def __init__(self, beta: float = 0.8) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta))
        self.bias = nn.Parameter(torch.tensor([-0.3, 4.0, 0.4]))  # b, c, s

    def weights(self, read: Read, view: ViewBatch) -> tuple[Tensor, Tensor]:
        """Item and weight of every node in the reach of every row.

        Args:
            read: the divergent read-out.
            view: its nodes.

        Returns:
            Items [T, N] (0: none) and their weights [T, N].
        """
        reach = read.reach
        logit = read.logit + standing(self.bias, view, reach)
        weight = torch.sigmoid(logit).mul(PACE * self.beta)  # hidden nodes: the sigmoid of −1e9 is 0
        weight = weight.view(-1, weight.shape[-1]).index_select(0, reach.place)  # [T, N]
        items = view.item[reach.node].index_select(0, reach.block)  # [T, N]
        return items, weight * (items > 0)

    def add(self, scores: Tensor, pointed: Pointed) -> Tensor:
        """Scores over all items [T, I] with the weights added, in place (a copy would cost as much again)."""
        place = pointed.row.unsqueeze(-1) * scores.shape[-1] + pointed.item  # [R, N]
        scores.view(-1).scatter_add_(0, place.view(-1), pointed.weight.to(scores.dtype).view(-1))
        return scores

    def of(self, candidate: Tensor, pointed: Pointed) -> Tensor:
        """What is added to one candidate item a row; [T]."""
        asked = candidate.index_select(0, pointed.row).unsqueeze(-1)
        added = (pointed.weight * (pointed.item == asked)).sum(-1)  # [R]
        return added.new_zeros(len(candidate)).index_add(0, pointed.row, added)
