"""Rewired graphs: the same nodes and degrees, other partners, nothing from the future."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_graphs import make_graphs
from test_arrays import in_memory

from llmrg.data.interactions import UserHistory
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.checks import check_graph
from llmrg.graph.controls import apply_control
from llmrg.graph.rewiring import rewired
from llmrg.graph.schema import RELATION_KINDS, Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation

ORIGIN = Provenance("b2:0")


def edges(arrays: GraphArrays) -> list[tuple[int, int, int]]:
    """(source, target, relation) of every edge, nodes numbered over all users."""
    shift = np.repeat(arrays.node_offset[:-1], np.diff(arrays.edge_offset))
    columns = (arrays.edge_source + shift, arrays.edge_target + shift, arrays.edge_relation)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 50))
@settings(max_examples=40)
def test_nodes_degrees_and_the_arrow_of_time_stay(seed: int, users: int, shuffle: int) -> None:
    before = in_memory(make_graphs(seed, users))
    after = rewired(before, shuffle)
    for name in ("node_kind", "node_position", "node_item", "node_text", "node_score", "node_offset"):
        assert getattr(after, name) is getattr(before, name)
    assert after.edge_offset is before.edge_offset
    old, new = edges(before), edges(after)
    assert len(set(new)) == len(new) == len(old)
    for end in (0, 1):
        assert Counter((edge[end], edge[2]) for edge in new) == Counter((edge[end], edge[2]) for edge in old)
    owner = np.repeat(np.arange(users), np.diff(before.node_offset))
    kinds, relations = list(NodeKind), list(Relation)
    for source, target, relation in new:
        assert owner[source] == owner[target]
        assert before.node_position[source] <= before.node_position[target]
        allowed_source, allowed_target = RELATION_KINDS[relations[relation]]
        assert kinds[before.node_kind[source]] in allowed_source
        assert kinds[before.node_kind[target]] in allowed_target
    inside = [edge[:2] for edge in new]
    per_user = np.split(np.array(inside, dtype=np.int64).reshape(-1, 2), before.edge_offset[1:-1])
    for part in per_user:  # the order that the arrays promise
        assert [tuple(row) for row in part[:, ::-1].tolist()] == sorted(
            tuple(row) for row in part[:, ::-1].tolist()
        )


def windowed(users: int = 8) -> list[ReasoningGraph]:
    """Graphs as the agent makes them: windows of five items, three reasons each, four imagined items per reason."""
    graphs = []
    for user in range(users):
        history = UserHistory(f"u{user}", tuple(f"i{position}" for position in range(15)), 14)
        nodes = [Node(f"item:{p}", NodeKind.ITEM, f"Item {p}", p, f"i{p}") for p in range(15)]
        links = [Edge(f"item:{p - 1}", f"item:{p}", Relation.FOLLOWS) for p in range(1, 15)]
        for newest in (4, 9, 14):
            for number in range(3):
                reason = f"reason:{newest}.{number}"
                nodes.append(Node(reason, NodeKind.REASON, reason, newest, provenance=ORIGIN))
                links += [
                    Edge(f"item:{newest - 4 + (number + step) % 5}", reason, Relation.SUPPORTS)
                    for step in range(2)
                ]
                for place in range(4):
                    key = f"imagined:{newest}.{number}.{place}"
                    nodes.append(
                        Node(key, NodeKind.IMAGINED_ITEM, key, newest, f"i{20 + place}", provenance=ORIGIN)
                    )
                    links.append(Edge(reason, key, Relation.SUGGESTS))
        position = {node.key: node.position for node in nodes}
        graphs.append(
            ReasoningGraph(
                user_id=history.user_id,
                nodes=tuple(sorted(nodes, key=lambda node: node.position)),
                edges=tuple(sorted(links, key=lambda edge: position[edge.target])),
                as_of=15,
                history=history.fingerprint,
                recipe="windows",
            )
        )
        assert check_graph(graphs[-1], history) == []
    return graphs


def test_facts_stay_and_much_of_what_a_reply_linked_does_not() -> None:
    arrays = in_memory(windowed())
    old, new = set(edges(arrays)), set(edges(rewired(arrays, 1)))
    share = {}
    for number, relation in enumerate(Relation):
        before = {edge for edge in old if edge[2] == number}
        if before:
            share[relation] = len(before - new) / len(before)
    assert share[Relation.FOLLOWS] == 0
    assert share[Relation.SUPPORTS] > 0.4
    assert share[Relation.SUGGESTS] > 0.5


def test_rewiring_depends_on_its_seed_only() -> None:
    arrays = in_memory(windowed())
    one, same, other = (edges(rewired(arrays, seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert edges(apply_control(arrays, "rewired", seed=1)) == one


@pytest.mark.parametrize("control", ["rewired", "unverified", "no-divergent"])
def test_graphs_without_edges_or_nodes_can_be_read_too(control: str) -> None:
    nothing = apply_control(in_memory(make_graphs(1, 2)), "empty")
    assert len(apply_control(nothing, control).edge_source) == 0
