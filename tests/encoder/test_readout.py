"""SR-GNN's read-out: its formula, and what each node brings to it."""

from __future__ import annotations

import pytest
import torch
from few_nodes import reach, view_of
from torch import Tensor

from llmrg.encoder.readout import READOUTS, LastNodeReadout
from llmrg.graph.schema import NodeKind

WIDTH = 8
ITEM, REASON, IMAGINED = (
    tuple(NodeKind).index(kind) for kind in (NodeKind.ITEM, NodeKind.REASON, NodeKind.IMAGINED_ITEM)
)


def readout() -> LastNodeReadout:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return LastNodeReadout(4, WIDTH)


def nodes(count: int) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(1))


def formula(layer: LastNodeReadout, last: Tensor, seen: Tensor) -> Tensor:
    """Equations 6 and 7 of SR-GNN."""
    weight = layer.weigh(torch.sigmoid(layer.last(last) + layer.other(seen)))  # [n, 1]
    return layer.join(torch.cat([last, (weight * seen).sum(0)]))


def test_the_newest_item_asks_and_weights_are_not_normalised() -> None:
    view = view_of([ITEM, ITEM, REASON, ITEM, REASON], [0, 1, 1, 2, 2])
    layer, states = readout(), nodes(5)
    read = layer(torch.zeros(3, 4), states, view, reach(view, [1, 2, 3]))
    for row, (last, seen) in enumerate([(0, 1), (1, 3), (3, 5)]):
        torch.testing.assert_close(read.vector[row], formula(layer, states[last], states[:seen]))


def test_the_newest_imagined_items_ask_together() -> None:
    view = view_of([IMAGINED] * 4, [0, 2, 2, 3])
    layer, states = readout(), nodes(4)
    read = layer(torch.zeros(1, 4), states, view, reach(view, [3]))
    torch.testing.assert_close(read.vector[0], formula(layer, states[1:3].mean(0), states[:3]))


def test_a_row_without_items_is_asked_by_nothing_and_one_without_nodes_reads_zero() -> None:
    view = view_of([REASON, REASON], [3, 4])
    layer, states = readout(), nodes(2)
    read = layer(torch.zeros(2, 4), states, view, reach(view, [2, 5]))
    assert torch.equal(read.vector[0], torch.zeros(WIDTH))
    torch.testing.assert_close(read.vector[1], formula(layer, torch.zeros(WIDTH), states))


@pytest.mark.parametrize("name", READOUTS)
def test_what_nodes_bring_adds_up_to_what_the_row_read(name: str) -> None:
    view = view_of([ITEM, ITEM, REASON, ITEM], [0, 1, 1, 2])
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layer = READOUTS[name](4, WIDTH)
    states, gradient = nodes(4), nodes(5)[4]
    with torch.no_grad():
        read = layer(torch.ones(1, 4), states, view, reach(view, [3]))
        weight, part = layer.attribute(states, view, read, gradient)
    assert float(weight.sum()) == pytest.approx(1, abs=1e-5)
    whole = (
        0.0 if layer.is_mean else float(read.vector[0] @ gradient)
    )  # of a mean, each part is beside that mean
    assert float(part.sum()) == pytest.approx(whole, abs=1e-5)
