"""Arrays that grow: new graphs laid out in the text space of older arrays, and taken in among them.

Promise: nothing that stays is encoded, projected or renumbered within its user again; a user whose graph is not
among the new ones keeps every number; and texts get the vectors that the older arrays' projection gives them.

U users, N nodes, T texts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import GraphError
from llmrg.graph.array_columns import GraphColumns
from llmrg.graph.array_files import new_folder
from llmrg.graph.arrays import (
    GraphArrays,
    TextSpace,
    load_arrays,
    load_text_space,
    save_arrays,
    text_keys,
)
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.whitening import Encode


def arrays_in_space(
    graphs: Iterable[ReasoningGraph], arrays: GraphArrays, space: TextSpace, encode: Encode
) -> tuple[GraphArrays, list[str]]:
    """The accepted part of some graphs as arrays of their own, with vectors of the space of others.

    Args:
        graphs: in ascending order of user ids.
        arrays: whose space it is; texts they know are not encoded again.
        space: of ``arrays``.
        encode: the sentence encoder that they were made with.

    Returns:
        The new arrays, in memory, and the text of each of their text rows.

    Raises:
        GraphError: graphs out of order, or one that breaks the rules the arrays rely on.
    """
    columns = GraphColumns()
    for graph in graphs:
        columns.add(graph, graph.tau)
    texts = list(columns.texts)
    rows = space.rows_of(texts)
    vectors = np.zeros((len(texts), arrays.text_vectors.shape[1]), dtype=np.float16)
    known = rows >= 0
    vectors[known] = arrays.text_vectors[rows[known]]
    if not known.all():
        new = [text for text, row in zip(texts, rows, strict=True) if row < 0]
        encoded = np.asarray(encode(new), dtype=np.float32)
        if not space.whitening.table.shape[1]:
            raise GraphError("the older arrays hold no text, so there is no space to lay new texts out in")
        vectors[~known] = space.whitening(encoded)
    values: dict[str, Any] = columns.to_arrays()
    return replace(arrays, **values, text_vectors=vectors), texts


def extend_arrays(
    folder: Path, graphs: Iterable[ReasoningGraph], encode: Encode, *, fingerprint: str
) -> GraphArrays:
    """Take new graphs, or new versions of graphs, in among the arrays of a folder.

    Args:
        folder: of arrays with a text space; replaced whole, or left as it is where something fails.
        graphs: of new and changed users, in ascending order of user ids.
        encode: the sentence encoder the arrays were made with.
        fingerprint: of the data and the recipe; the origin stays.

    Raises:
        StoreError: no arrays, or laid out before their text space was kept.
        GraphError: see :func:`arrays_in_space`.
    """
    old, space = load_arrays(folder), load_text_space(folder)
    new, texts = arrays_in_space(graphs, old, space, encode)
    text_row = space.rows_of(texts)
    fresh = np.flatnonzero(text_row < 0)
    text_row[fresh] = len(old.text_vectors) + np.arange(len(fresh))
    item_ids = np.union1d(old.item_ids, new.item_ids) if len(new.item_ids) else old.item_ids
    both = _one_after_the_other(
        _renumbered(old, item_ids, np.arange(len(old.text_vectors))), _renumbered(new, item_ids, text_row)
    )
    stay = ~np.isin(old.user_ids, new.user_ids)
    rows = np.concatenate([np.flatnonzero(stay), len(old) + np.arange(len(new))])
    rows = rows[np.argsort(both.user_ids[rows], kind="stable")]
    grown = replace(
        _rows_of(both, rows),
        item_ids=item_ids,
        text_vectors=np.concatenate([old.text_vectors, new.text_vectors[fresh]]),
        fingerprint=fingerprint,
        cutoff=old.cutoff,
        origin=old.origin,
    )
    keys = np.concatenate([space.key, text_keys([texts[row] for row in fresh])])
    with new_folder(folder) as partial:
        save_arrays(grown, partial, TextSpace(keys, space.whitening))
    return load_arrays(folder)


def graph_of_one(arrays: GraphArrays, row: int) -> GraphArrays:
    """One user's graph as arrays of its own, with no more items and texts than it needs."""
    alone = _rows_of(arrays, np.array([row]))
    item, node_item = _used(alone.node_item)
    text, node_text = _used(alone.node_text)
    return replace(
        alone,
        node_item=node_item,
        node_text=node_text,
        item_ids=arrays.item_ids[item],
        text_vectors=arrays.text_vectors[text],
    )


def _used(column: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The values of a column but -1, and the column in numbers of those."""
    values = np.unique(column[column >= 0])
    return values, np.where(column >= 0, np.searchsorted(values, column), -1).astype(np.int32)


def _renumbered(arrays: GraphArrays, item_ids: NDArray[np.str_], text_row: NDArray[np.int64]) -> GraphArrays:
    item = np.append(np.searchsorted(item_ids, arrays.item_ids), -1).astype(np.int32)
    text = np.append(text_row, -1).astype(np.int32)
    return replace(arrays, node_item=item[arrays.node_item], node_text=text[arrays.node_text])


_BY_USER = ("user_ids", "history", "as_of")
_BY_NODE = ("node_kind", "node_position", "node_item", "node_text", "node_score")
_BY_EDGE = ("edge_source", "edge_target", "edge_relation")


def _one_after_the_other(first: GraphArrays, second: GraphArrays) -> GraphArrays:
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in (*_BY_USER, *_BY_NODE, *_BY_EDGE)
    }
    offsets: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(first, name)[-1] + getattr(second, name)[1:]])
        for name in ("node_offset", "edge_offset")
    }
    return replace(first, **joined, **offsets)


def _rows_of(arrays: GraphArrays, rows: NDArray[np.int64]) -> GraphArrays:
    """The graphs of some rows, in their order; items and texts stay as they are."""
    batch = arrays.select(rows)
    edges = (arrays.edge_offset[rows + 1] - arrays.edge_offset[rows]).astype(np.int64)
    local = batch.edge_index - np.repeat(batch.node_start[:-1], edges)
    columns: dict[str, Any] = {
        **{name: getattr(arrays, name)[rows] for name in _BY_USER},
        **{name: np.asarray(getattr(arrays, name)[batch.node_index]) for name in _BY_NODE},
    }
    return replace(
        arrays,
        **columns,
        node_offset=batch.node_start,
        edge_offset=np.append(0, np.cumsum(edges)).astype(np.int64),
        edge_source=local[0].astype(np.int32),
        edge_target=local[1].astype(np.int32),
        edge_relation=batch.edge_relation,
    )
