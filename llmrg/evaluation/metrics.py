"""Metrics per user, computed from the rank of each user's target among all items.

Promise: one number per user comes first and an aggregate is only its mean, so that every figure of a report
can be paired, resampled and tested. Ties count half, so that a model with constant scores ranks every target
in the middle and cannot win. Source of the protocol: Krichene & Rendle (KDD 2020), rank all items, sample
none.

Letters: B users in a batch, U users, V items, K cut-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmrg.errors import DataError, SettingsError

Floats = NDArray[np.float64]

FAMILIES = ("hr", "ndcg", "mrr")
CUTOFFS = (5, 10, 20)
METRICS: tuple[str, ...] = tuple(f"{family}@{cutoff}" for family in FAMILIES for cutoff in CUTOFFS)
"""Every metric of a report, in the order of its tables."""
HEADLINE_METRIC = "ndcg@10"
"""The one that chooses epochs and settings, that groups are looked at by, and that sentences speak of."""


def per_user(metric: str, ranks: ArrayLike) -> Floats:
    """The value of one metric for every user.

    .. math::
        hr@K = [r \\le K] \\qquad ndcg@K = [r \\le K] / \\log_2(1 + r) \\qquad mrr@K = [r \\le K] / r

    Args:
        metric: one of :data:`METRICS`.
        ranks: rank of each user's one target, 1 = best; half-integers where scores tie.

    Shapes:
        ranks [U] → [U]

    Raises:
        SettingsError: a metric nobody defined.
        DataError: a rank under 1, or one that is not a multiple of a half.

    >>> per_user("mrr@5", [1, 2, 6]).tolist()
    [1.0, 0.5, 0.0]
    """
    if metric not in METRICS:
        raise SettingsError.unknown(metric, METRICS, where="metrics")
    family, cutoff = metric.split("@")
    checked = checked_ranks(ranks)  # [U]
    if family == "hr":
        gains = np.ones_like(checked)
    elif family == "ndcg":
        gains = 1.0 / np.log2(1.0 + checked)
    else:
        gains = 1.0 / checked
    return np.where(checked <= int(cutoff), gains, 0.0)


def mean_of(metric: str, ranks: ArrayLike) -> float:
    """The mean of :func:`per_user`; 0 users have no mean.

    Raises:
        DataError: no user at all, or a rank that cannot be one.

    >>> mean_of("hr@5", [1, 5, 5.5, 9])
    0.5
    """
    values = per_user(metric, ranks)
    if not len(values):
        raise DataError(f"{metric}: expected the rank of at least one user, found none")
    return float(values.mean())


def rank_of_target(scores: ArrayLike, target: ArrayLike) -> Floats:
    """Rank of every row's target among all its scores, ties counted half.

    ``1 + (items with a greater score) + 0.5 · (other items with the same score)``. An item that must not
    compete (padding) carries −∞.

    Args:
        scores: one row per user, one column per item; any number but NaN.
        target: column of each row's target.

    Shapes:
        scores [B, V], target [B] → [B]

    Raises:
        DataError: shapes that do not fit, a target outside the columns, or NaN among the scores.

    >>> rank_of_target([[0.1, 0.9, 0.5], [0.0, 0.0, 0.0]], [2, 0]).tolist()
    [2.0, 2.0]
    """
    table: NDArray[Any] = np.asarray(scores)  # [B, V]
    columns: NDArray[Any] = np.asarray(target)  # [B]
    if table.ndim != 2 or columns.shape != table.shape[:1]:
        raise DataError(f"expected scores [B, V] and target [B], found {table.shape} and {columns.shape}")
    if not len(columns):
        return np.empty(0)
    if columns.min() < 0 or columns.max() >= table.shape[1]:
        raise DataError(
            f"expected targets in 0..{table.shape[1] - 1}, found {columns.min()}..{columns.max()}"
        )
    bad = np.isnan(table).any(axis=1)  # [B]
    if bad.any():
        raise DataError(
            f"expected scores without NaN, found NaN in {int(bad.sum())} of {len(table)} rows "
            f"(first: row {int(bad.argmax())}); the model has diverged"
        )
    own = np.take_along_axis(table, columns[:, None].astype(np.int64), axis=1)  # [B, 1]
    greater = (table > own).sum(axis=1)  # [B]
    same = (table == own).sum(axis=1) - 1  # [B]
    return np.asarray(1.0 + greater + 0.5 * same, dtype=np.float64)


class Ranks(NamedTuple):
    """Ranks of the same targets, among all items and among those that are not in the user's history. [U] each"""

    kept: Floats
    left_out: Floats

    def of(self, keep_seen: bool) -> Floats:
        """Those of one of the two protocols."""
        return self.kept if keep_seen else self.left_out


def ranks_of_targets(scores: Floats, target: ArrayLike, seen: Sequence[ArrayLike]) -> Ranks:
    """:func:`rank_of_target` with seen items in the ranking, and without them; a target seen before is then missed.

    Args:
        scores: one row per user, one column per item.
        target: column of each row's target.
        seen: columns of each user's history.

    Shapes:
        scores [B, V], target [B]

    >>> ranks = ranks_of_targets(np.array([[0.1, 0.9, 0.5]]), [2], [[1]])
    >>> ranks.kept.tolist(), ranks.left_out.tolist()
    ([2.0], [1.0])
    """
    kept = rank_of_target(scores, target)
    unseen = scores.copy()
    for row, columns in enumerate(seen):
        unseen[row, np.asarray(columns, dtype=np.int64)] = -np.inf
    return Ranks(kept, rank_of_target(unseen, target))


def checked_ranks(ranks: ArrayLike) -> Floats:
    """``ranks`` as float64, or a clear error.

    Raises:
        DataError: not one-dimensional, NaN, under 1, or not a multiple of a half.
    """
    values = np.asarray(ranks, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"expected one rank per user [U], found shape {values.shape}")
    # NaN and infinity fail the comparisons too, so one mask covers all
    good = (values >= 1) & np.isfinite(values) & (np.rint(2 * values) == 2 * values)
    if not good.all():
        first = int(np.argmin(good))
        raise DataError(
            f"expected ranks of 1, 1.5, 2, …, found {values[first]} at index {first} "
            f"({int((~good).sum())} of {len(values)} are no ranks)"
        )
    return values
