"""Popularity and ItemKNN against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llmrg.errors import DataError
from llmrg.evaluation.baselines import baseline_runs, item_knn_scores, item_similarity, popularity_scores

TRAIN = [[1, 2], [1, 2, 3], [2, 3, 3], [4]]


def test_popularity_counts_users_and_not_visits() -> None:
    assert popularity_scores(TRAIN, 5).tolist() == [0, 2, 3, 2, 1]


def test_item_similarity_is_the_shrunk_cosine_over_users() -> None:
    found = item_similarity(TRAIN, 5, shrinkage=1.0).toarray()
    assert found[1, 2] == pytest.approx(2 / (np.sqrt(2 * 3) + 1))
    assert found[1, 3] == pytest.approx(1 / (np.sqrt(2 * 2) + 1))
    assert found[1, 4] == 0
    assert not found.diagonal().any()
    np.testing.assert_array_equal(found, found.T)


def test_scores_sum_over_the_history_and_forget_its_order() -> None:
    similarity = item_similarity(TRAIN, 5, shrinkage=0.0)
    scores = item_knn_scores(similarity, [[1, 3], [3, 1], [4], []])
    assert scores[0, 2] == pytest.approx(4 / np.sqrt(6))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not scores[2:].any()


def test_only_the_nearest_neighbours_of_an_item_are_kept() -> None:
    found = item_similarity(TRAIN, 5, neighbours=1)
    assert found.getnnz(axis=1).tolist() == [0, 1, 1, 1, 0]
    assert found[1].indices.tolist() == [2]


def test_both_rows_rank_like_every_model_and_padding_never_competes() -> None:
    popular, knn = baseline_runs(TRAIN, [[1], [4]], [2, 1], user_ids=("a", "b"), num_items=5, dataset="toy")
    assert popular.ranks.tolist() == [1.0, 2.5]
    # user b knows item 4 only, which nobody shares: four items tie
    assert knn.ranks.tolist() == [1.0, 2.5]
    assert (popular.model, knn.model) == ("Popularity", "ItemKNN")


def test_both_rows_are_ranked_without_seen_items_too_and_a_target_seen_before_is_missed() -> None:
    known, users = [[2], [2]], ("a", "b")
    popular, knn = baseline_runs(TRAIN, known, [1, 2], user_ids=users, num_items=5, dataset="toy")
    turned, _ = baseline_runs(
        TRAIN, known, [1, 2], user_ids=users, num_items=5, dataset="toy", keep_seen=False
    )
    assert popular.keep_seen
    assert popular.ranks.tolist() == [2.5, 1.0]  # item 2 is the most popular, 1 and 3 tie
    assert popular.other_ranks.tolist() == [1.5, 4.5]  # behind three items, level with the padding
    assert not turned.keep_seen
    assert turned.ranks.tolist() == popular.other_ranks.tolist()
    assert turned.other_ranks.tolist() == popular.ranks.tolist()
    assert len(knn.other_ranks) == 2


def test_no_user_makes_two_empty_rows() -> None:
    for run in baseline_runs(TRAIN, [], [], user_ids=(), num_items=5, dataset="toy"):
        assert len(run.ranks) == len(run.other_ranks) == 0


def test_batches_change_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    train = [generator.integers(1, 20, 6) for _ in range(40)]
    targets = generator.integers(1, 20, 40)
    users = tuple(map(str, range(40)))
    whole = baseline_runs(train, train, targets, user_ids=users, num_items=20, dataset="toy")
    monkeypatch.setattr("llmrg.evaluation.baselines.BATCH_CELLS", 60)
    parts = baseline_runs(train, train, targets, user_ids=users, num_items=20, dataset="toy")
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.ranks, other.ranks)


def test_items_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(DataError, match=r"0\.\.4"):
        popularity_scores([[5]], 5)
