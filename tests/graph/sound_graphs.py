"""Sound random graphs, as a hypothesis strategy and as a few examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation

TAU = 0.3
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """A vector of 16 numbers that depends on the text only."""
    rows = [random.Random(text).choices(range(-50, 50), k=16) for text in texts]
    return np.array(rows, dtype=np.float32).reshape(len(rows), 16) / 50


def random_history(rng: random.Random, user_id: str, length: int) -> UserHistory:
    items = tuple(f"i{rng.randrange(30)}" for _ in range(length))
    return UserHistory(user_id, items, train_length=max(0, length - 1), attributes={"gender": ("F",)})


def random_graph(rng: random.Random, history: UserHistory) -> ReasoningGraph:
    """A graph that keeps every rule: items, an attribute, reasons and what they suggest, some rejected."""
    origin = Provenance(request="b2:request")
    nodes = [Node("attribute:gender=F", NodeKind.ATTRIBUTE, "gender=F", -1)] if rng.random() < 0.5 else []
    edges: list[Edge] = []
    reasons: list[Node] = []
    for position, item_id in enumerate(history.item_ids):
        item = Node(f"item:{position}", NodeKind.ITEM, f"Title {item_id}", position, item_id)
        nodes.append(item)
        if position:
            edges.append(Edge(f"item:{position - 1}", item.key, Relation.FOLLOWS))
        for _ in range(rng.randrange(3)):
            words = rng.choice(["", f"because {rng.randrange(9)}"])
            reason = Node(
                f"reason:{len(reasons)}",
                NodeKind.REASON,
                words,
                position,
                score=rng.random(),
                provenance=origin,
            )
            edges.append(Edge(item.key, reason.key, Relation.SUPPORTS))
            if reasons and rng.random() < 0.7:
                relation = rng.choice([Relation.REFINES, Relation.CAUSES, Relation.CONTRASTS])
                edges.append(Edge(rng.choice(reasons).key, reason.key, relation))
            nodes.append(reason)
            reasons.append(reason)
            if rng.random() < 0.5:
                found = rng.choice([None, f"i{rng.randrange(40)}"])
                imagined = Node(
                    f"imagined:{len(nodes)}",
                    NodeKind.IMAGINED_ITEM,
                    f"Title {found}",
                    position,
                    found,
                    score=rng.random(),
                    provenance=origin,
                )
                nodes.append(imagined)
                edges.append(Edge(reason.key, imagined.key, Relation.SUGGESTS))
    return ReasoningGraph(
        history.user_id,
        tuple(nodes),
        tuple(edges),
        as_of=len(history),
        history=history.fingerprint,
        recipe="b2:recipe",
        tau=TAU,
    )


def make_graphs(seed: int, users: int, *, longest: int = 7) -> list[ReasoningGraph]:
    """Graphs of some users, in the order of their ids."""
    rng = random.Random(seed)
    ids = sorted(f"u{k}" for k in range(users))
    return [random_graph(rng, random_history(rng, user_id, rng.randint(0, longest))) for user_id in ids]


graph_lists = st.builds(make_graphs, st.integers(0, 10_000), st.integers(0, 6))
"""Up to six sound graphs, in order."""
