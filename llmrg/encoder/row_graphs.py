"""A graph of its own for every row: what a network needs whose messages run both ways.

Where a node hears from newer ones, its state depends on what the newest may be, and one encoding no longer serves
every prefix. So each row gets a copy of the nodes it may see and of the edges among them.

Promise: a row's copy holds nodes of a position below its own only (law 1), of its newest ``horizon`` positions; rows
share nothing; no Python loop runs over graphs, nodes or rows. The price is a copy of the nodes a row, where a shared
graph has them once.

Letters: B graphs of the batch, W blocks of rows, T rows, N readable nodes of a row at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.encoder.graph_batch import STEP, GraphView, Reach, Rows, ViewBatch, reach_of


def row_graphs(
    view: GraphView,
    graphs: NDArray[np.int64],
    rows: Rows,
    graph: NDArray[np.int64],
    *,
    horizon: int,
    device: Any,
) -> tuple[ViewBatch, Reach] | None:
    """The graph of every row, one after the other, and which of its nodes the row reads: the readable ones.

    Args:
        view: the view.
        graphs: rows of the arrays, −1 for a user without a graph; [B].
        rows: the rows.
        graph: index in ``graphs`` of each block; [W].
        horizon: newest positions a row's graph holds.
        device: where the tensors go.

    Returns:
        None where no row sees any node.
    """
    picked = view.arrays.select(graphs)
    position = view.arrays.node_position[picked.node_index].astype(np.int64)
    key = picked.graph_of_node * STEP + position + 1
    own = graph[rows.block] * STEP
    start = np.searchsorted(key, own + np.maximum(rows.prefix_length - horizon + 1, 0))
    end = np.searchsorted(key, own + rows.prefix_length + 1)
    node, row_of_node, first = _ranges(start, end)
    readable = np.flatnonzero(view.readable[picked.node_index[node]])
    if not len(readable):
        return None
    by_target = np.argsort(picked.edge_index[1], kind="stable")
    source, target = picked.edge_index[:, by_target]
    edge, row_of_edge, _ = _ranges(np.searchsorted(target, start), np.searchsorted(target, end))
    inside = (source[edge] >= start[row_of_edge]) & (source[edge] < end[row_of_edge])
    edge, row_of_edge = edge[inside], row_of_edge[inside]
    shift = (first - start)[row_of_edge]
    batch = view.nodes(
        picked.node_index[node],
        np.stack([source[edge] + shift, target[edge] + shift]),
        picked.edge_relation[by_target][edge],
        device,
    )
    count = np.bincount(row_of_node[readable], minlength=len(rows))
    column = np.arange(count.max())
    read = readable[np.minimum((np.cumsum(count) - count)[:, None] + column, len(readable) - 1)]  # [T, N]
    alone = Rows.single(graph[rows.block], rows.prefix_length)
    return batch, reach_of(batch, alone, read, count, count > 0, horizon, device)


def _ranges(
    start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All numbers of the ranges [start, end), the range of each, and where each range begins among them."""
    count = end - start
    first = np.cumsum(count) - count
    owner = np.repeat(np.arange(len(count)), count)
    return start[owner] + np.arange(len(owner)) - first[owner], owner, first
