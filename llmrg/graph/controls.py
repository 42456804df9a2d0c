"""Control arms: graphs with one thing taken away, to find out what an improvement comes from.

Promise: pure functions; users, their order and their histories stay, so that everything else in a comparison
is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import GraphError, SettingsError
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.rewiring import rewired
from llmrg.graph.schema import NodeKind, Relation


def shuffled(arrays: GraphArrays, seed: int) -> GraphArrays:
    """Every user gets the graph of another user, and every graph is given once.

    Args:
        arrays: the graphs.
        seed: of the assignment.

    Raises:
        GraphError: fewer than two users.
    """
    if len(arrays) < 2:
        raise GraphError(f"shuffling needs the graphs of two users at least, found {len(arrays)}")
    # One cycle through all users in random order: no user is its own successor.
    cycle = np.random.default_rng(seed).permutation(len(arrays))
    giver = np.empty(len(arrays), dtype=np.int64)
    giver[cycle] = np.roll(cycle, -1)
    batch = arrays.select(giver)
    edges_before = np.diff(arrays.edge_offset)[giver]
    owner = np.repeat(np.arange(len(arrays)), edges_before)
    local = batch.edge_index - batch.node_start[owner]
    return replace(
        arrays,
        node_offset=batch.node_start,
        edge_offset=_offsets(edges_before),
        node_kind=arrays.node_kind[batch.node_index],
        node_position=arrays.node_position[batch.node_index],
        node_item=arrays.node_item[batch.node_index],
        node_text=arrays.node_text[batch.node_index],
        node_score=arrays.node_score[batch.node_index],
        edge_source=local[0].astype(np.int32),
        edge_target=local[1].astype(np.int32),
        edge_relation=batch.edge_relation,
    )


def sequence_only(arrays: GraphArrays) -> GraphArrays:
    """Items and the edges that follow the sequence: nothing a reasoner said."""
    follows = np.asarray(arrays.edge_relation == list(Relation).index(Relation.FOLLOWS))
    return keep_nodes(arrays, _is_kind(arrays, NodeKind.ITEM), follows)


def text_only(arrays: GraphArrays) -> GraphArrays:
    """Items without any edge: only their titles' vectors are left."""
    no_edge = np.zeros(len(arrays.edge_relation), dtype=np.bool_)
    return keep_nodes(arrays, _is_kind(arrays, NodeKind.ITEM), no_edge)


def empty(arrays: GraphArrays) -> GraphArrays:
    """No nodes at all: an enhanced model must then equal its base."""
    return keep_nodes(arrays, np.zeros(len(arrays.node_kind), dtype=np.bool_))


def without_kind(arrays: GraphArrays, kind: NodeKind) -> GraphArrays:
    """Everything but the nodes of one kind and their edges."""
    return keep_nodes(arrays, ~_is_kind(arrays, kind))


def unverified(arrays: GraphArrays) -> GraphArrays:
    """No verdict is read: every score is 1, as where nothing was ever verified.

    Nodes that verification rejected are not in arrays that were laid out with a threshold; what reads this control
    is laid out without one (:func:`unverified_folder`).
    """
    return replace(arrays, node_score=np.ones_like(arrays.node_score))


def apply_control(arrays: GraphArrays, control: str, *, seed: int = 0) -> GraphArrays:
    """The control of this name, as in the setting ``llmrg.control``.

    Args:
        arrays: the graphs.
        control: ``none``, ``empty``, ``shuffled``, ``rewired``, ``sequence``, ``text``, ``unverified`` or
            ``no-divergent``.
        seed: of ``shuffled`` and ``rewired``.

    Raises:
        SettingsError: there is no such control.
    """
    controls: dict[str, Callable[[GraphArrays], GraphArrays]] = {
        "none": lambda graphs: graphs,
        "empty": empty,
        "shuffled": lambda graphs: shuffled(graphs, seed),
        "rewired": lambda graphs: rewired(graphs, seed),
        "sequence": sequence_only,
        "text": text_only,
        "unverified": unverified,
        "no-divergent": lambda graphs: without_kind(graphs, NodeKind.IMAGINED_ITEM),
    }
    if control not in controls:
        raise SettingsError.unknown(control, controls, where="llmrg.control")
    return controls[control](arrays)


def neighbours_folder(arrays: Path) -> Path:
    """Where the control that needs graphs of its own (plain neighbours, no reasoning) lies: next to the arrays.

    >>> neighbours_folder(Path("llmrg-data/ml-100k/arrays")).name
    'arrays-neighbours'
    """
    return arrays.with_name(f"{arrays.name}-neighbours")


def unverified_folder(arrays: Path) -> Path:
    """Where the same graphs lie with what verification rejected: next to the arrays."""
    return arrays.with_name(f"{arrays.name}-unverified")


def keep_nodes(
    arrays: GraphArrays, keep_node: NDArray[np.bool_], keep_edge: NDArray[np.bool_] | None = None
) -> GraphArrays:
    """The graphs without some nodes, and without the edges at them.

    Args:
        arrays: the graphs.
        keep_node: which nodes stay. [N]
        keep_edge: which edges may stay, if their two ends do; all by default. [E]
    """
    users = np.arange(len(arrays))
    node_owner = np.repeat(users, np.diff(arrays.node_offset))
    edge_owner = np.repeat(users, np.diff(arrays.edge_offset))
    source = arrays.edge_source + arrays.node_offset[edge_owner]
    target = arrays.edge_target + arrays.node_offset[edge_owner]
    ends = keep_node[source] & keep_node[target]
    keep_edge = ends if keep_edge is None else ends & keep_edge
    node_offset = _offsets(np.bincount(node_owner[keep_node], minlength=len(arrays)))
    new_index = np.cumsum(keep_node) - 1 - node_offset[node_owner]  # [N], local to the user
    return replace(
        arrays,
        node_offset=node_offset,
        edge_offset=_offsets(np.bincount(edge_owner[keep_edge], minlength=len(arrays))),
        node_kind=arrays.node_kind[keep_node],
        node_position=arrays.node_position[keep_node],
        node_item=arrays.node_item[keep_node],
        node_text=arrays.node_text[keep_node],
        node_score=arrays.node_score[keep_node],
        edge_source=new_index[source[keep_edge]].astype(np.int32),
        edge_target=new_index[target[keep_edge]].astype(np.int32),
        edge_relation=arrays.edge_relation[keep_edge],
    )


def _is_kind(arrays: GraphArrays, kind: NodeKind) -> NDArray[np.bool_]:
    return np.asarray(arrays.node_kind == list(NodeKind).index(kind))


def _offsets(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    offset = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offset[1:])
    return offset
