"""The reasoning graph of one user: typed nodes and edges, each as old as its evidence.

Promise (law 1, nothing knows the future): every node carries ``position``, the index in the user's history of
the newest interaction that anything behind it had seen, and an edge enters only a node at least as new as its
source. A row that predicts the item at index k may therefore use exactly the nodes with ``position < k``
(:meth:`ReasoningGraph.before`). Item nodes are facts: nothing enters them but ``FOLLOWS`` from the item before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from llmrg.errors import GraphError
from llmrg.fingerprint import fingerprint

SCHEMA_VERSION = 1


class NodeKind(StrEnum):
    """The closed set of node kinds."""

    ITEM = "item"
    ATTRIBUTE = "attribute"
    REASON = "reason"
    IMAGINED_ITEM = "imagined_item"


class Relation(StrEnum):
    """The closed set of relations, with the kinds each may join (see :data:`RELATION_KINDS`)."""

    FOLLOWS = "follows"
    SUPPORTS = "supports"
    REFINES = "refines"
    CAUSES = "causes"
    CONTRASTS = "contrasts"
    SUGGESTS = "suggests"


_FACT = frozenset({NodeKind.ITEM, NodeKind.ATTRIBUTE})
_REASON = frozenset({NodeKind.REASON})

RELATION_KINDS: dict[Relation, tuple[frozenset[NodeKind], frozenset[NodeKind]]] = {
    Relation.FOLLOWS: (frozenset({NodeKind.ITEM}), frozenset({NodeKind.ITEM})),
    Relation.SUPPORTS: (_FACT, _REASON),
    Relation.REFINES: (_REASON, _REASON),
    Relation.CAUSES: (_REASON, _REASON),
    Relation.CONTRASTS: (_REASON, _REASON),
    Relation.SUGGESTS: (_REASON, frozenset({NodeKind.IMAGINED_ITEM})),
}
"""Relation → (kinds of its source, kinds of its target)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a node made by a reply came from.

    Args:
        request: content hash of the request whose reply made the node.
        wave: the wave the user ran in.
        knowledge_entry: key of the knowledge-base entry, where the node was reused instead of asked for.
    """

    request: str
    wave: int = 0
    knowledge_entry: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Args:
        key: unique in its graph; ``item:3`` is the item at position 3, ``attribute:gender=F``, ``reason:7``,
            ``imagined:2``.
        kind: see :class:`NodeKind`.
        label: its words: a title, ``name=value``, or a reason.
        position: see the module; −1 for user attributes.
        item_id: external item id (items, and imagined items grounded to the catalogue).
        score: verification score in [0, 1]; 1 for facts; a node under the recipe's tau is *rejected*: kept,
            shown, never encoded.
        similarity: cosine similarity of grounding, where an imagined item was grounded by its words.
        provenance: for nodes made by a reply.
    """

    key: str
    kind: NodeKind
    label: str
    position: int
    item_id: str | None = None
    score: float = 1.0
    similarity: float | None = None
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """One directed edge between node keys."""

    source: str
    target: str
    relation: Relation


@dataclass(frozen=True)
class ReasoningGraph:
    """The reasoning graph of one user.

    Args:
        user_id: external id.
        nodes: sorted by position (stable), unique keys.
        edges: in the order of their targets' positions.
        as_of: number of interactions the graph knows; every position is below it.
        history: fingerprint of the :class:`~llmrg.data.interactions.UserHistory` it was made from.
        recipe: fingerprint of the settings, prompts and reasoner that made it.
        tau: threshold under which a node counts as rejected.

    Two views are derived: :attr:`reasoning_view` (items, attributes, reasons) and :attr:`divergent_view`
    (imagined items and the reasons that suggest them).
    """

    user_id: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    as_of: int
    history: str = ""
    recipe: str = ""
    tau: float = 0.0
    schema_version: int = SCHEMA_VERSION

    @cached_property
    def by_key(self) -> dict[str, Node]:
        """Nodes by key."""
        return {node.key: node for node in self.nodes}

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The history the graph was made from, oldest first."""
        return tuple(n.item_id or "" for n in self.nodes if n.kind is NodeKind.ITEM)

    def before(self, position: int) -> ReasoningGraph:
        """What a row that predicts the item at ``position`` may see: nodes with a smaller position.

        >>> nodes = (Node("item:0", NodeKind.ITEM, "A", 0, "a"), Node("item:1", NodeKind.ITEM, "B", 1, "b"))
        >>> edge = Edge("item:0", "item:1", Relation.FOLLOWS)
        >>> ReasoningGraph("u", nodes, (edge,), as_of=2).before(1).item_ids
        ('a',)
        """
        return self._restricted(lambda node: node.position < position, as_of=min(position, self.as_of))

    @property
    def accepted(self) -> ReasoningGraph:
        """Without rejected nodes: what is encoded."""
        return self._restricted(lambda node: node.score >= self.tau, as_of=self.as_of)

    @property
    def rejected(self) -> tuple[Node, ...]:
        """Nodes under tau, kept with their score and words."""
        return tuple(node for node in self.nodes if node.score < self.tau)

    @property
    def reasoning_view(self) -> ReasoningGraph:
        """Items, attributes and reasons."""
        return self._restricted(lambda node: node.kind is not NodeKind.IMAGINED_ITEM, as_of=self.as_of)

    @property
    def divergent_view(self) -> ReasoningGraph:
        """Imagined items and the reasons that suggest them."""
        suggesting = {edge.source for edge in self.edges if edge.relation is Relation.SUGGESTS}
        return self._restricted(
            lambda node: node.kind is NodeKind.IMAGINED_ITEM or node.key in suggesting, as_of=self.as_of
        )

    def incoming(self, key: str) -> Iterator[tuple[Node, Relation]]:
        """Sources and relations of the edges that enter ``key``."""
        for edge in self.edges:
            if edge.target == key:
                yield self.by_key[edge.source], edge.relation

    def chains(self) -> list[tuple[Node, ...]]:
        """Reasons joined by reason-to-reason edges, each chain oldest first; a lone reason is a chain of one."""
        group: dict[str, str] = {n.key: n.key for n in self.nodes if n.kind is NodeKind.REASON}

        def root(key: str) -> str:
            while group[key] != key:
                group[key] = group[group[key]]
                key = group[key]
            return key

        for edge in self.edges:
            if edge.source in group and edge.target in group:
                group[root(edge.target)] = root(edge.source)
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            if node.key in group:
                found.setdefault(root(node.key), []).append(node)
        return [tuple(chain) for chain in found.values()]

    def to_networkx(self) -> Any:
        """The graph as ``networkx.MultiDiGraph``; node and edge fields become attributes."""
        import networkx as nx

        graph = nx.MultiDiGraph(user_id=self.user_id, as_of=self.as_of, recipe=self.recipe, tau=self.tau)
        for node in self.nodes:
            graph.add_node(
                node.key,
                kind=node.kind.value,
                label=node.label,
                position=node.position,
                item_id=node.item_id,
                score=node.score,
                similarity=node.similarity,
            )
        for edge in self.edges:
            graph.add_edge(edge.source, edge.target, key=edge.relation.value, relation=edge.relation.value)
        return graph

    def to_document(self) -> dict[str, Any]:
        """The graph as JSON-like values, compact and in stable order."""
        return {
            "schema_version": self.schema_version,
            "user_id": self.user_id,
            "as_of": self.as_of,
            "history": self.history,
            "recipe": self.recipe,
            "tau": self.tau,
            "nodes": [_node_document(node) for node in self.nodes],
            "edges": [[edge.source, edge.target, edge.relation.value] for edge in self.edges],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> ReasoningGraph:
        """The inverse of :meth:`to_document`.

        Raises:
            GraphError: a newer schema, a missing field or a value of the wrong kind.
        """
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise GraphError(f"graph document: expected schema_version {SCHEMA_VERSION}, found {version!r}")
        try:
            return cls(
                user_id=str(document["user_id"]),
                nodes=tuple(_node_from(entry) for entry in document["nodes"]),
                edges=tuple(Edge(str(s), str(t), Relation(r)) for s, t, r in document["edges"]),
                as_of=int(document["as_of"]),
                history=str(document["history"]),
                recipe=str(document["recipe"]),
                tau=float(document["tau"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise GraphError(f"graph document of user {document.get('user_id')!r}: {error!r}") from error

    @property
    def content_hash(self) -> str:
        """Tagged hash of the whole document."""
        return fingerprint(self.to_document())

    def __repr__(self) -> str:
        counts = {kind: sum(1 for n in self.nodes if n.kind is kind) for kind in NodeKind}
        words = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
        return f"ReasoningGraph({self.user_id!r}, {words or 'empty'}, {len(self.edges)} edges, as_of={self.as_of})"

    def _restricted(self, keep: Any, *, as_of: int) -> ReasoningGraph:
        nodes = tuple(node for node in self.nodes if keep(node))
        keys = {node.key for node in nodes}
        edges = tuple(edge for edge in self.edges if edge.source in keys and edge.target in keys)
        return replace(self, nodes=nodes, edges=edges, as_of=as_of)


def _node_document(node: Node) -> list[Any]:
    origin = node.provenance
    return [
        node.key,
        node.kind.value,
        node.label,
        node.position,
        node.item_id,
        round(node.score, 6),
        None if node.similarity is None else round(node.similarity, 6),
        None if origin is None else [origin.request, origin.wave, origin.knowledge_entry],
    ]


def _node_from(entry: list[Any]) -> Node:
    key, kind, label, position, item_id, score, similarity, origin = entry
    return Node(
        key=str(key),
        kind=NodeKind(kind),
        label=str(label),
        position=int(position),
        item_id=None if item_id is None else str(item_id),
        score=float(score),
        similarity=None if similarity is None else float(similarity),
        provenance=None if origin is None else Provenance(*origin),
    )
