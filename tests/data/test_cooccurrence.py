"""Fold exclusion is exact, and held-out items count for nothing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.data.cooccurrence import STEP, Cooccurrence, fold_of
from llmrg.data.interactions import UserHistory

ITEMS = [f"i{n}" for n in range(8)]
SEQUENCES = st.lists(st.lists(st.sampled_from(ITEMS), max_size=9), min_size=1, max_size=12)


def _histories(sequences):
    return [UserHistory(f"u{n}", tuple(s), len(s)) for n, s in enumerate(sequences)]


@settings(max_examples=60)
@given(SEQUENCES, st.integers(1, 6))
def test_excluding_a_fold_equals_counting_without_its_users(sequences, span):
    histories = _histories(sequences)
    both = Cooccurrence(histories, ITEMS, folds=3, span=span, min_support=1, neighbours=4)
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(8), np.arange(8)))
    for fold in range(3):
        others = [h for h in histories if fold_of(h.user_id, 3) != fold]
        alone = Cooccurrence(others, ITEMS, folds=3, span=span, min_support=1, neighbours=4).without(fold)
        view = both.without(fold)
        assert np.array_equal(view.popularity, alone.popularity)
        for found, expected in zip(view.counts(a, b), alone.counts(a, b), strict=True):
            assert np.array_equal(found, expected)
        assert np.array_equal(view.neighbours.item, alone.neighbours.item)
        assert np.array_equal(view.neighbours.score, alone.neighbours.score)


@settings(max_examples=30)
@given(SEQUENCES)
def test_counts_agree_with_counting_by_hand(sequences):
    histories = _histories(sequences)
    found = Cooccurrence(histories, ITEMS, folds=2, span=2, min_support=1)
    for fold in range(2):
        expected = np.zeros((8, 8), np.int64)
        users = [[set() for _ in ITEMS] for _ in ITEMS]
        for h in histories:
            if fold_of(h.user_id, 2) == fold:
                continue
            at = [ITEMS.index(i) for i in h.item_ids]
            for i, a in enumerate(at):
                for distance in (1, 2):
                    if i + distance < len(at) and (b := at[i + distance]) != a:
                        expected[a, b] += 2 * STEP // distance
                        expected[b, a] += STEP // distance
                        users[a][b].add(h.user_id)
                        users[b][a].add(h.user_id)
        a, b = (grid.ravel() for grid in np.meshgrid(np.arange(8), np.arange(8), indexing="ij"))
        weight, support = found.without(fold).counts(a, b)
        assert np.array_equal(weight.reshape(8, 8), expected)
        assert support.reshape(8, 8).tolist() == [[len(s) for s in row] for row in users]


def test_sequences_hold_the_training_parts_alone():
    histories = [UserHistory("u1", ("i3", "i1", "canary"), 2), UserHistory("u0", ("i0", "canary"), 1)]
    found = Cooccurrence(histories, [*ITEMS, "canary"], folds=2)
    assert [sequence.tolist() for sequence in found.sequences] == [[0], [3, 1]]
    assert found.fold_numbers == [fold_of("u0", 2), fold_of("u1", 2)]


def test_an_item_seen_only_in_held_out_positions_does_not_exist():
    histories = [UserHistory(f"u{n}", ("i0", "i1", "canary"), 2) for n in range(9)]
    found = Cooccurrence(histories, [*ITEMS, "canary"], folds=2, min_support=1)
    canary = found.index["canary"]
    for fold in range(2):
        view = found.without(fold)
        assert not view.exists[canary]
        assert not (view.neighbours.item == canary).any()
    assert (
        found.fingerprint
        == Cooccurrence(
            [UserHistory(h.user_id, (*h.item_ids[:2], "i7"), 2) for h in histories],
            [*ITEMS, "canary"],
            folds=2,
            min_support=1,
        ).fingerprint
    )


def test_the_order_of_users_changes_nothing():
    histories = _histories([["i0", "i1", "i2"], ["i2", "new"], ["i1", "i0"]])
    one, other = (Cooccurrence(h, ITEMS, min_support=1) for h in (histories, histories[::-1]))
    assert one.fingerprint == other.fingerprint
    assert one.item_ids == other.item_ids
    assert np.array_equal(one.without(0).neighbours.item, other.without(0).neighbours.item)


def test_popularity_is_counted_by_folds_and_not_by_users(monkeypatch):
    counted, count = [], np.bincount

    def noting(*given, **named):
        found = count(*given, **named)
        counted.append(len(found))
        return found

    monkeypatch.setattr(np, "bincount", noting)
    found = Cooccurrence(_histories([["i0", "i1", "i0"]] * 40), ITEMS, folds=3)
    assert sum(counted) <= 3 * len(ITEMS)
    for fold in range(3):
        others = sum(fold_of(f"u{n}", 3) != fold for n in range(40))
        assert found.without(fold).popularity.tolist() == [2 * others, others, *[0] * 6]


def test_a_pair_with_too_little_support_has_no_score():
    histories = _histories([["i0", "i1"], ["i2", "i3"], ["i2", "i3"], ["i2", "i3"]])
    view = Cooccurrence(histories, ITEMS, folds=2, min_support=2).without(fold_of("u0", 2))
    assert view.score(np.array([0]), np.array([1]))[0] == 0
    assert not (view.neighbours.score[0] > 0).any()
