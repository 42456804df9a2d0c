"""Control arms: each takes away one thing, and only that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_graphs import graph_lists, make_graphs
from test_arrays import edges_of, expected_edges, expected_nodes, in_memory, nodes_of

from llmrg.errors import GraphError, SettingsError
from llmrg.graph import controls
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.schema import NodeKind, ReasoningGraph, Relation


def expect_same_users(changed: GraphArrays, arrays: GraphArrays) -> None:
    for name in ("user_ids", "history", "as_of", "item_ids", "text_vectors"):
        assert getattr(changed, name) is getattr(arrays, name)
    assert changed.node_offset[-1] == len(changed.node_kind) == len(changed.node_text)
    assert changed.edge_offset[-1] == len(changed.edge_source) == len(changed.edge_relation)
    for name in ("node_offset", "edge_offset", "edge_source", "edge_target", "edge_relation", "node_item"):
        assert getattr(changed, name).dtype == getattr(arrays, name).dtype


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(0, 50))
@settings(max_examples=40)
def test_shuffling_has_no_fixed_point_and_gives_every_graph_once(seed: int, users: int, shuffle: int) -> None:
    graphs = make_graphs(seed, users)
    arrays = in_memory(graphs)
    # The number of a node's user, written where it survives the shuffle.
    owner = np.repeat(np.arange(users), np.diff(arrays.node_offset)).astype(np.int32)
    marked = controls.shuffled(replace(arrays, node_text=owner), shuffle)
    expect_same_users(marked, arrays)
    givers = []
    for row in range(users):
        span = slice(marked.node_offset[row], marked.node_offset[row + 1])
        givers += np.unique(marked.node_text[span]).tolist()
        assert row not in marked.node_text[span]
    assert sorted(givers) == np.unique(owner).tolist()


@given(st.integers(0, 10_000), st.integers(0, 50))
@settings(max_examples=20)
def test_a_shuffled_graph_is_another_users_graph_whole(seed: int, shuffle: int) -> None:
    arrays = in_memory(make_graphs(seed, 5))
    shuffled = controls.shuffled(arrays, shuffle)
    before = [(nodes_of(arrays, row), edges_of(arrays, row)) for row in range(5)]
    after = [(nodes_of(shuffled, row), edges_of(shuffled, row)) for row in range(5)]
    assert sorted(after, key=repr) == sorted(before, key=repr)


def test_shuffling_depends_on_its_seed_only(graphs: list[ReasoningGraph]) -> None:
    arrays = in_memory(graphs)
    one, same, other = (controls.shuffled(arrays, seed).node_offset.tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_one_user_cannot_be_shuffled() -> None:
    with pytest.raises(GraphError, match="two users at least, found 1"):
        controls.shuffled(in_memory(make_graphs(1, 1)), 0)


@given(graph_lists)
@settings(max_examples=30)
def test_the_sequence_keeps_items_and_their_order_alone(graphs: list[ReasoningGraph]) -> None:
    arrays = in_memory(graphs)
    changed = controls.sequence_only(arrays)
    expect_same_users(changed, arrays)
    for row, graph in enumerate(graphs):
        items = [node for node in expected_nodes(graph) if node[0] is NodeKind.ITEM]
        assert nodes_of(changed, row) == items
        assert edges_of(changed, row) == [(k, k - 1, Relation.FOLLOWS) for k in range(1, len(items))]


@given(graph_lists)
@settings(max_examples=20)
def test_text_keeps_items_without_edges_and_empty_keeps_nothing(graphs: list[ReasoningGraph]) -> None:
    arrays = in_memory(graphs)
    text, empty = controls.text_only(arrays), controls.empty(arrays)
    expect_same_users(text, arrays)
    expect_same_users(empty, arrays)
    for row in range(len(graphs)):
        assert nodes_of(text, row) == nodes_of(controls.sequence_only(arrays), row)
        assert edges_of(text, row) == nodes_of(empty, row) == edges_of(empty, row) == []


@given(graph_lists, st.sampled_from(NodeKind))
@settings(max_examples=40)
def test_a_kind_goes_with_its_edges_and_the_rest_stays(graphs: list[ReasoningGraph], kind: NodeKind) -> None:
    changed = controls.without_kind(in_memory(graphs), kind)
    for row, graph in enumerate(graphs):
        rest = graph.accepted._restricted(lambda node: node.kind is not kind, as_of=graph.as_of)
        assert nodes_of(changed, row) == expected_nodes(rest)
        assert edges_of(changed, row) == expected_edges(rest)


def test_controls_are_found_by_the_names_of_the_setting(graphs: list[ReasoningGraph]) -> None:
    arrays = in_memory(graphs)
    assert controls.apply_control(arrays, "none") is arrays
    assert len(controls.apply_control(arrays, "empty").node_kind) == 0
    sequence = controls.apply_control(arrays, "sequence")
    assert len(sequence.edge_source) > 0 == len(controls.apply_control(arrays, "text").edge_source)
    shuffled = controls.apply_control(arrays, "shuffled", seed=3)
    assert shuffled.node_offset.tolist() == controls.shuffled(arrays, 3).node_offset.tolist()
    with pytest.raises(SettingsError, match="did you mean 'shuffled'"):
        controls.apply_control(arrays, "shufled")
