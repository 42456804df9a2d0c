"""What follows what: counts over the training parts, and who may be answered from them.

Promise (law 1): only :attr:`~llmrg.data.interactions.UserHistory.train_item_ids` are counted, and what a
user's own sequence contributed never answers that same user. This is done by cross-fitting: a hash puts
every user into one of ``folds`` folds, and :meth:`Cooccurrence.without` holds the counts of all *other*
folds. Counts are integers, so subtracting a fold gives exactly what counting without its users gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import fingerprint, fingerprint_text, seed_from

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

STEP = 5040  # weight of a direct successor; divisible by 1..10, so the usual spans divide without rounding


def fold_of(user_id: str, folds: int) -> int:
    """The fold of a user; depends on the id and the number of folds only.

    >>> 0 <= fold_of("u1", 10) < 10
    True
    """
    return seed_from("fold", user_id) % folds


@dataclass(frozen=True)
class PairTable:
    """Sparse integer counts over ordered item pairs.

    Args:
        key: ``a * n + b``, sorted, unique. [P]
        weight: distance-weighted count of b near a. [P]
        support: distinct users behind the pair. [P]
    """

    key: IntArray
    weight: IntArray
    support: IntArray

    def find(self, key: IntArray) -> tuple[IntArray, IntArray]:
        """Weight and support of the given keys, zero where a pair never occurred. [*], [*]"""
        if not len(self.key):
            return np.zeros_like(key), np.zeros_like(key)
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        hit = self.key[at] == key
        return np.where(hit, self.weight[at], 0), np.where(hit, self.support[at], 0)


@dataclass(frozen=True)
class Neighbours:
    """The items that most notably come near each item, best first; padded with item 0 at score 0.

    Args:
        item: item indexes. [n, K]
        score: ``weight / sqrt(popularity of both)``, 0 where padded. [n, K]
    """

    item: npt.NDArray[np.int32]
    score: FloatArray


class Cooccurrence:
    """Training-part counts with every fold's own share kept apart.

    Args:
        histories: all users; only their training parts are read.
        item_ids: the items that have an index, in order; other items of the histories are appended, sorted.
            One that occurs in held-out positions only has a name and no count.
        folds: number of folds users are hashed into.
        span: steps within which one item counts as following another.
        min_support: distinct users a pair needs before it counts as known.
        neighbours: neighbours kept per item.

    Attributes:
        sequences: training part of each user as item indexes, in order of user ids.
        fold_numbers: fold of each of these users.
    """

    def __init__(
        self,
        histories: Iterable[UserHistory],
        item_ids: Iterable[str],
        *,
        folds: int = 10,
        span: int = 5,
        min_support: int = 2,
        neighbours: int = 50,
    ) -> None:
        histories = sorted(histories, key=lambda history: history.user_id)
        parts = [(history.user_id, history.train_item_ids) for history in histories]
        known = dict.fromkeys(item_ids)
        known.update(dict.fromkeys(sorted({i for h in histories for i in h.item_ids if i not in known})))
        self.item_ids: tuple[str, ...] = tuple(known)
        self.index: dict[str, int] = {item_id: i for i, item_id in enumerate(self.item_ids)}
        self.folds, self.span, self.min_support, self.kept = folds, span, min_support, neighbours
        self.fingerprint = fingerprint(
            {
                "parts": fingerprint_text("\x1f".join((user, *items)) for user, items in parts),
                "items": fingerprint_text(self.item_ids),
                "rule": [folds, span, min_support, neighbours],
            }
        )
        self._fold = {user_id: fold_of(user_id, folds) for user_id, _ in parts}
        self.fold_numbers = fold = [self._fold[user_id] for user_id, _ in parts]
        self.sequences = encoded = [
            np.array([self.index[i] for i in items], dtype=np.int64) for _, items in parts
        ]
        by_fold = [[e for e, f in zip(encoded, fold, strict=True) if f == g] for g in range(folds)]
        self._own = [self._count(sequences) for sequences in by_fold]
        n = len(self.item_ids)
        self._own_popularity: list[IntArray] = [
            np.bincount(np.concatenate([np.zeros(0, np.int64), *sequences]), minlength=n)
            for sequences in by_fold
        ]
        self._total = _merged(self._own)
        self._popularity: IntArray = sum(self._own_popularity, np.zeros(n, np.int64))
        self._without: dict[int, FoldView] = {}

    def __len__(self) -> int:
        return len(self.item_ids)

    def __repr__(self) -> str:
        return f"Cooccurrence({len(self)} items, {len(self._total.key)} pairs, {self.folds} folds)"

    def fold_of(self, user_id: str) -> int:
        """The fold whose users never answer ``user_id``."""
        found = self._fold.get(user_id)
        return fold_of(user_id, self.folds) if found is None else found

    def without(self, fold: int) -> FoldView:
        """The counts of every fold but this one."""
        if fold not in self._without:
            self._without[fold] = FoldView(
                n=len(self),
                popularity=self._popularity - self._own_popularity[fold],
                total=self._total,
                own=self._own[fold],
                min_support=self.min_support,
                kept=self.kept,
            )
        return self._without[fold]

    def _count(self, sequences: Sequence[IntArray]) -> PairTable:
        """Pairs within ``span`` steps: 1/distance forward, half of that backward, in units of 1/(2 STEP)."""
        n = len(self.item_ids)
        keys, weights, users = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for distance in range(1, self.span + 1):
            step = STEP // distance
            for user, items in enumerate(sequences):
                if len(items) <= distance:
                    continue
                a, b = items[:-distance], items[distance:]
                a, b = a[a != b], b[a != b]
                keys += [a * n + b, b * n + a]
                weights += [np.full(len(a), 2 * step, np.int64), np.full(len(a), step, np.int64)]
                users += [np.full(2 * len(a), user, np.int64)]
        key, weight, user_of = np.concatenate(keys), np.concatenate(weights), np.concatenate(users)
        order = np.lexsort((user_of, key))
        key, weight, user_of = key[order], weight[order], user_of[order]
        fresh_key = np.diff(key, prepend=-1) != 0
        fresh_user = fresh_key | (np.diff(user_of, prepend=-1) != 0)
        start = np.flatnonzero(fresh_key)
        if not len(start):
            return PairTable(key, weight, weight.copy())
        return PairTable(
            key[start], np.add.reduceat(weight, start), np.add.reduceat(fresh_user.astype(np.int64), start)
        )


class FoldView:
    """What the users outside one fold did; made by :meth:`Cooccurrence.without`."""

    def __init__(
        self, *, n: int, popularity: IntArray, total: PairTable, own: PairTable, min_support: int, kept: int
    ) -> None:
        self.n, self.popularity, self.min_support, self.kept = n, popularity, min_support, kept
        self._total, self._own = total, own

    @cached_property
    def exists(self) -> npt.NDArray[np.bool_]:
        """Items with a training interaction outside the fold; others may not be imagined yet. [n]"""
        return self.popularity > 0

    def counts(self, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
        """Exact weight (units of 1/(2 STEP)) and support of ordered pairs, broadcast. [*], [*]"""
        key = a * self.n + b
        weight, support = self._total.find(key)
        own_weight, own_support = self._own.find(key)
        return weight - own_weight, support - own_support

    def pairs(self) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
        """All ordered pairs that anybody outside the fold made, by item: a, b, weight in steps, support. [P] each"""
        own_weight, own_support = self._own.find(self._total.key)
        support = self._total.support - own_support
        made = support > 0
        a, b = np.divmod(self._total.key[made], self.n)
        weight = (self._total.weight - own_weight)[made] / (2 * STEP)
        return a, b, weight.astype(np.float32), support[made]

    def score(self, a: IntArray, b: IntArray) -> FloatArray:
        """``weight / sqrt(popularity of both)`` of ordered pairs; 0 under the least support. [*]"""
        weight, support = self.counts(a, b)
        return self._scored(a, b, np.where(support >= self.min_support, weight, 0))

    @cached_property
    def neighbours(self) -> Neighbours:
        """The best-scored partners of every item, ties by index. [n, K]"""
        own_weight, own_support = self._own.find(self._total.key)
        support = self._total.support - own_support
        keep = support >= self.min_support
        a, b = np.divmod(self._total.key[keep], self.n)
        score = self._scored(a, b, (self._total.weight - own_weight)[keep])
        order = np.lexsort((b, -score, a))
        a, b, score = a[order], b[order], score[order]
        first = np.searchsorted(a, np.arange(self.n))
        rank = np.arange(len(a)) - first[a]
        top = rank < self.kept
        item = np.zeros((self.n, self.kept), np.int32)
        scores = np.zeros((self.n, self.kept), np.float32)
        item[a[top], rank[top]], scores[a[top], rank[top]] = b[top], score[top]
        return Neighbours(item, scores)

    @cached_property
    def _root(self) -> npt.NDArray[np.float64]:
        return 1.0 / np.sqrt(np.maximum(self.popularity, 1))

    def _scored(self, a: IntArray, b: IntArray, weight: IntArray) -> FloatArray:
        return (weight / (2 * STEP) * self._root[a] * self._root[b]).astype(np.float32)


def _merged(tables: Sequence[PairTable]) -> PairTable:
    key = np.concatenate([t.key for t in tables])
    unique, inverse = np.unique(key, return_inverse=True)
    weight = np.zeros(len(unique), np.int64)
    support = np.zeros(len(unique), np.int64)
    np.add.at(weight, inverse, np.concatenate([t.weight for t in tables]))
    np.add.at(support, inverse, np.concatenate([t.support for t in tables]))
    return PairTable(unique, weight, support)
