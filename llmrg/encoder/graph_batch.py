"""Graphs of one batch as tensors, and the rows that read them.

Promise: nodes are sorted by position, so that those a row may read are one contiguous range; a batch holds every
node that some row reads and every node whose message reaches one, and leaves the others out, which changes no
state; no Python loop runs over graphs, nodes or rows.

Letters: B graphs of the batch, n nodes, e edges, W blocks of rows, Q rows in a block at most, N nodes in a
block's reach at most, T rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
_LOW = -1e9  # added to the logit of a node a row must not see: its weight is exactly zero in float32
BLOCK = 16
STEP = np.int64(1) << 32
"""Key of a node = graph · STEP + position + 1: sorted, so that ranges are found by bisection."""


@dataclass(frozen=True)
class Rows:
    """Rows that read graphs, grouped into blocks of consecutive rows of one user.

    Args:
        user: internal user id of each block; [W].
        block: block of each row, ascending; [T].
        slot: running number of each row inside its block; [T].
        prefix_length: index of the item each row predicts: it sees nodes of smaller position; [T].
    """

    user: NDArray[np.int64]
    block: NDArray[np.int64]
    slot: NDArray[np.int64]
    prefix_length: NDArray[np.int64]

    @classmethod
    def single(cls, user: NDArray[np.int64], prefix_length: NDArray[np.int64]) -> Rows:
        """Every row a block of its own, as on RecBole's expanded path."""
        each = np.arange(len(user))
        return cls(user, each, np.zeros_like(each), prefix_length)

    @classmethod
    def of_windows(
        cls,
        user: NDArray[np.int64],
        prefix_length: NDArray[np.int64],
        slot: NDArray[np.int64],
    ) -> Rows:
        """Rows of whole windows: each window is cut into equal blocks of about :data:`BLOCK` rows.

        Short blocks read short ranges of nodes: what a block's oldest and newest row see differs by its length.
        """
        longest = int(slot.max(initial=0)) + 1  # no row at all where a batch masks nothing
        rows = -(-longest // -(-longest // BLOCK))
        first = slot % rows == 0
        return cls(user[first], np.cumsum(first) - 1, slot % rows, prefix_length)

    def __len__(self) -> int:
        return len(self.prefix_length)

    def select(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows that ``kept`` [T] names, in blocks as before, without those that are left with none."""
        held, block = np.unique(self.block[kept], return_inverse=True)
        return Rows(self.user[held], block, self.slot[kept], self.prefix_length[kept])


@dataclass(frozen=True)
class ViewBatch:
    """One view of the graphs of a batch.

    Args:
        kind, item, text: index of kind, internal item id (0 = none), row of the text table (last = none); [n].
        position: [n].
        score: verification score; [n].
        edge_index: source and target; [2, e].
        relation: index of relation; [e].
        origin: index of each node in the arrays of the view; [n].
    """

    kind: Tensor
    item: Tensor
    text: Tensor
    position: Tensor
    score: Tensor
    edge_index: Tensor
    relation: Tensor
    origin: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True)
class Reach:
    """Which nodes the rows of each block may read.

    Args:
        node: index of the nodes in the batch, padded by repeating a valid one; [W, N].
        hidden: 0 where the row sees the node, else a very low number to add to a logit; [W, Q, N].
        distance: positions between the node and the newest node the row reads; [W, Q, N].
        seen: whether each row sees any node; [T, 1].
        place: flat index (block · Q + slot) of each row; [T].
        block: block of each row; [T].
    """

    node: Tensor
    hidden: Tensor
    distance: Tensor
    seen: Tensor
    place: Tensor
    block: Tensor


class GraphView:
    """The nodes of one view of all graphs, bound to the ids of a dataset.

    Args:
        arrays: graph arrays that hold this view's nodes only.
        item_ids: external item id → internal id of the dataset.
        readable: kinds of nodes that rows read; the others only pass messages on.
    """

    def __init__(
        self, arrays: GraphArrays, item_ids: Mapping[str, int], readable: Iterable[NodeKind]
    ) -> None:
        self.arrays = arrays
        internal = np.array([item_ids.get(str(item), 0) for item in arrays.item_ids] + [0], dtype=np.int64)
        self.item = internal[arrays.node_item]  # −1 (no item) reads the appended 0
        self.no_text = len(arrays.text_vectors)
        self.readable = np.isin(arrays.node_kind, [_KINDS.index(kind) for kind in readable])
        graph = np.repeat(np.arange(len(arrays.node_offset) - 1), np.diff(arrays.node_offset))
        self.oldest = np.full(len(arrays.node_offset), 1 << 62)  # [G + 1]; −1 (no graph) reads the last
        np.minimum.at(self.oldest, graph[self.readable], np.asarray(arrays.node_position)[self.readable])

    def __len__(self) -> int:
        return len(self.item)

    def begun(self, graphs: NDArray[np.int64], rows: Rows) -> NDArray[np.bool_]:
        """Which rows [T] lie behind the oldest readable node of their block's graph [W]; no other row sees any."""
        begun: NDArray[np.bool_] = rows.prefix_length > self.oldest[graphs][rows.block]
        return begun

    def batch(
        self,
        graphs: NDArray[np.int64],
        rows: Rows,
        graph: NDArray[np.int64],
        *,
        horizon: int,
        steps: int,
        device: Any,
    ) -> tuple[ViewBatch, Reach] | None:
        """What ``rows`` need of the graphs at ``graphs``, and which of it each row may read.

        Args:
            graphs: rows of the arrays, −1 for a user without a graph; [B].
            rows: the rows.
            graph: index in ``graphs`` of each block; [W].
            horizon: newest positions a row reads.
            steps: message-passing steps: nodes so many edges before a readable one are needed too.
            device: where the tensors go.

        Returns:
            None where no row sees any node.
        """
        picked = self.arrays.select(graphs)
        index = picked.node_index
        position = self.arrays.node_position[index].astype(np.int64)
        readable = np.flatnonzero(self.readable[index])
        key = (picked.graph_of_node * STEP + position + 1)[readable]
        first = np.flatnonzero(np.diff(rows.block, prepend=-1))  # row of each block
        oldest, newest = (end.reduceat(rows.prefix_length, first) for end in (np.minimum, np.maximum))
        start = np.searchsorted(key, graph * STEP + np.maximum(oldest - horizon + 1, 0))
        end = np.searchsorted(key, graph * STEP + newest + 1)
        if not (end > start).any():
            return None
        needed = _needed(len(index), readable, start, end, picked.edge_index, steps)
        kept = np.flatnonzero(needed)
        renumber = np.cumsum(needed) - 1
        edges = needed[picked.edge_index].all(0)
        index = index[kept]
        view = self.nodes(index, renumber[picked.edge_index[:, edges]], picked.edge_relation[edges], device)
        own = graph[rows.block] * STEP
        seen = np.searchsorted(key, own + rows.prefix_length + 1) > np.searchsorted(
            key, own + np.maximum(rows.prefix_length - horizon + 1, 0)
        )
        column = np.arange((end - start).max())
        node = readable[np.minimum(start[:, None] + column, len(readable) - 1)]
        ranges = np.maximum(renumber[node], 0)  # padding may name a node that was left out
        return view, reach_of(view, rows, ranges, end - start, seen, horizon, device)

    def nodes(
        self,
        index: NDArray[np.int64],
        edge_index: NDArray[np.int64],
        relation: NDArray[np.integer[Any]],
        device: Any,
    ) -> ViewBatch:
        """The nodes at ``index`` of the arrays [n], with these edges among them [2, e], as tensors."""
        text = self.arrays.node_text[index].astype(np.int64)
        parts: list[NDArray[Any]] = [
            self.arrays.node_kind[index].astype(np.int64),
            self.item[index],
            np.where(text < 0, self.no_text, text),
            self.arrays.node_position[index].astype(np.float32),
            self.arrays.node_score[index].astype(np.float32),
            edge_index,
            relation.astype(np.int64),
        ]
        tensors: list[Any] = [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts]
        return replace(ViewBatch(*tensors), origin=index)


def split_views(arrays: GraphArrays) -> tuple[GraphArrays, GraphArrays]:
    """The reasoning view (no imagined items), and the divergent view: imagined items and the reasons behind them."""
    kind = np.asarray(arrays.node_kind)
    imagined = kind == _IMAGINED
    edges_per_graph = np.diff(arrays.edge_offset)
    shift = np.repeat(np.asarray(arrays.node_offset[:-1]), edges_per_graph)
    source, target = arrays.edge_source + shift, arrays.edge_target + shift
    suggests = np.zeros(len(kind), dtype=bool)
    suggests[source[imagined[target]]] = True
    return keep_nodes(arrays, ~imagined), keep_nodes(arrays, imagined | suggests, imagined[target])


def _needed(
    num_nodes: int,
    readable: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    edge_index: NDArray[np.int64],
    steps: int,
) -> NDArray[np.bool_]:
    """Nodes in a readable range, and those up to ``steps`` edges before one; [n]."""
    covered = np.zeros(len(readable) + 1, dtype=np.int64)
    np.add.at(covered, start, 1)
    np.add.at(covered, end, -1)
    needed = np.zeros(num_nodes, dtype=bool)
    needed[readable] = np.cumsum(covered)[:-1] > 0
    for _ in range(steps):
        needed[edge_index[0][needed[edge_index[1]]]] = True
    return needed


def reach_of(
    view: ViewBatch,
    rows: Rows,
    ranges: NDArray[np.int64],
    count: NDArray[np.int64],
    seen: NDArray[np.bool_],
    horizon: int,
    device: Any,
) -> Reach:
    """What each row may read.

    Args:
        view: the nodes.
        rows: the rows.
        ranges: index of the nodes in reach of each block, padded by a valid one; [W, N].
        count: how many of them there are; [W].
        seen: whether each row sees any; [T].
        horizon: newest positions a row reads.
        device: where the tensors go.
    """
    width = int(rows.slot.max()) + 1
    place = rows.block * width + rows.slot
    cut = np.zeros(len(ranges) * width, dtype=np.float32)
    cut[place] = rows.prefix_length
    node, inside, cuts, row_seen, places, block = (
        torch.from_numpy(np.ascontiguousarray(part)).to(device)
        for part in (
            ranges,
            np.arange(ranges.shape[1]) < count[:, None],
            cut,
            seen[:, None],
            place,
            rows.block,
        )
    )
    newest = cuts.view(len(ranges), width) - 1
    age = newest[:, :, None] - view.position[node][:, None, :]  # [W, Q, N]; 0 is the newest a row may see
    visible = (age >= 0) & (age < horizon) & inside[:, None, :]
    distance = age - age.masked_fill(~visible, horizon).amin(-1, keepdim=True)
    hidden = torch.zeros_like(distance).masked_fill_(~visible, _LOW)
    return Reach(node, hidden, distance, row_seen, places, block)
