"""Graphs of one batch as tensors, and the rows that read them.

Promise: a batch holds the whole graph of every user in it, nodes sorted by position, so that the nodes a row may
read are one contiguous range; no Python loop runs over graphs, nodes or rows.

Letters: B graphs of the batch, n nodes, e edges, W windows (blocks of rows of one user), T rows, H base width,
D graph width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.graph.arrays import GraphArrays
from llmrg.graph.controls import keep_nodes
from llmrg.graph.schema import NodeKind

_KINDS = tuple(NodeKind)
_IMAGINED = _KINDS.index(NodeKind.IMAGINED_ITEM)
_REASON = _KINDS.index(NodeKind.REASON)
_STEP = np.int64(1) << 32  # key of a node = graph · STEP + position + 1: sorted, so ranges are found by bisection


@dataclass(frozen=True)
class Rows:
    """Rows that read graphs, grouped into windows of one user each.

    Args:
        user: internal user id of each window; [W].
        window: window of each row, ascending; [T].
        slot: running number of each row inside its window; [T].
        prefix_length: index of the item each row predicts: it sees nodes of smaller position; [T].
    """

    user: NDArray[np.int64]
    window: Tensor
    slot: Tensor
    prefix_length: Tensor

    @classmethod
    def single(cls, user: Tensor, prefix_length: Tensor) -> Rows:
        """Every row a window of its own, as on RecBole's expanded path."""
        each = torch.arange(len(user), device=user.device)
        return cls(user.cpu().numpy(), each, torch.zeros_like(each), prefix_length)


@dataclass(frozen=True)
class ViewBatch:
    """One view of the graphs of a batch.

    Args:
        kind, item, text: index of kind, internal item id (0 = none), row of the text table (last = none); [n].
        position: [n].
        score: verification score; [n].
        edge_index: source and target; [2, e].
        relation: index of relation; [e].
        key: graph · 2³² + position + 1, ascending; [n].
    """

    kind: Tensor
    item: Tensor
    text: Tensor
    position: Tensor
    score: Tensor
    edge_index: Tensor
    relation: Tensor
    key: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True)
class Reach:
    """Which nodes the rows of each window may read.

    Args:
        node: node indices, padded by repeating a valid one; [W, N].
        visible: which of them each row sees; [W, Q, N].
        distance: positions between a node and the newest one a row could see; [W, Q, N].
        place: flat index (window · Q + slot) of each row; [T].
        shape: (W, Q).
    """

    node: Tensor
    visible: Tensor
    distance: Tensor
    place: Tensor
    shape: tuple[int, int]


class GraphView:
    """The nodes of one view of all graphs, bound to the ids of a dataset.

    Args:
        arrays: graph arrays that hold this view's nodes only.
        item_ids: external item id → internal id of the dataset.
    """

    def __init__(self, arrays: GraphArrays, item_ids: Mapping[str, int]) -> None:
        self.arrays = arrays
        internal = np.array([item_ids.get(str(item), 0) for item in arrays.item_ids] + [0], dtype=np.int64)
        self.item = internal[arrays.node_item]  # −1 (no item) reads the appended 0
        self.no_text = len(arrays.text_vectors)

    def __len__(self) -> int:
        return len(self.item)

    def batch(self, rows: NDArray[np.int64], device: torch.device) -> ViewBatch:
        """The graphs at ``rows`` of the arrays (−1: no graph), concatenated."""
        picked = self.arrays.select(rows)
        index = picked.node_index
        text = self.arrays.node_text[index].astype(np.int64)
        position = self.arrays.node_position[index].astype(np.int64)
        parts: list[NDArray[Any]] = [
            self.arrays.node_kind[index].astype(np.int64),
            self.item[index],
            np.where(text < 0, self.no_text, text),
            position,
            self.arrays.node_score[index].astype(np.float32),
            picked.edge_index,
            picked.edge_relation.astype(np.int64),
        ]
        tensors = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)
        return ViewBatch(*tensors, key=picked.graph_of_node * _STEP + position + 1)


def split_views(arrays: GraphArrays) -> tuple[GraphArrays, GraphArrays]:
    """The reasoning view (no imagined items) and the divergent view (imagined items and the reasons behind them)."""
    kind = np.asarray(arrays.node_kind)
    imagined = kind == _IMAGINED
    edges_per_graph = np.diff(arrays.edge_offset)
    shift = np.repeat(np.asarray(arrays.node_offset[:-1]), edges_per_graph)
    source, target = arrays.edge_source + shift, arrays.edge_target + shift
    suggests = np.zeros(len(kind), dtype=bool)
    suggests[source[imagined[target]]] = True
    return keep_nodes(arrays, ~imagined), keep_nodes(arrays, imagined | suggests)


def reach(view: ViewBatch, rows: Rows, graph: NDArray[np.int64], *, horizon: int) -> Reach:
    """The nodes each row may read: positions in [prefix_length − horizon, prefix_length).

    Args:
        view: the batch's nodes.
        rows: the rows.
        graph: graph (in the batch) of each window; [W].
        horizon: newest positions a row reads.
    """
    device = rows.prefix_length.device
    num_windows = len(graph)
    width = int(rows.slot.max()) + 1
    window, prefix = rows.window.cpu().numpy(), rows.prefix_length.cpu().numpy()
    oldest = np.full(num_windows, np.iinfo(np.int64).max)
    newest = np.zeros(num_windows, dtype=np.int64)
    np.minimum.at(oldest, window, prefix)
    np.maximum.at(newest, window, prefix)
    start = np.searchsorted(view.key, graph * _STEP + np.maximum(oldest - horizon + 1, 0))
    end = np.searchsorted(view.key, graph * _STEP + newest + 1)
    longest = max(int((end - start).max()), 1)
    column = np.arange(longest)
    node = np.minimum(start[:, None] + column, max(len(view) - 1, 0))  # [W, N]
    inside = torch.from_numpy(column < (end - start)[:, None]).to(device)
    node_index = torch.from_numpy(node).to(device)
    place = rows.window * width + rows.slot  # [T]
    cut = torch.zeros(num_windows * width, dtype=torch.long, device=device)
    cut = cut.index_copy(0, place, rows.prefix_length).view(num_windows, width)  # [W, Q]; 0 sees nothing
    distance = cut[:, :, None] - 1 - view.position[node_index][:, None, :]  # [W, Q, N]
    visible = (distance >= 0) & (distance < horizon) & inside[:, None, :]
    return Reach(node_index, visible, distance, place, (num_windows, width))
