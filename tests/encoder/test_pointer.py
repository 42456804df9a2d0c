"""The pointer: its formula, what it starts with, and that age counts from the newest list a row reads."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from few_nodes import reach, view_of

from llmrg.encoder.fusion import Pointed, Pointer
from llmrg.encoder.graph_batch import ViewBatch
from llmrg.encoder.readout import MaskedReadout, Read
from llmrg.graph.schema import NodeKind

IMAGINED = tuple(NodeKind).index(NodeKind.IMAGINED_ITEM)
ITEMS, POSITIONS, SCORES = [3, 4, 3, 5], [2, 2, 6, 6], [0.9, 0.5, 0.2, 0.9]


def imagined(items: list[int], positions: list[int], scores: list[float]) -> ViewBatch:
    return view_of([IMAGINED] * len(items), positions, items=items, scores=scores)


def read(view: ViewBatch, prefix: list[int]) -> Read:
    """What a read-out gives whose query says nothing."""
    readout = MaskedReadout(4, 8)
    torch.nn.init.zeros_(readout.query.weight)
    torch.nn.init.zeros_(readout.query.bias)
    return readout(torch.zeros(len(prefix), 4), torch.zeros(len(view), 8), view, reach(view, prefix))


def pointed_by(pointer: Pointer, view: ViewBatch, prefix: list[int]) -> Pointed:
    return Pointed(torch.arange(len(prefix)), *pointer.weights(read(view, prefix), view))


def added(pointer: Pointer, view: ViewBatch, prefix: list[int]) -> torch.Tensor:
    """What each of ten items gains in each row."""
    return pointer.add(torch.zeros(len(prefix), 10), pointed_by(pointer, view, prefix)).detach()


def test_an_item_gains_the_sum_over_its_nodes_that_the_row_sees() -> None:
    pointer = Pointer()
    beta, (start, decay, trust) = float(pointer.beta.detach()), pointer.bias.tolist()

    def weight(distance: int, score: float) -> float:
        logit = 10 * start - decay * distance + 10 * trust * score
        return 10 * beta / (1 + math.exp(-logit))

    gains = added(pointer, imagined(ITEMS, POSITIONS, SCORES), [3, 8])
    assert gains[0].tolist() == pytest.approx([0, 0, 0, weight(0, 0.9), weight(0, 0.5), *[0] * 5])
    newer = [weight(4, 0.9) + weight(0, 0.2), weight(4, 0.5), weight(0, 0.9)]
    assert gains[1].tolist() == pytest.approx([0, 0, 0, *newer, *[0] * 4], abs=1e-6)


def test_untrained_a_likely_item_of_the_newest_list_gains_about_five_and_older_lists_little() -> None:
    gains = added(Pointer(), imagined(ITEMS, POSITIONS, SCORES), [8])[0]
    assert 4 < float(gains[5]) < 7
    assert float(gains[4]) < 0.1


def test_a_list_is_not_old_because_the_row_is_some_positions_on() -> None:
    view = imagined([3, 4], [2, 2], [0.9, 0.5])
    soon, later = added(Pointer(), view, [3, 7])
    assert torch.equal(soon, later)


def test_shut_or_hidden_it_adds_nothing() -> None:
    view = imagined(ITEMS, POSITIONS, SCORES)
    assert not added(Pointer(0.0), view, [8]).any()
    assert not added(Pointer(), view, [1]).any()
    items_without_id = replace(view, item=torch.zeros(4, dtype=torch.int64))
    assert not added(Pointer(), items_without_id, [8]).any()


def test_one_candidate_gains_what_it_gains_among_all() -> None:
    view, pointer = imagined(ITEMS, POSITIONS, SCORES), Pointer()
    pointed = pointed_by(pointer, view, [3, 8])
    gains = added(pointer, view, [3, 8])
    for item in range(1, 10):
        one = pointer.of(torch.tensor([item, item]), pointed)
        torch.testing.assert_close(one, gains[:, item])


def test_readers_that_are_some_of_the_rows_leave_the_others_as_they_are() -> None:
    view, pointer = imagined(ITEMS, POSITIONS, SCORES), Pointer()
    gains = added(pointer, view, [3, 8])
    pointed = replace(pointed_by(pointer, view, [3, 8]), row=torch.tensor([3, 1]))
    scores = pointer.add(torch.zeros(5, 10), pointed)
    assert torch.equal(scores[[3, 1]], gains)
    assert not scores[[0, 2, 4]].any()
    one = pointer.of(torch.full((5,), 3), pointed)
    torch.testing.assert_close(one, scores[:, 3])
