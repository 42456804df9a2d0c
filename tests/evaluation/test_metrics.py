"""Metrics against fractions worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrg.errors import DataError, SettingsError
from llmrg.evaluation.metrics import METRICS, mean_of, per_user, rank_of_target

RANKS = [1, 2, 5, 5.5, 6, 10, 20, 21]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("hr@5", [1, 1, 1, 0, 0, 0, 0, 0]),
        ("hr@10", [1, 1, 1, 1, 1, 1, 0, 0]),
        ("hr@20", [1, 1, 1, 1, 1, 1, 1, 0]),
        ("mrr@5", [1, 1 / 2, 1 / 5, 0, 0, 0, 0, 0]),
        ("mrr@10", [1, 1 / 2, 1 / 5, 2 / 11, 1 / 6, 1 / 10, 0, 0]),
        ("mrr@20", [1, 1 / 2, 1 / 5, 2 / 11, 1 / 6, 1 / 10, 1 / 20, 0]),
        ("ndcg@5", [1, math.log(2) / math.log(3), math.log(2) / math.log(6), 0, 0, 0, 0, 0]),
    ],
)
def test_metrics_equal_the_fractions_worked_by_hand(metric: str, expected: list[float]) -> None:
    np.testing.assert_allclose(per_user(metric, RANKS), expected, rtol=1e-14)


def test_ndcg_at_rank_three_is_one_half_and_at_rank_seven_one_third() -> None:
    np.testing.assert_allclose(per_user("ndcg@10", [1, 3, 7, 11]), [1, 1 / 2, 1 / 3, 0], rtol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_an_aggregate_is_only_the_mean_of_the_users(metric: str) -> None:
    assert mean_of(metric, RANKS) == per_user(metric, RANKS).mean()


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match="did you mean 'ndcg@10'"):
        per_user("ndgc@10", [1])


@pytest.mark.parametrize("bad", [0, 0.5, -1, math.nan, math.inf, 1.25])
def test_what_cannot_be_a_rank_is_refused_with_its_place(bad: float) -> None:
    with pytest.raises(DataError, match="at index 1"):
        per_user("hr@5", [1, bad, 2])


def test_no_user_has_no_mean() -> None:
    with pytest.raises(DataError, match="found none"):
        mean_of("hr@5", [])


def test_ranks_count_ties_half() -> None:
    scores = [[3.0, 1.0, 2.0, 2.0], [3.0, 1.0, 2.0, 2.0], [3.0, 1.0, 2.0, 2.0], [2.0, 2.0, 2.0, 0.0]]
    assert rank_of_target(scores, [0, 1, 2, 0]).tolist() == [1.0, 4.0, 2.5, 2.0]


@given(st.integers(1, 40))
def test_a_model_with_constant_scores_ranks_every_target_in_the_middle(items: int) -> None:
    ranks = rank_of_target(np.zeros((items, items)), np.arange(items))
    assert set(ranks.tolist()) == {(items + 1) / 2}


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_the_ranks_of_all_items_sum_to_those_of_a_permutation(scores: list[int]) -> None:
    items = len(scores)
    ranks = rank_of_target(np.tile(np.array(scores, dtype=np.float32), (items, 1)), np.arange(items))
    assert ranks.sum() == items * (items + 1) / 2


def test_padding_at_minus_infinity_never_competes() -> None:
    assert rank_of_target([[-np.inf, -5.0, -5.0]], [1]).tolist() == [1.5]


def test_nan_scores_are_an_error_and_not_a_rank() -> None:
    with pytest.raises(DataError, match=r"NaN in 1 of 2 rows \(first: row 1\)"):
        rank_of_target([[0.0, 1.0], [0.0, np.nan]], [0, 0])


@pytest.mark.parametrize(("shape", "target"), [((2, 3), [0]), ((3,), [0]), ((1, 3), [3]), ((1, 3), [-1])])
def test_scores_and_targets_that_do_not_fit_are_refused(shape: tuple[int, ...], target: list[int]) -> None:
    with pytest.raises(DataError, match="expected"):
        rank_of_target(np.zeros(shape), target)


def test_an_empty_batch_has_no_ranks() -> None:
    assert rank_of_target(np.zeros((0, 3)), np.zeros(0, dtype=int)).shape == (0,)
