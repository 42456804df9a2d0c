"""A reasoning graph while it is being thought up.

Promise (law 1): the draft gives every node its position from the evidence behind it, keys count up in the
order of thinking, and :meth:`Draft.finish` never reorders nodes of one position, so what a longer history
adds stands after what a shorter one made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation


@dataclass(slots=True)
class Thought:
    """A reason in the draft.

    Args:
        words: its label.
        position: of the newest item behind it.
        items: positions of the items it stands on, ascending.
        follows: those of them it explains, each with the items it was said to follow from; none: it starts something.
        attributes: user attributes it stands on, ``name=value``.
        earlier: thoughts it continues.
        relation: how, where ``earlier`` is not empty.
        provenance: see :class:`~llmrg.graph.schema.Provenance`.
        score: verification score; facts about nothing but a start keep 1.
        suggests: it was made by a divergent extension.
        key: node key, set by the draft.
    """

    words: str
    position: int
    items: tuple[int, ...]
    follows: dict[int, tuple[int, ...]]
    provenance: Provenance
    attributes: tuple[str, ...] = ()
    earlier: tuple[Thought, ...] = ()
    relation: Relation | None = None
    score: float = 1.0
    suggests: bool = False
    key: str = ""

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions of the items it explains."""
        return tuple(self.follows)

    @property
    def sources(self) -> tuple[int, ...]:
        """Positions of the items it stands on and does not explain."""
        return tuple(i for i in self.items if i not in self.follows)

    @property
    def links(self) -> bool:
        """Whether it says that something followed from something, which can be verified."""
        return bool(self.sources or any(self.follows.values()))


@dataclass(slots=True)
class Imagined:
    """An imagined item in the draft.

    Args:
        words: its label.
        item_id: the catalogue item it is grounded to, if any.
        similarity: of that grounding.
        parent: the reason that suggests it.
        position: of the newest item shown.
        provenance: see :class:`~llmrg.graph.schema.Provenance`.
        plausibility: in [0, 1], in the words of the reply that imagined it.
        score: the geometric mean of the share of distractors beaten and the plausibility.
    """

    words: str
    item_id: str | None
    similarity: float | None
    parent: Thought
    position: int
    provenance: Provenance
    plausibility: float = 1.0
    score: float = 1.0


class Draft:
    """Nodes and edges of one user, in the order of thinking."""

    def __init__(self, history: UserHistory, labels: Sequence[str], attributes: Sequence[str] = ()) -> None:
        self.history = history
        self._labels = labels
        self._nodes = [Node(f"attribute:{name}", NodeKind.ATTRIBUTE, name, -1) for name in attributes]
        self._edges: list[tuple[int, Edge]] = []
        self.thoughts: list[Thought] = []
        self._imagined = 0

    def add_items(self, start: int, end: int) -> None:
        """The items at these positions, each following the one before."""
        for p in range(start, end):
            self._nodes.append(Node(f"item:{p}", NodeKind.ITEM, self._labels[p], p, self.history.item_ids[p]))
            if p:
                self._edges.append((p, Edge(f"item:{p - 1}", f"item:{p}", Relation.FOLLOWS)))

    def add_thought(self, thought: Thought) -> None:
        """A reason with the edges that enter it."""
        thought.key = f"reason:{len(self.thoughts)}"
        self.thoughts.append(thought)
        at = thought.position
        self._nodes.append(
            Node(
                thought.key,
                NodeKind.REASON,
                thought.words,
                at,
                score=thought.score,
                provenance=thought.provenance,
            )
        )
        for p in thought.items:
            self._edges.append((at, Edge(f"item:{p}", thought.key, Relation.SUPPORTS)))
        for name in thought.attributes:
            self._edges.append((at, Edge(f"attribute:{name}", thought.key, Relation.SUPPORTS)))
        if thought.relation is not None:
            for earlier in thought.earlier:
                self._edges.append((at, Edge(earlier.key, thought.key, thought.relation)))

    def add_imagined(self, imagined: Imagined) -> None:
        """An imagined item under the reason that suggests it."""
        key = f"imagined:{self._imagined}"
        self._imagined += 1
        at = imagined.position
        self._nodes.append(
            Node(
                key,
                NodeKind.IMAGINED_ITEM,
                imagined.words,
                at,
                imagined.item_id,
                imagined.score,
                imagined.similarity,
                imagined.provenance,
            )
        )
        self._edges.append((at, Edge(imagined.parent.key, key, Relation.SUGGESTS)))

    def finish(self, *, recipe: str, tau: float) -> ReasoningGraph:
        """The graph, nodes sorted by position and edges by their targets' (both stable)."""
        return ReasoningGraph(
            user_id=self.history.user_id,
            nodes=tuple(sorted(self._nodes, key=lambda node: node.position)),
            edges=tuple(edge for _, edge in sorted(self._edges, key=lambda pair: pair[0])),
            as_of=len(self.history),
            history=self.history.fingerprint,
            recipe=recipe,
            tau=tau,
        )


def user_attributes(history: UserHistory, kept: Iterable[str]) -> tuple[str, ...]:
    """The user's attributes as ``name=value``, by name, of the names kept."""
    wanted = set(kept)
    return tuple(
        f"{name}={value}"
        for name in sorted(history.attributes)
        if name in wanted
        for value in history.attributes[name]
        if value
    )
