"""Synthetic reasoning graphs of any length, with a rejected reason and a reused one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmrg.graph.schema import Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation

MakeGraph = Callable[..., ReasoningGraph]

WORDS = (
    "Keeps to family animation with songs",
    "Moves from comedy towards science fiction",
    "Follows one director across decades, whatever the genre",
    "Likes a heist told out of order",
)


def synthetic_graph(
    length: int = 12, *, window: int = 3, title: str = "Film {}", tau: float = 0.3, entry: str = "next:i8"
) -> ReasoningGraph:
    """``length`` items; every ``window`` of them one reason with two imagined items."""
    nodes = [Node("attribute:age=25-34", NodeKind.ATTRIBUTE, "age=25-34", -1)]
    edges: list[Edge] = []
    previous = None
    for position in range(length):
        item = Node(f"item:{position}", NodeKind.ITEM, title.format(position), position, f"i{position}")
        nodes.append(item)
        if position:
            edges.append(Edge(f"item:{position - 1}", item.key, Relation.FOLLOWS))
        if position % window != window - 1:
            continue
        turn = position // window
        origin = Provenance(f"b2:{turn:032x}", 0, entry if turn % 4 == 2 else None)
        score = 0.2 if turn % 4 == 1 else 0.85
        reason = Node(f"reason:{turn}", NodeKind.REASON, WORDS[turn % 4], position, None, score, None, origin)
        nodes.append(reason)
        edges += [Edge(f"item:{p}", reason.key, Relation.SUPPORTS) for p in (position - window + 1, position)]
        if turn == 0:
            edges.append(Edge(nodes[0].key, reason.key, Relation.SUPPORTS))
        if previous is not None:
            edges.append(Edge(previous, reason.key, [Relation.REFINES, Relation.CAUSES][turn % 2]))
        previous = reason.key
        for place in range(2):
            known = place == 0
            imagined = Node(
                f"imagined:{2 * turn + place}",
                NodeKind.IMAGINED_ITEM,
                f"An imagined film, number {2 * turn + place}",
                position,
                f"i{1000 + turn}" if known else None,
                0.7 - 0.5 * place * (turn % 2),
                0.91 if known else None,
                origin,
            )
            nodes.append(imagined)
            edges.append(Edge(reason.key, imagined.key, Relation.SUGGESTS))
    return ReasoningGraph("42", tuple(nodes), tuple(edges), as_of=length, recipe="b2:recipe", tau=tau)


@pytest.fixture
def make_graph() -> MakeGraph:
    return synthetic_graph
