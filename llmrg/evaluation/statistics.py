"""Is the difference between two arms more than chance? Paired tests over users.

Promise: users are paired by id, never by position; seeds are averaged within a user before anything is
tested, so that more seeds never pass for more users; every random draw comes from the generator that is
passed in, and no step holds more than about :data:`CHUNK_CELLS` numbers at once.

The tests over users ask whether the *trained models at hand* differ over users like these. They do not cover the
luck of another training: :func:`seed_p_value` asks that, of the few seeds there are.

Letters: U users, C columns tested side by side (metrics × arms), R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from llmrg.errors import DataError

Floats = NDArray[np.float64]

CHUNK_CELLS = 2_000_000
"""Most cells of a resampling matrix held at once (16 MB as float64)."""


@dataclass(frozen=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise DataError(f"expected low <= high, found [{self.low}, {self.high}]")


def align_users(user_ids: Sequence[str], values: Floats, *, order: Sequence[str], what: str) -> Floats:
    """``values`` reordered to ``order``, by user id.

    Shapes:
        values [U, ...] → [U, ...]

    Raises:
        DataError: a user twice, or other users than in ``order``.

    >>> align_users(("b", "a"), np.array([2.0, 1.0]), order=("a", "b"), what="run").tolist()
    [1.0, 2.0]
    """
    place = {user_id: index for index, user_id in enumerate(user_ids)}
    if len(place) != len(user_ids):
        raise DataError(f"{what}: expected every user once, found {len(user_ids) - len(place)} repeated")
    missing = [user_id for user_id in order if user_id not in place]
    if missing or len(place) != len(order):
        raise DataError(
            f"{what}: expected the {len(order)} users of the other arm, found {len(place)} users of whom "
            f"{len(order) - len(missing)} are among them (missing, for one: {missing[:1]}); "
            "evaluate all arms on the same users"
        )
    return values[[place[user_id] for user_id in order]]


def mean_over_seeds(by_seed: Mapping[int, Floats]) -> Floats:
    """One value per user: the mean over the seeds.

    Shapes:
        each [U, ...] → [U, ...]
    """
    if not by_seed:
        raise DataError("expected at least one seed, found none")
    return np.asarray(np.mean([by_seed[seed] for seed in sorted(by_seed)], axis=0))


def bootstrap_means(columns: ArrayLike, *, generator: np.random.Generator, resamples: int = 2000) -> Floats:
    """Means of every column over users drawn with replacement; all columns see the same draws.

    Args:
        columns: one row per user.
        generator: source of the draws.
        resamples: number of draws R.

    Shapes:
        columns [U, C] → [R, C]
    """
    table = _table(columns)
    users = len(table)
    means = np.empty((resamples, table.shape[1]))
    for start, stop in _chunks(resamples, users):
        rows = stop - start
        drawn = generator.integers(0, users, size=(rows, users))
        drawn += np.arange(rows)[:, None] * users
        # how often each user was drawn: one matrix product then serves all columns
        counts = np.bincount(drawn.ravel(), minlength=rows * users).reshape(rows, users)
        means[start:stop] = counts.astype(np.float64) @ table / users
    return means


def percentile_interval(samples: ArrayLike, confidence: float = 0.95) -> Interval:
    """The central share of bootstrap samples.

    >>> percentile_interval(np.arange(101), 0.5)
    Interval(low=25.0, high=75.0)
    """
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(np.asarray(samples, dtype=np.float64), [tail, 100 - tail])
    return Interval(float(low), float(high))


def sign_flip_p_values(
    differences: ArrayLike, *, generator: np.random.Generator, permutations: int = 10_000
) -> Floats:
    """Two-sided p-values of "the mean paired difference is zero", one per column.

    Under no difference, each user's difference is as likely as its negative. With so few users that all sign
    patterns fit into ``permutations``, they are enumerated and the p-value is exact; otherwise patterns are
    drawn and ``p = (1 + as extreme) / (1 + drawn)``, which is never zero (Phipson & Smyth 2010).

    Shapes:
        differences [U, C] → [C]

    >>> sign_flip_p_values([[1.0], [2.0], [3.0]], generator=np.random.default_rng(0)).tolist()
    [0.25]
    """
    table = _table(differences)
    users = len(table)
    observed = np.abs(table.sum(axis=0))  # [C]
    # sums of the same numbers in another order differ in the last bits, and must count as equal
    bar = observed - 1e-9 * np.abs(table).sum(axis=0)  # [C]
    extreme = np.zeros(table.shape[1], dtype=np.int64)
    exact = users < 62 and 2**users <= permutations
    total = 2**users if exact else permutations
    for start, stop in _chunks(total, users):
        if exact:
            patterns = np.arange(start, stop, dtype=np.int64)[:, None]
            signs: NDArray[Any] = (patterns >> np.arange(users, dtype=np.int64)) & 1
        else:
            width = -(-users // 64) * 8  # whole words, so that the size of a chunk changes no draw
            drawn = np.frombuffer(generator.bytes((stop - start) * width), dtype=np.uint8)
            signs = np.unpackbits(drawn.reshape(-1, width), axis=1, count=users)
        sums = 2 * (signs.astype(np.float64) @ table) - table.sum(axis=0)  # [R, C]
        extreme += (np.abs(sums) >= bar).sum(axis=0)
    if exact:
        return extreme / total
    return (1 + extreme) / (1 + total)


def seed_p_value(per_seed: Sequence[float]) -> float | None:
    """Two-sided p-value of a t-test of "another training would show no difference", over the seeds.

    Args:
        per_seed: mean difference of each seed.

    Returns:
        None with one seed, which says nothing about another; where all seeds agree exactly, 0, or 1 if on nothing.

    >>> seed_p_value([0.02]), round(seed_p_value([0.01, 0.02, 0.03]), 3)
    (None, 0.074)
    >>> seed_p_value([0.02, 0.02]), seed_p_value([0.0, 0.0])
    (0.0, 1.0)
    """
    if len(per_seed) < 2:
        return None
    if max(per_seed) - min(per_seed) <= 1e-12:
        return 0.0 if abs(per_seed[0]) > 1e-12 else 1.0
    return float(stats.ttest_1samp(per_seed, 0.0).pvalue)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down correction: adjusted p-values of one family, in the order given.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.

    Shapes:
        [C] → [C]

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"expected p-values in 0..1, found {values.min()}..{values.max()}")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted


def cohens_d(differences: ArrayLike) -> float | None:
    """Cohen's d of paired differences: their mean in units of their standard deviation.

    None where it is undefined: fewer than two users, or the same non-zero difference for all.

    >>> cohens_d([1.0, 2.0, 3.0])
    2.0
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return None
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return 0.0 if abs(mean) <= 1e-12 else None
    return mean / spread


def relative_gain(
    difference: float, reference: float, samples: tuple[Floats, Floats], confidence: float = 0.95
) -> tuple[float, Interval] | None:
    """Mean difference over the mean of the reference arm, with its bootstrap interval.

    Args:
        difference: mean paired difference.
        reference: mean of the arm it is compared with.
        samples: bootstrap means of the differences and of the reference, from the same draws.

    Shapes:
        samples ([R], [R])

    Returns:
        Gain and interval as fractions; None where the reference is zero, at hand or in a resample.
    """
    differences, references = samples
    if reference <= 0 or (references <= 0).any():
        return None
    return difference / reference, percentile_interval(differences / references, confidence)


def _table(columns: ArrayLike) -> Floats:
    table = np.asarray(columns, dtype=np.float64)
    if table.ndim != 2 or not len(table):
        raise DataError(f"expected a table [U, C] with at least one user, found shape {table.shape}")
    if not np.isfinite(table).all():
        raise DataError("expected finite values for every user, found NaN or infinity")
    return table


def _chunks(total: int, width: int) -> list[tuple[int, int]]:
    step = max(1, CHUNK_CELLS // max(1, width))
    return [(start, min(total, start + step)) for start in range(0, total, step)]
