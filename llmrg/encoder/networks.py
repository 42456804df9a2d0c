"""Graph networks by name beside the default: graph attention with edge features, and SR-GNN.

Sources: GAT v2 (arXiv 2105.14491) and the transformer convolution of UniMP (arXiv 2009.03509), both by
torch-geometric; SR-GNN (arXiv 1811.00855), the network the LLMRG paper encodes its graphs with.

Promise: messages follow edges, and every normalisation is over the edges of one node: a node's state depends on its
own features and on what it is linked with, never on what else is in the batch; a node without edges keeps a state of
its own.

Letters: n nodes, e edges, D graph width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv, TransformerConv

from llmrg.encoder.graph_encoder import GraphEncoder
from llmrg.graph.schema import Relation


class GatV2Network(nn.Module):
    """Graph attention (GAT v2) with a learned vector per relation as edge feature, as a residual.

    .. math:: h'_v = h_v + \\mathrm{ELU}\\Big(\\alpha_{vv} W h_v + \\sum_{u \\to v} \\alpha_{uv} W h_u\\Big)

    with :math:`\\alpha` a softmax over v itself (a loop without relation) and the edges into v: many nodes have one
    edge, and would otherwise have nothing to choose from.

    Args:
        width: graph width D.
        steps: message-passing steps, each with weights of its own.

    Shapes:
        - states: [n, D]
        - edge_index: [2, e], relation: [e]
        - out: [n, D]
    """

    per_row: ClassVar[bool] = False

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.relation = nn.Embedding(len(Relation), width)
        layers = [GATv2Conv(width, width, edge_dim=width, fill_value=0.0, bias=False) for _ in range(steps)]
        self.layers = nn.ModuleList(layers)

    def forward(self, states: Tensor, edge_index: Tensor, relation: Tensor) -> Tensor:
        """States after message passing; [n, D]."""
        return _residual_steps(self.layers, states, edge_index, self.relation(relation))


class TransformerNetwork(nn.Module):
    """Dot-product attention over incoming edges, keys and values shifted by a learned vector per relation.

    .. math:: h'_v = h_v + \\mathrm{ELU}\\Big(W_0 h_v + \\sum_{u \\to v} \\alpha_{uv} (W h_u + E_{r(u, v)})\\Big)

    with :math:`\\alpha` a softmax over the edges into v.

    Args and shapes: as of :class:`GatV2Network`.
    """

    per_row: ClassVar[bool] = False

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.relation = nn.Embedding(len(Relation), width)
        layers = [TransformerConv(width, width, edge_dim=width, bias=False) for _ in range(steps)]
        self.layers = nn.ModuleList(layers)

    def forward(self, states: Tensor, edge_index: Tensor, relation: Tensor) -> Tensor:
        """States after message passing; [n, D]."""
        return _residual_steps(self.layers, states, edge_index, self.relation(relation))


class SessionGraphNetwork(nn.Module):
    """SR-GNN: a gated graph network over incoming and outgoing edges, each with weights of its own.

    .. math:: m_v = \\Big[\\tfrac{1}{|in(v)|} \\sum_{u \\to v} W_{in} h_u ;\\;
        \\tfrac{1}{|out(v)|} \\sum_{v \\to u} W_{out} h_u\\Big] + b, \\qquad h'_v = \\mathrm{GRU}(m_v, h_v)

    A node hears from newer ones here, so a row must be given a graph of its own (``per_row``): only what it may see.
    As in the paper there are no relations, and all steps share their weights.

    Args and shapes: as of :class:`GatV2Network`.
    """

    per_row: ClassVar[bool] = True

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.incoming = nn.Linear(width, width, bias=False)
        self.outgoing = nn.Linear(width, width, bias=False)
        self.cell = nn.GRUCell(2 * width, width)  # its input bias is b

    def forward(self, states: Tensor, edge_index: Tensor, relation: Tensor) -> Tensor:
        """States after message passing, ``relation`` unread; [n, D]."""
        source, target = edge_index
        for _ in range(self.steps):
            heard = _mean(self.incoming(states), source, target)
            echoed = _mean(self.outgoing(states), target, source)
            states = self.cell(torch.cat([heard, echoed], -1), states)
        return states


Network = GraphEncoder | GatV2Network | TransformerNetwork | SessionGraphNetwork

NETWORKS: dict[str, type[Network]] = {
    "gated": GraphEncoder,
    "gatv2": GatV2Network,
    "transformer": TransformerNetwork,
    "srgnn": SessionGraphNetwork,
}


def networks_of(name: str, width: int, steps: int, *, shared: bool) -> tuple[Network, Network]:
    """The networks of the reasoning view and of the divergent view.

    Args:
        name: one of :data:`NETWORKS`.
        width: graph width D.
        steps: message-passing steps.
        shared: one network for both.
    """
    first = NETWORKS[name](width, steps)
    if shared:
        return first, first
    return first, GraphEncoder(width, steps, relations=1) if name == "gated" else NETWORKS[name](width, steps)


def _residual_steps(layers: nn.ModuleList, states: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
    for layer in layers:
        states = states + functional.elu(layer(states, edge_index, edges))
    return states


def _mean(messages: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Mean of what each node is sent, zero where that is nothing; [n, D]."""
    count = messages.new_zeros(len(messages)).index_add(0, target, messages.new_ones(len(target)))
    total = torch.zeros_like(messages).index_add(0, target, messages.index_select(0, source))
    return total / count.clamp_min(1).unsqueeze(-1)
