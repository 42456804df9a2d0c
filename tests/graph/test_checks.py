"""The graph's rules: a sound graph has no problem, each broken rule is named, nothing raises."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_graphs import make_graphs, random_graph, random_history

from llmrg.data.interactions import UserHistory
from llmrg.errors import GraphError
from llmrg.graph.checks import check_graph, refuse_unsound
from llmrg.graph.schema import Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation

HISTORY = UserHistory("u", ("a", "b", "c"), train_length=2)
ORIGIN = Provenance("b2:request")
NODES = (
    Node("attribute:age=9", NodeKind.ATTRIBUTE, "age=9", -1),
    Node("item:0", NodeKind.ITEM, "A", 0, "a"),
    Node("item:1", NodeKind.ITEM, "B", 1, "b"),
    Node("reason:0", NodeKind.REASON, "likes letters", 1, score=0.5, provenance=ORIGIN),
    Node("reason:1", NodeKind.REASON, "early ones", 1, score=0.5, provenance=ORIGIN),
    Node("imagined:0", NodeKind.IMAGINED_ITEM, "D", 1, "d", provenance=ORIGIN),
    Node("item:2", NodeKind.ITEM, "C", 2, "c"),
)
EDGES = (
    Edge("item:0", "item:1", Relation.FOLLOWS),
    Edge("attribute:age=9", "reason:0", Relation.SUPPORTS),
    Edge("item:1", "reason:0", Relation.SUPPORTS),
    Edge("reason:0", "reason:1", Relation.REFINES),
    Edge("reason:1", "imagined:0", Relation.SUGGESTS),
    Edge("item:1", "item:2", Relation.FOLLOWS),
)
SOUND = ReasoningGraph("u", NODES, EDGES, as_of=3, history=HISTORY.fingerprint)


def with_node(which: str, /, **changes: object) -> ReasoningGraph:
    nodes = tuple(replace(node, **changes) if node.key == which else node for node in NODES)  # type: ignore[arg-type]
    return replace(SOUND, nodes=nodes)


def with_edge(source: str, target: str, relation: Relation) -> ReasoningGraph:
    return replace(SOUND, edges=(*EDGES, Edge(source, target, relation)))


def test_a_sound_graph_has_no_problem() -> None:
    assert check_graph(SOUND, HISTORY) == []


@given(st.integers(0, 10_000), st.integers(0, 8))
def test_random_sound_graphs_have_no_problem(seed: int, length: int) -> None:
    rng = random.Random(seed)
    history = random_history(rng, "u", length)
    assert check_graph(random_graph(rng, history), history) == []


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (replace(SOUND, nodes=(*NODES, NODES[-1])), "node key item:2 occurs 2 times"),
        (replace(SOUND, nodes=(NODES[1], NODES[0], *NODES[2:])), "position -1 stands after 0"),
        (replace(SOUND, as_of=2), "node item:2: position 2 is not before as_of 2"),
        (with_node("attribute:age=9", position=0), "an attribute stands at -1, found 0"),
        (with_node("item:0", position=-1), "position -1 is before the first item"),
        (with_node("item:2", key="item:9"), "has the key item:2"),
        (with_node("item:2", item_id=None), "an item has an item_id"),
        (with_node("reason:0", score=1.5), "score 1.5 does not lie in [0, 1]"),
        (with_node("reason:0", score=float("nan")), "score nan does not lie in [0, 1]"),
        (with_node("reason:0", provenance=None), "a reason has a provenance"),
        (with_node("imagined:0", provenance=None), "a imagined_item has a provenance"),
        (with_edge("item:7", "reason:0", Relation.SUPPORTS), "there is no node item:7"),
        (with_edge("item:2", "reason:0", Relation.SUPPORTS), "from position 2 back to 1"),
        (
            with_edge("item:0", "imagined:0", Relation.SUGGESTS),
            "suggests does not join item and imagined_item",
        ),
        (with_edge("reason:0", "item:2", Relation.SUPPORTS), "supports does not join reason and item"),
        (with_edge("item:0", "item:2", Relation.FOLLOWS), "only the item directly before"),
        (with_edge("item:1", "reason:0", Relation.SUPPORTS), "occurs 2 times"),
        (with_edge("reason:1", "reason:0", Relation.CAUSES), "in a circle through reason:0, reason:1"),
        (with_edge("reason:1", "reason:1", Relation.CAUSES), "in a circle through reason:1"),
    ],
)
def test_each_broken_rule_is_named(graph: ReasoningGraph, problem: str) -> None:
    assert any(problem in found for found in check_graph(graph)), check_graph(graph)


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (replace(SOUND, user_id="v"), "the graph is of user v"),
        (replace(SOUND, history="b2:other"), "made from another history"),
        (with_node("item:1", item_id="z"), "node item:1: item z, but the history has b there"),
        (replace(SOUND, as_of=4), "as_of 4 is beyond the 3 items"),
        (replace(SOUND, nodes=(*NODES[:2], *NODES[3:])), "do not run without a gap"),
    ],
)
def test_a_graph_of_another_history_is_noticed(graph: ReasoningGraph, problem: str) -> None:
    assert any(problem in found for found in check_graph(graph, HISTORY))


def test_a_graph_of_the_newest_items_only_agrees_with_its_history() -> None:
    newest = replace(SOUND, nodes=NODES[2:], edges=EDGES[2:])
    assert check_graph(newest, HISTORY) == []


def test_the_past_of_a_graph_agrees_with_its_history() -> None:
    assert check_graph(SOUND.before(2), HISTORY) == []


keys = st.sampled_from([node.key for node in NODES] + ["nobody", ""])
edges = st.builds(Edge, keys, keys, st.sampled_from(Relation))
nodes = st.builds(
    Node,
    keys,
    st.sampled_from(NodeKind),
    st.text(max_size=3),
    st.integers(-3, 5),
    st.none() | st.just("a"),
    st.floats(),
)


@given(st.lists(nodes, max_size=6), st.lists(edges, max_size=8), st.integers(-2, 4))
def test_no_graph_makes_the_check_raise(some: list[Node], between: list[Edge], as_of: int) -> None:
    problems = check_graph(ReasoningGraph("u", tuple(some), tuple(between), as_of), HISTORY)
    assert all(isinstance(problem, str) for problem in problems)
    assert problems  # it is not a graph of this history: there is no fingerprint


@given(st.integers(0, 10_000))
def test_an_edge_from_the_future_is_always_noticed(seed: int) -> None:
    (graph,) = make_graphs(seed, 1)
    items = [node for node in graph.nodes if node.kind is NodeKind.ITEM]
    early = [node for node in graph.nodes if node.kind is NodeKind.REASON and node.position < len(items) - 1]
    for reason in early:
        leak = Edge(items[-1].key, reason.key, Relation.SUPPORTS)
        assert any("back to" in found for found in check_graph(replace(graph, edges=(*graph.edges, leak))))


def test_an_unsound_graph_is_refused_with_its_user_and_all_its_problems() -> None:
    refuse_unsound(SOUND, HISTORY)
    broken = replace(SOUND, as_of=2)
    with pytest.raises(GraphError, match="'u' breaks its rules") as refused:
        refuse_unsound(broken, HISTORY)
    assert refused.value.problems == tuple(check_graph(broken, HISTORY)) != ()
