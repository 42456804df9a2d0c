"""Reasoning graphs as flat, memory-mapped arrays: what training reads.

Promise: loading costs neither time nor memory that grows with the number of users, and batching is indexing
(no Python loop per graph); only accepted nodes are here, in the order of their positions.

U users, N nodes, E edges, I items, T unique texts, C components, B users of a batch, n and e nodes and edges
of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.fingerprint import fingerprint_text
from llmrg.graph.array_columns import GraphColumns
from llmrg.graph.array_files import load_folder, new_folder, save_folder, verify_folder
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.whitening import Encode, Whitening, encode_whitened

Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class GraphArrays:
    """The graphs of many users, sorted by user id.

    A node or edge of user ``u`` lies between ``node_offset[u]`` and ``node_offset[u + 1]`` (edges alike).

    Args:
        user_ids: fixed-width unicode, sorted. [U]
        history: fingerprints of the histories the graphs were made from, fixed-width unicode. [U]
        as_of: number of interactions a graph knows. [U] int32
        node_offset: [U + 1] int64
        edge_offset: [U + 1] int64
        node_kind: index in ``tuple(NodeKind)``. [N] int8
        node_position: ascending within a user; -1 for attributes. [N] int32
        node_item: row in ``item_ids``, or -1. [N] int32
        node_text: row in ``text_vectors``, or -1 for an empty label. [N] int32
        node_score: verification score. [N] float16
        edge_source: node index local to the user. [E] int32
        edge_target: node index local to the user; edges are sorted by target, then source. [E] int32
        edge_relation: index in ``tuple(Relation)``. [E] int8
        item_ids: external ids of the items that occur, sorted. [I]
        text_vectors: one row per unique label: centred, whitened, of unit length (or zero). [T, C] float16
        fingerprint: what the builder called the data and the recipe.
        cutoff: name of the rule that ended the histories.
        origin: fingerprint of the recipe and of the texts that the space of the vectors was found on: arrays of one
            origin have their vectors in one space, so that a model trained with some reads the others.
    """

    user_ids: NDArray[np.str_]
    history: NDArray[np.str_]
    as_of: NDArray[np.int32]
    node_offset: NDArray[np.int64]
    edge_offset: NDArray[np.int64]
    node_kind: NDArray[np.int8]
    node_position: NDArray[np.int32]
    node_item: NDArray[np.int32]
    node_text: NDArray[np.int32]
    node_score: NDArray[np.float16]
    edge_source: NDArray[np.int32]
    edge_target: NDArray[np.int32]
    edge_relation: NDArray[np.int8]
    item_ids: NDArray[np.str_]
    text_vectors: NDArray[np.float16]
    fingerprint: str = ""
    cutoff: str = ""
    origin: str = ""

    def __len__(self) -> int:
        return len(self.user_ids)

    def __repr__(self) -> str:
        return (
            f"GraphArrays({len(self)} users, {len(self.node_kind)} nodes, {len(self.edge_source)} edges, "
            f"{len(self.item_ids)} items, {self.text_vectors.shape[0]} texts x {self.text_vectors.shape[1]})"
        )

    def rows_of(self, user_ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each user, -1 for an unknown one.

        Args:
            user_ids: external ids, in any order, repeats allowed.

        Shapes:
            [B] -> [B] int64
        """
        asked = np.asarray(user_ids, dtype=np.str_)
        if not len(self) or not len(asked):
            return np.full(len(asked), -1, dtype=np.int64)
        # Cut to the width of the table: a wider question would make NumPy copy the whole table to that width.
        rows = np.searchsorted(self.user_ids, asked.astype(self.user_ids.dtype))
        rows = np.minimum(rows, len(self) - 1)
        return np.where(self.user_ids[rows] == asked, rows, -1).astype(np.int64)

    def select(self, rows: Sequence[int] | Ints) -> GraphBatch:
        """The graphs of some rows, one after the other; a row of -1 gives an empty graph.

        Args:
            rows: as from :meth:`rows_of`. [B]

        Raises:
            IndexError: a row that does not exist.
        """
        chosen: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        node_index, graph_of_node, node_start = _gather(self.node_offset, chosen)
        edge_index, graph_of_edge, _ = _gather(self.edge_offset, chosen)
        shift = node_start[graph_of_edge]  # [e]
        return GraphBatch(
            node_index=node_index,
            graph_of_node=graph_of_node,
            edge_index=np.stack([self.edge_source[edge_index] + shift, self.edge_target[edge_index] + shift]),
            edge_relation=np.asarray(self.edge_relation[edge_index]),
            node_start=node_start,
        )


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """The concatenated graphs of B users.

    Args:
        node_index: index of each node in the arrays of :class:`GraphArrays`. [n] int64
        graph_of_node: which of the B graphs a node belongs to, ascending. [n] int64
        edge_index: sources and targets, as indices into the n nodes. [2, e] int64
        edge_relation: index in ``tuple(Relation)``. [e] int8
        node_start: first node of each graph, then n. [B + 1] int64
    """

    node_index: NDArray[np.int64]
    graph_of_node: NDArray[np.int64]
    edge_index: NDArray[np.int64]
    edge_relation: NDArray[np.int8]
    node_start: NDArray[np.int64]


_FACTS = ("fingerprint", "cutoff")
_ORIGIN = "origin"  # a fact that arrays of earlier versions lack
_SPACE = ("text_key", "whitening")
_ARRAYS = tuple(field.name for field in fields(GraphArrays) if field.name not in (*_FACTS, _ORIGIN))


@dataclass(frozen=True, eq=False)
class TextSpace:
    """Which text has which row, and how a new one is projected: what extends arrays without encoding all again.

    Args:
        key: content hash of the text of each row. [T] bytes
        whitening: the projection; its table. [C + 1, W]
    """

    key: NDArray[np.bytes_]
    whitening: Whitening

    def rows_of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, -1 for a new one. [t] -> [t] int64"""
        if not len(self.key) or not len(texts):
            return np.full(len(texts), -1, dtype=np.int64)
        asked = text_keys(texts)
        order = self._order
        place = np.minimum(np.searchsorted(self.key, asked, sorter=order), len(self.key) - 1)
        return np.where(self.key[order[place]] == asked, order[place], -1).astype(np.int64)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.key, kind="stable")


def text_keys(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """Content hashes of texts. [t]"""
    hashes = [blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
    return np.array(hashes, dtype="S32")


def build_arrays(
    graphs: Iterable[ReasoningGraph],
    encode: Encode,
    folder: Path,
    *,
    components: int,
    tau: float | None = None,
    fingerprint: str,
    cutoff: str,
    progress: Callable[[int, int], None] | None = None,
) -> GraphArrays:
    """Write the accepted part of these graphs as arrays and load them.

    Args:
        graphs: in ascending order of user ids, as a :class:`~llmrg.graph.store.GraphStore` yields them.
        encode: the frozen sentence encoder, called with blocks of unique labels. [T] -> [T, W]
        folder: where the arrays shall lie; what lies there already is replaced.
        components: width of the text vectors.
        tau: threshold on the score; by default each graph's own.
        fingerprint: of the data and the recipe.
        cutoff: name of the rule that ended the histories.
        progress: called with texts encoded so far and all texts.

    Raises:
        GraphError: graphs out of order, or one that breaks the rules the arrays rely on.
    """
    columns = GraphColumns()
    recipes: set[str] = set()
    for graph in graphs:
        recipes.add(graph.recipe)
        columns.add(graph, graph.tau if tau is None else tau)
    with new_folder(folder) as partial:
        vectors, whitening = encode_whitened(
            list(columns.texts),
            encode,
            partial / "text_vectors.npy",
            components=components,
            progress=progress,
        )
        keys = text_keys(list(columns.texts))
        arrays = GraphArrays(
            **columns.to_arrays(),
            text_vectors=vectors,
            fingerprint=fingerprint,
            cutoff=cutoff,
            origin=fingerprint_text([str(components), *sorted(recipes), *map(bytes.decode, keys)]),
        )
        save_arrays(arrays, partial, TextSpace(keys, whitening))
    return load_arrays(folder)


def load_arrays(folder: Path) -> GraphArrays:
    """Map the arrays of a folder into memory; only sizes and types are checked (see :func:`verify_arrays`).

    Raises:
        StoreError: no arrays, incomplete or corrupt ones, or made by a newer llmrg.
    """
    arrays, facts = load_folder(folder, _ARRAYS, _FACTS)
    origin = facts.get(_ORIGIN) or facts["fingerprint"]
    return GraphArrays(**arrays, fingerprint=facts["fingerprint"], cutoff=facts["cutoff"], origin=origin)


def load_text_space(folder: Path) -> TextSpace:
    """The text space of a folder of arrays.

    Raises:
        StoreError: the arrays were laid out before it was kept.
    """
    arrays, _ = load_folder(folder, _SPACE, _FACTS)
    return TextSpace(arrays["text_key"], Whitening(arrays["whitening"]))


def save_arrays(arrays: GraphArrays, folder: Path, space: TextSpace | None = None) -> None:
    """Write arrays into an existing folder; a file that lies there already is taken to be the array."""
    kept = {} if space is None else dict(zip(_SPACE, (space.key, space.whitening.table), strict=True))
    save_folder(
        folder,
        {name: getattr(arrays, name) for name in _ARRAYS} | kept,
        {name: getattr(arrays, name) for name in (*_FACTS, _ORIGIN)},
    )


def verify_arrays(folder: Path) -> list[str]:
    """Problems of a folder of arrays: what loading would refuse, then every file's hash, derived again."""
    return verify_folder(folder, _ARRAYS, _FACTS)


def _gather(
    offset: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the elements of some rows, which of ``rows`` each belongs to, and where each row starts."""
    if len(rows) and not (rows.min() >= -1 and rows.max() < len(offset) - 1):
        raise IndexError(f"rows must lie in -1..{len(offset) - 2}, found {rows.min()}..{rows.max()}")
    first = offset[rows]  # a row of -1 reads the last entry, and is given no elements below
    count = np.where(rows < 0, 0, offset[np.maximum(rows, -1) + 1] - first)  # [B]
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(count, out=start[1:])
    owner = np.repeat(np.arange(len(rows)), count)
    index = np.arange(start[-1]) + (first - start[:-1])[owner]
    return index, owner, start
