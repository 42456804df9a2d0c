"""Graphs taken apart into growing columns, one user after the other.

Promise: a graph is forgotten once it is taken, and the columns hold plain numbers, so a million graphs need
no more memory than their arrays.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import GraphError
from llmrg.graph.schema import NodeKind, ReasoningGraph, Relation

_KIND = {kind: index for index, kind in enumerate(NodeKind)}
_RELATION = {relation: index for index, relation in enumerate(Relation)}


@dataclass
class GraphColumns:
    """Growing columns; an :class:`array.array` holds numbers without one object each."""

    user_ids: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    as_of: array[int] = field(default_factory=lambda: array("i"))
    node_offset: array[int] = field(default_factory=lambda: array("q", [0]))
    edge_offset: array[int] = field(default_factory=lambda: array("q", [0]))
    kind: array[int] = field(default_factory=lambda: array("b"))
    position: array[int] = field(default_factory=lambda: array("i"))
    item: array[int] = field(default_factory=lambda: array("i"))
    text: array[int] = field(default_factory=lambda: array("i"))
    score: array[float] = field(default_factory=lambda: array("f"))
    source: array[int] = field(default_factory=lambda: array("i"))
    target: array[int] = field(default_factory=lambda: array("i"))
    relation: array[int] = field(default_factory=lambda: array("b"))
    items: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    def add(self, graph: ReasoningGraph, tau: float) -> None:
        """Append the nodes of one graph that reach ``tau``, and the edges between them.

        Raises:
            GraphError: out of order, or the graph breaks a rule the arrays rely on.
        """
        if self.user_ids and graph.user_id <= self.user_ids[-1]:
            raise GraphError(
                f"expected graphs in ascending order of user ids, found {graph.user_id!r} after "
                f"{self.user_ids[-1]!r}; iterate a graph store, or sort them"
            )
        nodes = [node for node in graph.nodes if node.score >= tau]
        local = {node.key: index for index, node in enumerate(nodes)}
        if len(local) < len(nodes) or any(a.position > b.position for a, b in pairwise(nodes)):
            raise GraphError(
                f"user {graph.user_id!r}: expected unique node keys in the order of their positions; "
                "check the graph with llmrg.graph.checks.check_graph"
            )
        self.user_ids.append(graph.user_id)
        self.history.append(graph.history)
        self.as_of.append(graph.as_of)
        for node in nodes:
            self.kind.append(_KIND[node.kind])
            self.position.append(node.position)
            self.item.append(
                -1 if node.item_id is None else self.items.setdefault(node.item_id, len(self.items))
            )
            self.text.append(self.texts.setdefault(node.label, len(self.texts)) if node.label else -1)
            self.score.append(node.score)
        edges = sorted(
            (local[edge.target], local[edge.source], _RELATION[edge.relation])
            for edge in graph.edges
            if edge.target in local and edge.source in local
        )
        for target, source, relation in edges:
            self.target.append(target)
            self.source.append(source)
            self.relation.append(relation)
        self.node_offset.append(len(self.kind))
        self.edge_offset.append(len(self.source))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays but the text vectors, by the names of :class:`~llmrg.graph.arrays.GraphArrays`."""
        item_ids = np.array(list(self.items), dtype=np.str_)
        order = np.argsort(item_ids, kind="stable")
        rank = np.empty(len(order) + 1, dtype=np.int32)
        rank[order] = np.arange(len(order))
        rank[-1] = -1  # where an item of -1 looks
        return {
            "user_ids": np.array(self.user_ids, dtype=np.str_),
            "history": np.array(self.history, dtype=np.str_),
            "as_of": np.array(self.as_of, dtype=np.int32),
            "node_offset": np.array(self.node_offset, dtype=np.int64),
            "edge_offset": np.array(self.edge_offset, dtype=np.int64),
            "node_kind": np.array(self.kind, dtype=np.int8),
            "node_position": np.array(self.position, dtype=np.int32),
            "node_item": rank[np.array(self.item, dtype=np.int32)],
            "node_text": np.array(self.text, dtype=np.int32),
            "node_score": np.array(self.score, dtype=np.float16),
            "edge_source": np.array(self.source, dtype=np.int32),
            "edge_target": np.array(self.target, dtype=np.int32),
            "edge_relation": np.array(self.relation, dtype=np.int8),
            "item_ids": item_ids[order],
        }
