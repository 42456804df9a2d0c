"""Views of a few nodes and what rows may read of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from llmrg.encoder.graph_batch import Reach, Rows, ViewBatch, reach_of


def view_of(
    kinds: Sequence[int],
    positions: Sequence[int],
    *,
    items: Sequence[int] | None = None,
    scores: Sequence[float] | None = None,
) -> ViewBatch:
    """Nodes without edges; no items and full scores unless given."""
    count = len(kinds)
    none = torch.zeros(count, dtype=torch.int64)
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    return ViewBatch(
        torch.tensor(kinds),
        none if items is None else torch.tensor(items),
        none,
        torch.tensor(positions).float(),
        torch.ones(count) if scores is None else torch.tensor(scores),
        nothing,
        nothing[0],
    )


def reach(view: ViewBatch, prefix: list[int], horizon: int = 10) -> Reach:
    count = len(prefix)
    rows = Rows.single(np.zeros(count, dtype=np.int64), np.array(prefix))
    ranges = np.tile(np.arange(len(view)), (count, 1))
    positions = view.position.numpy()
    seen = np.array([((positions < cut) & (positions >= cut - horizon)).any() for cut in prefix])
    return reach_of(view, rows, ranges, np.full(count, len(view)), seen, horizon, "cpu")
