"""Paired tests: calibrated under no difference, powerful under one, and right on numbers worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrg.errors import DataError
from llmrg.evaluation import statistics
from llmrg.evaluation.statistics import (
    align_users,
    bootstrap_means,
    cohens_d,
    holm,
    mean_over_seeds,
    relative_gain,
    sign_flip_p_values,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_under_no_difference_p_values_are_uniform() -> None:
    draws = 400
    differences = generator(1).standard_t(3, size=(60, draws))
    p_values = np.sort(sign_flip_p_values(differences, generator=generator(2), permutations=2000))
    gap = np.abs(p_values - (np.arange(draws) + 0.5) / draws).max()
    assert gap < 1.63 / np.sqrt(draws)  # Kolmogorov-Smirnov, 1 %


def test_p_values_would_not_pass_as_uniform_where_there_is_a_difference() -> None:
    differences = generator(1).standard_normal((60, 100)) + 0.5
    p_values = sign_flip_p_values(differences, generator=generator(2), permutations=2000)
    assert (p_values < 0.05).mean() > 0.9


def test_intervals_cover_the_true_mean_about_as_often_as_they_say() -> None:
    samples = generator(3).standard_normal((80, 300)) + 0.2
    means = bootstrap_means(samples, generator=generator(4), resamples=500)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    covered = ((low <= 0.2) & (high >= 0.2)).mean()
    assert 0.90 <= covered <= 0.98


def test_few_users_are_enumerated_exactly() -> None:
    values = np.array([0.3, -0.1, 0.4, 0.2, 0.05])
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=5)]
    expected = np.mean([total >= abs(values.sum()) - 1e-12 for total in sums])
    found = sign_flip_p_values(values[:, None], generator=generator(), permutations=32)
    assert found.tolist() == [expected]


def test_equal_differences_of_all_users_give_the_smallest_exact_p_value() -> None:
    # 2 of 2**6 patterns are as extreme; sums in another order differ in their last bits
    found = sign_flip_p_values(np.full((6, 1), 0.1), generator=generator())
    assert found.tolist() == [2 / 64]


def test_drawn_p_values_agree_with_enumerated_ones() -> None:
    values = generator(5).standard_normal((12, 8)) + 0.3
    exact = sign_flip_p_values(values, generator=generator(), permutations=4096)
    drawn = sign_flip_p_values(values, generator=generator(6), permutations=4095)
    np.testing.assert_allclose(drawn, exact, atol=0.03)


def test_no_difference_at_all_has_p_one_and_a_p_value_is_never_zero() -> None:
    table = np.column_stack([np.zeros(100), np.ones(100)])
    none, all_better = sign_flip_p_values(table, generator=generator(), permutations=999)
    assert none == 1.0
    assert all_better == 1 / 1000


def test_the_chunk_size_changes_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    values = generator(7).standard_normal((30, 2))
    whole = bootstrap_means(values, generator=generator(8), resamples=50)
    whole_p = sign_flip_p_values(values, generator=generator(8), permutations=500)
    monkeypatch.setattr(statistics, "CHUNK_CELLS", 100)
    parts = bootstrap_means(values, generator=generator(8), resamples=50)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    parts_p = sign_flip_p_values(values, generator=generator(8), permutations=500)
    np.testing.assert_array_equal(parts_p, whole_p)


def test_holm_agrees_with_numbers_worked_by_hand() -> None:
    # sorted .005 .01 .03 .04: times 4 3 2 1 = .02 .03 .06 .04, then never decreasing
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_holm_never_lowers_a_p_value_and_does_not_mind_the_order(values: list[float], random: object) -> None:
    adjusted = holm(values)
    assert (adjusted >= np.array(values)).all()
    assert (adjusted <= 1).all()
    shuffled = np.random.default_rng(0).permutation(len(values))
    np.testing.assert_array_equal(holm(np.array(values)[shuffled]), adjusted[shuffled])


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(DataError, match="p-values"):
        holm([0.5, 1.5])


def test_effect_size_is_the_mean_in_standard_deviations() -> None:
    assert cohens_d([1.0, 3.0]) == pytest.approx(2 / np.sqrt(2))
    assert cohens_d([0.0, 0.0]) == 0.0
    assert cohens_d([1.0, 1.0]) is None
    assert cohens_d([1.0]) is None


def test_a_gain_over_nothing_is_undefined() -> None:
    assert relative_gain(0.1, 0.0, (np.ones(3), np.ones(3))) is None
    assert relative_gain(0.1, 0.2, (np.ones(3), np.array([1.0, 0.0, 1.0]))) is None
    gain = relative_gain(0.1, 0.2, (np.full(3, 0.1), np.full(3, 0.2)))
    assert gain is not None
    assert gain[0] == 0.5
    assert gain[1].low == gain[1].high == 0.5


def test_users_are_paired_by_id_and_never_by_position() -> None:
    values = align_users(("c", "a", "b"), np.array([3.0, 1.0, 2.0]), order=("a", "b", "c"), what="run")
    assert values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("users", [("a",), ("a", "c"), ("a", "b", "c"), ("a", "a")])
def test_other_users_than_the_other_arm_s_are_refused(users: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="the run: expected"):
        align_users(users, np.zeros(len(users)), order=("a", "b"), what="the run")


def test_seeds_are_averaged_within_a_user() -> None:
    found = mean_over_seeds({2: np.array([1.0, 0.0]), 1: np.array([0.0, 0.0])})
    assert found.tolist() == [0.5, 0.0]
    with pytest.raises(DataError, match="at least one seed"):
        mean_over_seeds({})


@pytest.mark.parametrize("table", [np.zeros((0, 1)), np.zeros(3), np.array([[np.nan]])])
def test_tables_that_cannot_be_tested_are_refused(table: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected"):
        sign_flip_p_values(table, generator=generator())
