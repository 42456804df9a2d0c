"""Graph networks by name: what a node's state may depend on, and SR-GNN against its reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recbole.model.sequential_recommender.srgnn import GNN
from torch import Tensor

from llmrg.encoder.networks import NETWORKS, Network, networks_of
from llmrg.graph.schema import Relation
from llmrg.settings import EncoderSettings

WIDTH = 8
FORWARD = [name for name in NETWORKS if not NETWORKS[name].per_row]
#        0 → 2 ← 1,  2 → 3 ← 1,  3 → 4;  5 has no edges
EDGES = torch.tensor([[0, 1, 2, 1, 3], [2, 2, 3, 3, 4]])
RELATIONS = torch.tensor([0, 1, 2, 3, 4])
ANCESTORS = {0: {0}, 1: {1}, 2: {0, 1, 2}, 3: {0, 1, 2, 3}, 4: {0, 1, 2, 3, 4}, 5: {5}}


def network(name: str, steps: int = 3) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return networks_of(name, WIDTH, steps, shared=False)[0]


def states(count: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_the_setting_names_all_networks() -> None:
    assert set(NETWORKS) == set(EncoderSettings.model_fields["network"].annotation.__args__)


@pytest.mark.parametrize("name", FORWARD)
def test_a_nodes_state_depends_on_what_reaches_it_along_edges_alone(name: str) -> None:
    layer, first = network(name), states()
    with torch.no_grad():
        before = layer(first, EDGES, RELATIONS)
        for changed in range(6):
            other = first.clone()
            other[changed] += 1
            after = layer(other, EDGES, RELATIONS)
            for node, ancestors in ANCESTORS.items():
                assert torch.equal(after[node], before[node]) == (changed not in ancestors)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_node_without_edges_keeps_the_state_it_has_alone(name: str) -> None:
    layer, first = network(name), states()
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    with torch.no_grad():
        alone = layer(first[5:], nothing, nothing[0])
        among = layer(first, EDGES, RELATIONS)[5:]
    torch.testing.assert_close(alone, among)
    assert torch.isfinite(alone).all()
    assert not torch.equal(alone, torch.zeros_like(alone))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_is_encoded_the_same_beside_another(name: str) -> None:
    layer, first = network(name), states()
    both = torch.cat([first, 10 * states(seed=1)])
    with torch.no_grad():
        together = layer(both, torch.cat([EDGES, EDGES + 6], 1), RELATIONS.repeat(2))
        torch.testing.assert_close(together[:6], layer(first, EDGES, RELATIONS))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "srgnn"])
def test_the_relation_of_an_edge_matters(name: str) -> None:
    layer = network(name)
    if name == "gated":
        torch.nn.init.uniform_(layer.relation)
    with torch.no_grad():
        before = layer(states(), EDGES, RELATIONS)
        assert not torch.allclose(layer(states(), EDGES, (RELATIONS + 1) % len(Relation)), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_of_a_network_can_learn(name: str) -> None:
    layer = network(name)
    (layer(states(), EDGES, RELATIONS) * states(seed=2)).sum().backward()
    for key, value in layer.named_parameters():
        assert value.grad is not None, key
        if not key.endswith("lin_key.bias"):  # the same for all edges of a node: its softmax does not see it
            assert value.grad.abs().sum() > 0, key


def test_one_network_serves_both_views_where_it_is_shared() -> None:
    for name in NETWORKS:
        first, second = networks_of(name, WIDTH, 1, shared=True)
        assert first is second
        first, second = networks_of(name, WIDTH, 1, shared=False)
        assert first is not second


@pytest.mark.parametrize("steps", [1, 2])
def test_srgnn_is_recboles_gated_graph_network(steps: int) -> None:
    torch.manual_seed(3)
    reference, ours = GNN(WIDTH, step=steps), network("srgnn", steps)
    for value in reference.parameters():
        torch.nn.init.normal_(value, std=0.3)
    for edge in (reference.linear_edge_in, reference.linear_edge_out):
        torch.nn.init.zeros_(edge.bias)  # b of the paper is added after the adjacency
    flip = torch.ones(3 * WIDTH)
    flip[WIDTH : 2 * WIDTH] = -1  # its update gate weighs the new state, torch's the old one
    with torch.no_grad():
        both = torch.cat([reference.b_iah, reference.b_ioh])
        ours.incoming.weight.copy_(reference.linear_edge_in.weight)
        ours.outgoing.weight.copy_(reference.linear_edge_out.weight)
        ours.cell.weight_ih.copy_(reference.w_ih * flip[:, None])
        ours.cell.weight_hh.copy_(reference.w_hh * flip[:, None])
        ours.cell.bias_ih.copy_((reference.b_ih + reference.w_ih @ both) * flip)
        ours.cell.bias_hh.copy_(reference.b_hh * flip)
        torch.testing.assert_close(
            ours(states(), EDGES, RELATIONS), reference(_adjacency(6), states().unsqueeze(0))[0]
        )


def _adjacency(nodes: int) -> Tensor:
    """As RecBole's SRGNN lays it out: incoming beside outgoing, each normalised; [1, n, 2n]."""
    links = np.zeros((nodes, nodes))
    links[EDGES[0], EDGES[1]] = 1
    into, out = links.sum(0), links.sum(1)
    into[into == 0] = 1
    out[out == 0] = 1
    both = np.concatenate([links / into, links.T / out]).T
    return torch.from_numpy(both).float().unsqueeze(0)
