"""The graph's own rules, checked.

Promise: :func:`check_graph` names every broken rule in words and never raises, whatever the graph; a graph
without problems keeps law 1 (nothing knows the future).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise
from typing import TypeVar

from llmrg.data.interactions import UserHistory
from llmrg.errors import GraphError
from llmrg.graph.schema import RELATION_KINDS, Edge, Node, NodeKind, ReasoningGraph, Relation

_T = TypeVar("_T", bound=Hashable)


def check_graph(graph: ReasoningGraph, history: UserHistory | None = None) -> list[str]:
    """Problems of one graph; an empty list for a sound one.

    Args:
        graph: the graph.
        history: the history it claims to be made from; without it, that claim is not checked.

    >>> item = Node("item:0", NodeKind.ITEM, "A", 0, "a")
    >>> check_graph(ReasoningGraph("u", (item,), (), as_of=1))
    []
    >>> check_graph(ReasoningGraph("u", (item,), (), as_of=0))
    ['node item:0: position 0 is not before as_of 0']
    """
    problems = [
        f"node key {key} occurs {count} times" for key, count in _repeated(n.key for n in graph.nodes)
    ]
    for before, node in pairwise(graph.nodes):
        if node.position < before.position:
            problems.append(f"node {node.key}: position {node.position} stands after {before.position}")
    for node in graph.nodes:
        problems += [f"node {node.key}: {problem}" for problem in _node_problems(node, graph.as_of)]
    nodes = {node.key: node for node in graph.nodes}
    for edge, count in _repeated(graph.edges):
        problems.append(f"edge {_words(edge)} occurs {count} times")
    for edge in graph.edges:
        problems += [f"edge {_words(edge)}: {problem}" for problem in _edge_problems(edge, nodes)]
    cycle = _on_cycles(graph, nodes)
    if cycle:
        problems.append(f"edges run in a circle through {', '.join(cycle)}")
    if history is not None:
        problems += _history_problems(graph, history)
    return problems


def refuse_unsound(graph: ReasoningGraph, history: UserHistory) -> None:
    """Let nobody have a graph with problems.

    Raises:
        GraphError: the first problems in words, all of them as ``problems``.
    """
    problems = check_graph(graph, history)
    if problems:
        raise GraphError(
            f"the graph of user {graph.user_id!r} breaks its rules: {'; '.join(problems[:3])}",
            problems=tuple(problems),
        )


def _node_problems(node: Node, as_of: int) -> Iterator[str]:
    if node.position >= as_of:
        yield f"position {node.position} is not before as_of {as_of}"
    if node.kind is NodeKind.ATTRIBUTE:
        if node.position != -1:
            yield f"an attribute stands at -1, found {node.position}"
    elif node.position < 0:
        yield f"position {node.position} is before the first item"
    if node.kind is NodeKind.ITEM:
        if node.key != f"item:{node.position}":
            yield f"the item at position {node.position} has the key item:{node.position}"
        if node.item_id is None:
            yield "an item has an item_id"
    if not 0 <= node.score <= 1:
        yield f"score {node.score} does not lie in [0, 1]"
    if node.kind in (NodeKind.REASON, NodeKind.IMAGINED_ITEM) and node.provenance is None:
        yield f"a {node.kind.value} has a provenance"


def _edge_problems(edge: Edge, nodes: dict[str, Node]) -> Iterator[str]:
    source, target = nodes.get(edge.source), nodes.get(edge.target)
    if source is None or target is None:
        missing = [key for key in (edge.source, edge.target) if key not in nodes]
        yield f"there is no node {' and no node '.join(missing)}"
        return
    if source.position > target.position:
        yield f"from position {source.position} back to {target.position}"
    sources, targets = RELATION_KINDS[edge.relation]
    if source.kind not in sources or target.kind not in targets:
        yield f"{edge.relation.value} does not join {source.kind.value} and {target.kind.value}"
    if edge.relation is Relation.FOLLOWS and source.position != target.position - 1:
        yield "an item follows only the item directly before it"


def _on_cycles(graph: ReasoningGraph, nodes: dict[str, Node]) -> list[str]:
    """Keys of nodes on a cycle or behind one: what is left after taking away free nodes again and again."""
    incoming = dict.fromkeys(nodes, 0)
    outgoing: dict[str, list[str]] = {key: [] for key in nodes}
    for edge in graph.edges:
        if edge.source in nodes and edge.target in nodes:
            incoming[edge.target] += 1
            outgoing[edge.source].append(edge.target)
    free = [key for key, count in incoming.items() if count == 0]
    while free:
        for target in outgoing[free.pop()]:
            incoming[target] -= 1
            if incoming[target] == 0:
                free.append(target)
    return [key for key, count in incoming.items() if count > 0]


def _history_problems(graph: ReasoningGraph, history: UserHistory) -> Iterator[str]:
    if graph.user_id != history.user_id:
        yield f"the graph is of user {graph.user_id}, the history of user {history.user_id}"
    if graph.history != history.fingerprint:
        yield f"made from another history (fingerprint {graph.history}, expected {history.fingerprint})"
    if graph.as_of > len(history):
        yield f"as_of {graph.as_of} is beyond the {len(history)} items of the history"
    items = [node for node in graph.nodes if node.kind is NodeKind.ITEM]
    for node in items:
        if 0 <= node.position < len(history) and history.item_ids[node.position] != node.item_id:
            expected = history.item_ids[node.position]
            yield f"node {node.key}: item {node.item_id}, but the history has {expected} there"
    # a recipe may look at the newest items only, but leaves no gap
    first = max(0, graph.as_of - len(items))
    if [node.position for node in items] != list(range(first, graph.as_of)):
        yield f"item nodes do not run without a gap up to position {graph.as_of - 1}"


def _repeated(values: Iterable[_T]) -> list[tuple[_T, int]]:
    return [(value, count) for value, count in Counter(values).items() if count > 1]


def _words(edge: Edge) -> str:
    return f"{edge.source} -{edge.relation.value}-> {edge.target}"
