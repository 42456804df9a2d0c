"""Stretches: weighed by what they hold, read from other folds only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.data import sequence_neighbours as room
from llmrg.data.sequence_neighbours import BACKWARD, DECAY, NEWEST, REACH, SequenceNeighbours

ITEMS = 8
SEQUENCES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), min_size=1, max_size=12)


def over(sequences, folds=None, num_items=ITEMS):
    encoded = [np.array(sequence, dtype=np.int64) for sequence in sequences]
    return SequenceNeighbours(encoded, folds or [1] * len(encoded), num_items)


def rarity(users, hits):
    return np.log1p(users / hits)


def test_a_stretch_counts_by_the_share_of_weight_it_holds_squared_and_by_distance():
    found = over([[0, 1, 2, 3]]).around(np.array([0, 1]), 0)
    # both hits, at 0 and at 1, stand in a stretch that holds everything asked for: share 1
    assert found[2] == pytest.approx(1 / 3 + 1 / 2)  # two after the hit at 0, one after the hit at 1
    assert found[3] == pytest.approx(1 / 4 + 1 / 3)
    assert found[1] == pytest.approx(1 / 2)
    assert found[0] == pytest.approx(BACKWARD / 2)


def test_a_stretch_that_holds_more_of_what_was_taken_last_says_more():
    sequences = [[0, 1, 4], [0, 2, 5]]
    found = over(sequences).around(np.array([1, 2, 0]), 0)
    weight = DECAY ** np.arange(3) * [rarity(2, 2), rarity(2, 1), rarity(2, 1)]  # of 0, 2, 1
    nearness = 1 / 3 + 1 / 2
    assert found[5] == pytest.approx((weight[[0, 1]].sum() / weight.sum()) ** 2 * nearness)
    assert found[4] == pytest.approx((weight[[0, 2]].sum() / weight.sum()) ** 2 * nearness)


def test_one_item_alone_makes_no_stretch():
    neighbours = over([[0, 1, 2], [3, 1, 2]])
    assert not neighbours.around(np.array([0, 3]), 0).any()
    assert not neighbours.around(np.array([7]), 0).any()
    assert not over([]).around(np.array([0, 1]), 0).any()


def test_of_an_item_taken_more_than_once_the_newest_occurrence_counts():
    again, once = over([[0, 1, 0, 1, 0, 2]]), over([[3, 3, 3, 1, 0, 2]])
    assert again.around(np.array([0, 1]), 0)[2] == once.around(np.array([0, 1]), 0)[2] > 0
    assert not over([[0, 0, 3]]).around(np.array([0]), 0).any()


def test_an_item_that_nobody_outside_took_takes_no_weight_from_the_others():
    neighbours = over([[0, 1, 2]] * 3)
    alone = neighbours.around(np.array([0, 1]), 0)[2]
    # 7 is older than both, so that their ages stay
    assert neighbours.around(np.array([7, 0, 1]), 0)[2] == pytest.approx(alone)


def test_only_so_many_stretches_are_kept_and_the_best_of_them(monkeypatch):
    monkeypatch.setattr(room, "KEPT", 2)
    found = over([[0, 2, 9], [1, 2, 8], [0, 1, 2, 7]], num_items=10).around(np.array([0, 1, 2]), 0)
    assert found[7] > 0
    assert not found[[8, 9]].any()


def test_histories_that_stand_side_by_side_in_memory_make_no_stretch_together():
    assert not over([[2, 0], [1, 3]]).around(np.array([0, 1]), 0).any()


def test_only_so_many_newest_items_are_looked_for_and_only_so_far_around():
    long = [0, 1, *[2] * (REACH + 1), 3]
    assert over([long]).around(np.array([0, 1]), 0)[3] == 0
    asked = [0, *range(1, NEWEST + 1)]
    assert not over([[0, 1, 7]], num_items=NEWEST + 3).around(np.array(asked), 0)[7]


def test_of_items_taken_very_often_the_same_users_are_looked_at(monkeypatch):
    monkeypatch.setattr(room, "HITS", 40)
    sequences = [[0, 1, 2]] * 60 + [[0, 3]] * 60 + [[4, 1]] * 60
    found = over(sequences).around(np.array([0, 1]), 0)
    everybody = 60 * (1 / 2 + 1 / 3)  # both hits of all who took both
    # a third of all users: as they are drawn for both items alike, about as many as there would be of everybody's
    assert everybody / 6 < found[2] < everybody


@settings(max_examples=60)
@given(SEQUENCES, st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=9))
def test_leaving_a_fold_out_equals_searching_without_its_users(sequences, items):
    folds = [at % 3 for at in range(len(sequences))]
    for fold in range(3):
        others = [(s, f) for s, f in zip(sequences, folds, strict=True) if f != fold]
        alone = over([s for s, _ in others], [f for _, f in others])
        expected = alone.around(np.array(items), fold)
        assert np.array_equal(over(sequences, folds).around(np.array(items), fold), expected)
