"""Item factors: EASE where no rank is cut off, and nothing for items that nobody took."""

import numpy as np
import pytest

from llmrg.data import item_factors as room
from llmrg.data.item_factors import PENALTY, RANK, item_factors


def sequences_of(users=40, items=12, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.choice(items, size=rng.integers(1, 7), replace=False) for _ in range(users)]


def ease(sequences, items):
    taken = np.zeros((len(sequences), items))
    for user, sequence in enumerate(sequences):
        taken[user, sequence] = 1
    inverse = np.linalg.inv(taken.T @ taken + PENALTY * np.eye(items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def test_factors_of_full_rank_are_ease():
    sequences = sequences_of()
    history = np.array([1, 5, 6])
    found = item_factors(sequences, 12).affinity(history)
    others = np.setdiff1d(np.arange(12), history)
    expected = ease(sequences, 12)[history].sum(axis=0)
    assert found[others] == pytest.approx(expected[others], rel=1e-4)


def test_few_factors_are_near_to_all_of_them(monkeypatch):
    rng = np.random.default_rng(1)
    themes = [np.arange(at, at + 10) for at in range(0, 60, 10)]
    sequences = [rng.choice(themes[user % 6], size=6, replace=False) for user in range(300)]
    whole = item_factors(sequences, 60).affinity(themes[2][:4])
    monkeypatch.setattr(room, "RANK", 8)
    few = item_factors(sequences, 60).affinity(themes[2][:4])
    assert set(np.argsort(-few)[:10]) == set(np.argsort(-whole)[:10]) == set(themes[2])


def test_an_item_counts_once_a_user_and_one_nobody_took_goes_with_nothing():
    sequences = [np.array([0, 1, 0, 0]), np.array([1, 2])]
    once = [np.array([0, 1]), np.array([1, 2])]
    found = item_factors(sequences, 4).affinity(np.array([0]))
    assert np.allclose(found, item_factors(once, 4).affinity(np.array([0])))
    assert found[3] == 0
    assert not item_factors(once, 4).affinity(np.array([3])).any()


@pytest.mark.parametrize("sequences", [[], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)] * 300])
@pytest.mark.parametrize("num_items", [3, 3000])
def test_without_users_nothing_goes_with_anything(sequences, num_items):
    assert not item_factors(sequences, num_items).affinity(np.array([0, 1])).any()


def test_a_large_matrix_has_the_largest_factors_of_a_small_one(monkeypatch):
    rng = np.random.default_rng(3)
    sequences = [rng.choice(300, size=12, replace=False) for _ in range(400)]
    whole = item_factors(sequences, 300)
    monkeypatch.setattr(room, "DENSE", 10)
    large, history = item_factors(sequences, 300), sequences[0]
    assert large.vectors.shape == whole.vectors.shape == (300, RANK)
    assert large.affinity(history) == pytest.approx(whole.affinity(history), abs=1e-4)


@pytest.mark.parametrize("wide", [False, True])
def test_the_same_histories_give_the_same_factors(wide):
    # many users and items, and few factors: where a search from a random start would show
    sequences = [np.array([user % 7, 7 + user % 3]) for user in range(300)]
    first, second = (item_factors(sequences, 900 if wide else 150) for _ in range(2))
    assert np.array_equal(first.vectors, second.vectors)
    assert not first.affinity(np.array([0]))[10:].any()
