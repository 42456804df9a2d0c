"""Cut-offs: what is known of a user, and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrg.data.cutoff import Cutoff, GlobalTime, LeaveOneOut, TimeShares, cut_history
from llmrg.errors import DataError

times = st.lists(st.integers(0, 50).map(float), max_size=12)
rules = st.one_of(
    st.just(LeaveOneOut()),
    st.tuples(st.integers(0, 50), st.integers(0, 20)).map(lambda t: GlobalTime(t[0], sum(t))),
)


@given(times, rules)
def test_a_history_is_a_prefix_and_its_training_part_a_prefix_of_it(
    stamps: list[float], rule: Cutoff
) -> None:
    items = [f"i{k}" for k in range(len(stamps))]
    history = cut_history(rule, "u", items, stamps, {})
    assert list(history.item_ids) == items[: len(history)]
    assert 0 <= history.train_length <= len(history)
    assert history.cutoff == rule.name


@given(times)
def test_the_test_target_reaches_no_history_of_three_items_or_more(stamps: list[float]) -> None:
    items = [*(f"i{k}" for k in range(max(len(stamps), 2))), "target"]
    history = cut_history(LeaveOneOut(), "u", items, list(range(len(items))), {})
    assert "target" not in history.item_ids
    assert len(history.timestamps) == len(history)


@given(times, st.integers(0, 50), st.integers(0, 20))
def test_nothing_at_or_after_the_test_time_is_known(stamps: list[float], valid: int, later: int) -> None:
    history = cut_history(GlobalTime(valid, valid + later), "u", ["i"] * len(stamps), stamps, {})
    assert all(time < valid + later for time in history.timestamps)
    assert all(time < valid for time in history.timestamps[: history.train_length])


def test_an_item_behind_a_later_one_does_not_slip_in() -> None:
    # Within one float32 step the file's order stands, so times may run backwards by some seconds.
    history = cut_history(GlobalTime(100, 200), "u", ["a", "b", "c"], [50, 210, 190], {})
    assert history.item_ids == ("a",)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.floats(0.05, 0.9), st.floats(0, 0.5))
def test_shares_never_give_more_than_asked_to_the_training_part(
    stamps: list[int], train: float, valid: float
) -> None:
    if train + valid >= 1:
        return
    rule = TimeShares(train, valid).resolve(stamps)
    before_valid = sum(time < rule.valid_time for time in stamps)
    before_test = sum(time < rule.test_time for time in stamps)
    assert before_valid <= train * len(stamps)
    assert before_valid <= before_test <= (train + valid) * len(stamps) + 1e-9
    assert before_test < len(stamps)


def test_shares_of_distinct_times_are_exact() -> None:
    assert TimeShares(0.8, 0.1).resolve(list(range(100))) == GlobalTime(80, 90)


@pytest.mark.parametrize("shares", [(0, 0.5), (0.9, 0.1), (0.5, -0.1)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="train"):
        TimeShares(*shares)


def test_validation_after_testing_is_refused() -> None:
    with pytest.raises(DataError, match="valid_time <= test_time"):
        GlobalTime(2, 1)


def test_shares_of_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="found none"):
        TimeShares().resolve([])
