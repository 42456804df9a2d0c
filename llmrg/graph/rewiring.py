"""The control ``rewired``: the same nodes, each with as many edges as before, but to other partners.

Promise: within a user and a relation, edges exchange their targets at random; every node keeps its position, its
content and its number of incoming and outgoing edges of every relation, no edge is doubled, and an edge still enters
only a node that stands after its source (law 1). The edges between consecutive items allow no exchange and stay: they
are facts.

Source: degree-preserving exchange of edges, Maslov & Sneppen (Science 2002).

N nodes, E edges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from llmrg.graph.arrays import GraphArrays
from llmrg.graph.schema import Relation

ROUNDS = 32
"""Times that every edge is offered another edge of its user to exchange targets with."""
REACHES = (8, 16, 32, 64, 128)
"""How many nodes apart the targets of two edges that are offered to each other may be, in turn: time forbids most
exchanges between edges far apart."""

_BETWEEN_KINDS = [list(Relation).index(relation) for relation in (Relation.SUPPORTS, Relation.SUGGESTS)]

Integers = NDArray[np.int64]


def rewired(arrays: GraphArrays, seed: int) -> GraphArrays:
    """Edges exchanged at random inside every graph.

    Args:
        arrays: the graphs.
        seed: of the exchanges.
    """
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(arrays)), np.diff(arrays.edge_offset))  # [E]
    shift = np.asarray(arrays.node_offset)[owner]
    source, target = arrays.edge_source + shift, arrays.edge_target + shift
    relation = np.asarray(arrays.edge_relation).astype(np.int64)
    group = owner * len(Relation) + relation
    for number in range(ROUNDS):
        reach = REACHES[number % len(REACHES)]
        _exchange(source, target, relation, group, arrays.node_position, reach, rng)
    order = np.lexsort((relation, source, target))  # nodes of one user are contiguous, so users stay in order
    return replace(
        arrays,
        edge_source=(source - shift)[order].astype(np.int32),
        edge_target=(target - shift)[order].astype(np.int32),
        edge_relation=np.asarray(arrays.edge_relation)[order],
    )


def _exchange(
    source: Integers,
    target: Integers,
    relation: Integers,
    group: Integers,
    position: NDArray[np.int32],
    reach: int,
    rng: np.random.Generator,
) -> None:
    """One round, in place: edges are paired at random with one near by, and the pairs that may exchange targets do."""
    order = np.lexsort((target + reach * rng.random(len(group)), group))
    first = order[:-1]
    second = order[1:]
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    paired = (group[first] == group[second]) & (rank[:-1] % 2 == 0)
    first, second = first[paired], second[paired]
    may = _in_time(source[first], target[second], relation[first], position)
    may &= _in_time(source[second], target[first], relation[first], position)
    may &= (target[first] != target[second]) & (source[first] != source[second])
    first, second = first[may], second[may]

    def key(of: Integers, to: Integers) -> Integers:
        return (source[of] * len(position) + target[to]) * len(Relation) + relation[of]

    there = np.sort(key(np.arange(len(source)), np.arange(len(source))))
    made = np.stack([key(first, second), key(second, first)])  # [2, pairs]
    _, at, times = np.unique(made, return_inverse=True, return_counts=True)
    single = (times[at.reshape(made.shape)] == 1).all(0)
    place = np.minimum(np.searchsorted(there, made), max(0, len(there) - 1))
    new = (there[place] != made).all(0) if len(there) else single
    first, second = first[single & new], second[single & new]
    target[first], target[second] = target[second], target[first].copy()


def _in_time(
    source: Integers, target: Integers, relation: Integers, position: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which edges would be allowed: by position, and between reasons by order too, or they could run in a circle."""
    between_kinds = np.isin(relation, _BETWEEN_KINDS)
    return np.where(between_kinds, position[source] <= position[target], source < target)
