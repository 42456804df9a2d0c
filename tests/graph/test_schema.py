"""Law 1 on the graph itself: a row sees what was there before its target, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sound_graphs import make_graphs

from llmrg.graph.checks import check_graph
from llmrg.graph.schema import ReasoningGraph


@given(st.integers(0, 10_000), st.integers(-1, 9))
def test_before_a_position_nothing_stands_at_or_after_it(seed: int, position: int) -> None:
    for graph in make_graphs(seed, 2):
        seen = graph.before(position)
        assert all(node.position < position for node in seen.nodes)
        assert all(edge.source in seen.by_key and edge.target in seen.by_key for edge in seen.edges)
        assert seen.before(position) == seen


@given(st.integers(0, 10_000), st.integers(0, 9))
def test_what_is_before_a_position_is_itself_a_sound_graph(seed: int, position: int) -> None:
    for graph in make_graphs(seed, 2):
        assert check_graph(graph.before(position)) == []


@given(st.integers(0, 10_000))
def test_a_document_gives_back_the_graph_it_was_made_from(seed: int) -> None:
    for graph in make_graphs(seed, 2):
        again = ReasoningGraph.from_document(graph.to_document())
        assert again.content_hash == graph.content_hash
        assert ReasoningGraph.from_document(again.to_document()) == again
