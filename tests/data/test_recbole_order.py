"""Our order, filters and cut-offs against RecBole's own rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrg.data.atomic_files import Dataset, read_dataset
from llmrg.data.filters import Filters
from llmrg.errors import DataError

HEADER = "user_id:token\titem_id:token\ttimestamp:float"


def expect_equal(ours: Dataset, theirs: Any) -> None:
    """Every user's known items, training part and hidden target are RecBole's."""
    assert {h.user_id for h in ours.histories} == set(theirs.users)
    compared = 0
    for history in ours.histories:
        if history.user_id not in theirs.first:  # one item: no row
            assert len(history) == history.train_length == 1
            continue
        sequence = theirs.sequence(history.user_id)
        hidden = theirs.test.get(history.user_id, [])
        assert list(history.item_ids) == sequence[: len(sequence) - len(hidden)]
        assert list(history.train_item_ids) == [
            theirs.first[history.user_id],
            *theirs.train[history.user_id],
        ]
        compared += 1
    assert compared


def write_random(
    write_dataset: Callable[..., Path], seed: int, *, users: int = 30, items: int = 25, rows: int = 300
) -> Path:
    """Unsorted rows with ties, near-ties within one float32 step, and duplicates; users of every length."""
    rng = np.random.default_rng(seed)
    chosen = np.minimum(rng.integers(users, size=rows), rng.integers(users, size=rows))
    bought = np.minimum(rng.integers(items, size=rows), rng.integers(items, size=rows))
    times = 880_000_000 + rng.integers(0, 2000, size=rows)
    lines = [f"u{u}\ti{i}\t{t}" for u, i, t in zip(chosen, bought, times, strict=True)]
    catalog = [f"i{i}\tItem {i}" for i in range(items + 5)]
    return write_dataset([HEADER, *lines], item=["item_id:token\ttitle:token_seq", *catalog])


def test_ml_100k_equals_recbole_row_for_row(recbole_split: Callable[..., Any]) -> None:
    ours = read_dataset(None, "ml-100k")
    assert (len(ours.histories), len(ours.catalog)) == (943, 1682)
    expect_equal(ours, recbole_split(None, "ml-100k"))


def test_ml_100k_equals_recbole_also_without_its_scaling_of_times(
    recbole_split: Callable[..., Any],
) -> None:
    ours = read_dataset(None, "ml-100k", normalize_time=False)
    expect_equal(ours, recbole_split(None, "ml-100k", normalize_all=False))


@pytest.mark.parametrize("normalize", [False, True])
def test_a_full_precision_sort_would_order_ml_100k_otherwise(normalize: bool) -> None:
    ours = read_dataset(None, "ml-100k", normalize_time=normalize)
    assert any(list(h.timestamps) != sorted(h.timestamps) for h in ours.histories)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_unsorted_rows_with_ties_equal_recbole(
    seed: int, normalize: bool, write_dataset: Callable[..., Path], recbole_split: Callable[..., Any]
) -> None:
    path = write_random(write_dataset, seed)
    ours = read_dataset(path, "toy", normalize_time=normalize)
    expect_equal(ours, recbole_split(path, "toy", normalize_all=normalize))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9])
def test_leave_one_out_of_any_length_equals_recbole(
    length: int, write_dataset: Callable[..., Path], recbole_split: Callable[..., Any]
) -> None:
    lines = [f"u\ti{k}\t{k}" for k in range(length)] + [f"v\ti{k}\t{k}" for k in range(6)]
    path = write_dataset([HEADER, *lines])
    expect_equal(read_dataset(path, "toy"), recbole_split(path, "toy"))


@pytest.mark.parametrize(
    "filters",
    [
        Filters(user_inter_num_interval="[5,inf)", item_inter_num_interval="[5,inf)"),
        Filters(user_inter_num_interval="[8,inf)"),
        Filters(item_inter_num_interval="(12,20]"),
        Filters(user_inter_num_interval="[2,6];(15,inf)", item_inter_num_interval="[0,30]"),
        Filters(rm_dup_inter="first"),
        Filters(rm_dup_inter="last"),
        Filters(rm_dup_inter="first", user_inter_num_interval="[5,inf)", item_inter_num_interval="[5,inf)"),
    ],
)
@pytest.mark.parametrize("with_items", [False, True])
def test_filters_equal_recbole(
    filters: Filters,
    with_items: bool,
    write_dataset: Callable[..., Path],
    recbole_split: Callable[..., Any],
) -> None:
    path = write_random(write_dataset, seed=7)
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    if with_items:
        columns["item"] = ["item_id", "title"]
    theirs = recbole_split(path, "toy", load_col=columns, **vars(filters))
    ours = read_dataset(path, "toy", filters=filters)
    expect_equal(ours, theirs)
    if with_items:
        assert set(ours.catalog) == theirs.catalog


def test_filters_that_leave_nothing_are_an_error(write_dataset: Callable[..., Path]) -> None:
    path = write_dataset([HEADER, "u\ti\t1"])
    with pytest.raises(DataError, match=r"leaves no interaction of 1"):
        read_dataset(path, "toy", filters=Filters(user_inter_num_interval="[5,inf)"))
