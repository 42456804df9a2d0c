"""Which interactions are kept: RecBole's two filters by count and its removal of duplicates.

Promise: the same rows survive, in the same order, as when RecBole reads the same file with the settings of
the same names; with none set, every row survives, duplicates included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmrg.data.atomic_table import AtomicTable
from llmrg.errors import DataError, SettingsError

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Filters:
    """RecBole's settings of the same names.

    Args:
        user_inter_num_interval: how many interactions a user must have, such as ``"[5,inf)"``; several
            intervals are joined by ``;``.
        item_inter_num_interval: the same for items.
        rm_dup_inter: keep only the first or last interaction of a user with the same item.
        val_interval: a filter by value; refused.
    """

    user_inter_num_interval: str | None = None
    item_inter_num_interval: str | None = None
    rm_dup_inter: Literal["first", "last"] | None = None
    val_interval: object = None


class Kept(NamedTuple):
    """What survives.

    Args:
        rows: indices of the surviving rows, in the order RecBole leaves them in.
        items: for each item code whether the catalogue keeps it. [items] bool
    """

    rows: Codes
    items: NDArray[np.bool_]


def keep_rows(
    filters: Filters, users: Codes, items: Codes, times: NDArray[np.float64], *, item_count: int
) -> Kept:
    """Apply the filters to coded rows.

    Args:
        filters: what to apply.
        users: user code of each row, [rows].
        items: item code of each row, [rows].
        times: full-precision time of each row, [rows].
        item_count: number of item codes, including catalogue items without a row.

    Raises:
        SettingsError: an interval that cannot be read, an unknown word, or a filter by value.
        DataError: nothing survives.
    """
    if filters.val_interval:
        raise SettingsError(
            "val_interval: graphs would be made of all rows where RecBole trains on some; filter the atomic files",
            name="val_interval",
        )
    rows = np.arange(len(users), dtype=np.int64)
    if filters.rm_dup_inter not in (None, "first", "last"):
        raise SettingsError(
            f"rm_dup_inter: expected first, last or nothing, found {filters.rm_dup_inter!r}",
            name="rm_dup_inter",
        )
    if filters.rm_dup_inter is not None:
        rows = _without_duplicates(rows, users, items, times, keep=filters.rm_dup_inter)
    user_bounds = _parse("user_inter_num_interval", filters.user_inter_num_interval)
    item_bounds = _parse("item_inter_num_interval", filters.item_inter_num_interval)
    kept_items = np.ones(item_count, dtype=np.bool_)
    while True:
        keep = np.ones(len(rows), dtype=np.bool_)
        if user_bounds:
            counts = np.bincount(users[rows])
            keep &= _within(counts, user_bounds)[users[rows]]
        if item_bounds:
            counts = np.bincount(items[rows], minlength=item_count)
            # An item without rows is measured by the lower bound of the first interval only, as in RecBole.
            banned = np.where(counts > 0, ~_within(counts, item_bounds), False) | (
                counts < item_bounds[0].low
            )
            kept_items &= ~banned
            keep &= ~banned[items[rows]]
        if keep.all():
            break
        rows = rows[keep]
    if not len(rows):
        raise DataError(
            f"{filters} leaves no interaction of {len(users)}; widen the intervals or leave them out",
            path=None,
        )
    return Kept(rows, kept_items)


def refuse_unlisted(inter: Path, listing: Path, column: str) -> None:
    """Refuse interactions that RecBole leaves out, by its ``filter_inter_by_user_or_item``, where it loads a file.

    Args:
        inter: the interactions.
        listing: the file of users or items; without one nothing is left out.
        column: of their ids, in both.

    Raises:
        SettingsError: an interaction with an id that is not in ``listing``.
        DataError: a file that cannot be used.
    """
    if not listing.is_file():
        return
    known = set(AtomicTable.read(listing).ids(column))
    unlisted = [name for name in AtomicTable.read(inter).ids(column) if name not in known]
    if unlisted:
        name = "filter_inter_by_user_or_item"
        raise SettingsError(
            f"{name}: RecBole loads {listing} by load_col or selected_features and would leave out {len(unlisted)} "
            f"interactions whose {column} is not in it (first: {unlisted[0]!r}), of which graphs are made; "
            f"set {name}: False, or complete the file",
            name=name,
        )


class _Bounds(NamedTuple):
    low: float
    high: float
    low_included: bool
    high_included: bool


def _parse(name: str, text: str | None) -> list[_Bounds]:
    if text is None:
        return []
    found = []
    for part in str(text).split(";"):  # a yaml file may say anything
        part = part.strip()
        try:
            low, high = (float(end) for end in part[1:-1].split(","))
            if part[0] not in "([" or part[-1] not in ")]" or not low <= high:
                raise ValueError(part)
        except (ValueError, IndexError) as error:
            raise SettingsError(
                f"{name}: expected an interval such as '[5,inf)', found {text!r}", name=name
            ) from error
        found.append(_Bounds(low, high, part[0] == "[", part[-1] == "]"))
    return found


def _within(counts: Codes, bounds: list[_Bounds]) -> NDArray[np.bool_]:
    inside = np.zeros(len(counts), dtype=np.bool_)
    for low, high, low_included, high_included in bounds:
        above = counts >= low if low_included else counts > low
        below = counts <= high if high_included else counts < high
        inside |= above & below
    return inside


def _without_duplicates(
    rows: Codes, users: Codes, items: Codes, times: NDArray[np.float64], *, keep: Literal["first", "last"]
) -> Codes:
    # RecBole sorts by time here with the default sort of pandas, which is not stable; only the same call on
    # the same values leaves ties as RecBole leaves them, and the order of the rows has to be RecBole's.
    by_time = rows[np.argsort(times[rows], kind="quicksort")]
    pairs = users[by_time] * (int(items.max(initial=0)) + 1) + items[by_time]
    if keep == "last":
        pairs = pairs[::-1]
    _, first = np.unique(pairs, return_index=True)
    if keep == "last":
        first = len(pairs) - 1 - first
    kept: Codes = by_time[np.sort(first)]
    return kept
