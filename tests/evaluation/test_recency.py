"""Time-decayed popularity against its definition, and against looking ahead."""

from __future__ import annotations

import numpy as np
import pytest

from llmrg.errors import DataError
from llmrg.evaluation.metrics import rank_of_target
from llmrg.evaluation.recency import HALF_LIVES, Events, Moments, decayed_popularity_run, decayed_ranks


def random_events(seed: int, count: int = 200, items: int = 12) -> Events:
    rng = np.random.default_rng(seed)
    return Events(rng.integers(1, items, count), rng.random(count) * 100)


def test_ranks_are_those_of_the_sum_in_the_definition() -> None:
    events, rng = random_events(1), np.random.default_rng(2)
    moments = Moments(rng.integers(1, 12, 30), rng.random(30) * 120, [[]] * 30)
    found = decayed_ranks(events, moments, half_life=7.0, num_items=12)
    for row, (target, moment) in enumerate(zip(moments.targets, moments.times, strict=True)):
        before = events.times < moment
        scores = np.zeros(12)
        np.add.at(scores, events.items[before], 2.0 ** (-(moment - events.times[before]) / 7.0))
        scores[0] = -np.inf
        # sums in another order: no two items come so close here that it matters, unless none is known
        assert found.kept[row] == rank_of_target(scores[None].round(12), np.array([target]))[0]


def test_what_comes_after_a_moment_changes_nothing_before_it() -> None:
    events = random_events(3)
    moments = Moments(np.arange(1, 12), np.full(11, 40.0), [[]] * 11)
    early = events.times < 40.0
    cut = Events(events.items[early], events.times[early])
    np.testing.assert_array_equal(
        decayed_ranks(events, moments, half_life=5.0, num_items=12),
        decayed_ranks(cut, moments, half_life=5.0, num_items=12),
    )


def test_what_was_popular_lately_wins_with_a_short_half_life_and_what_always_was_with_a_long_one() -> None:
    events = Events(np.array([1] * 50 + [2] * 5), np.concatenate([np.linspace(0, 10, 50), np.full(5, 99.0)]))
    moments = Moments(np.array([2]), np.array([100.0]), [[]])
    assert decayed_ranks(events, moments, half_life=1.0, num_items=4).kept.tolist() == [1.0]
    assert decayed_ranks(events, moments, half_life=1e6, num_items=4).kept.tolist() == [2.0]


def test_times_before_1970_are_times() -> None:
    events, moments = random_events(4), Moments(np.arange(1, 12), np.linspace(40.0, 90.0, 11), [[]] * 11)
    now = decayed_ranks(events, moments, half_life=0.02, num_items=12)
    earlier = Events(events.items, events.times - 1e8)
    before = Moments(moments.targets, moments.times - 1e8, [[]] * 11)
    ago = decayed_ranks(earlier, before, half_life=0.02, num_items=12)
    np.testing.assert_array_equal(now.kept, ago.kept)


def test_validation_chooses_the_half_life() -> None:
    events = Events(np.array([1] * 50 + [2] * 5), np.concatenate([np.linspace(0, 10, 50), np.full(5, 99.0)]))
    lately, always = (
        Moments(np.array([2]), np.array([100.0]), [[]]),
        Moments(np.array([1]), np.array([100.0]), [[]]),
    )
    users = {"user_ids": ("u",), "num_items": 40, "dataset": "toy", "first_times": [1.0, 2.0, 3.0]}
    run, share = decayed_popularity_run(events, valid=lately, test=lately, **users)
    assert share == HALF_LIVES[0]
    assert run.ranks.tolist() == [1.0]
    _, other = decayed_popularity_run(events, valid=always, test=lately, **users)
    assert other > share


@pytest.mark.parametrize(
    ("times", "first", "words"),
    [([1.0, 2.0], [0.0, 0.0, 0.0], "not a clock"), ([5.0, 5.0], [1.0, 2.0], "the same time")],
)
def test_times_that_are_no_clock_make_no_row(times: list[float], first: list[float], words: str) -> None:
    events, moment = Events(np.array([1, 2]), np.array(times)), Moments(np.array([1]), np.array([9.0]), [[]])
    with pytest.raises(DataError, match=words):
        decayed_popularity_run(
            events, valid=moment, test=moment, user_ids=("u",), num_items=4, dataset="toy", first_times=first
        )
