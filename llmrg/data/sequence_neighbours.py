"""Stretches of other users' histories in which several of the newest items stand near each other, and what is around.

Counts of pairs say what follows each item by itself; a stretch that holds three of the items at once says more than
three pairs from three users. This is nearest neighbours over sequences, as session-based recommenders have them
(VS-kNN, arXiv 1803.09587), with a stretch of a history in the place of a session.

Promise (law 1): training parts alone are searched, and none of the asker's own fold. Of an item that a user took more
than once the newest occurrence counts, so that a stretch holds different items.

Letters: n items, M occurrences, S items asked about, K stretches, W offsets around a hit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

NEWEST = 6  # newest items looked for
DECAY = 0.6  # how much less each older one of them weighs
REACH = 10  # positions to either side that belong to a stretch
KEPT = 500  # stretches, the best ones
HITS = 4096  # users looked at per item, drawn once for all items
BACKWARD = 0.5  # what came before a hit says half of what came after it, as in the pair counts


class SequenceNeighbours:
    """The training parts of all users, searchable by item.

    Args:
        sequences: training part of each user, item indexes below ``num_items``, oldest first.
        folds: fold of each user.
        num_items: n.
    """

    def __init__(self, sequences: Sequence[IntArray], folds: Sequence[int], num_items: int) -> None:
        self._items = np.concatenate([np.zeros(0, np.int64), *sequences])
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        end = np.cumsum(lengths)
        user = np.repeat(np.arange(len(lengths)), lengths)
        self._begin, self._end = (end - lengths)[user], end[user]  # of the history each interaction is in
        self._fold = np.asarray(folds, dtype=np.int64)[user]
        self._draw = np.random.default_rng(0).permutation(len(lengths))[user]
        by_item = np.argsort(self._items, kind="stable")  # inside an item by user, inside a user by time
        pair = self._items[by_item] * len(lengths) + user[by_item]
        self._place = by_item[np.append(pair[1:] != pair[:-1], True)[: len(pair)]]  # [M]
        self._first = np.searchsorted(self._items[self._place], np.arange(num_items + 1))
        self._users = Counter(folds)
        self._offset = np.delete(np.arange(-REACH, REACH + 1), REACH)
        self._nearness = np.where(self._offset > 0, 1.0, BACKWARD) / (1 + np.abs(self._offset))

    def around(self, items: IntArray, fold: int) -> npt.NDArray[np.float64]:
        """How much stretches that are like the newest of ``items`` hold every item.

        .. math:: s(j) = \\sum_{h} \\Big( \\frac{\\sum_{i \\in h} w_i}{\\sum_i w_i} \\Big)^2 \\; c(p_j - p_h), \\qquad
            w_i = 0.6^{a_i} \\log\\Big(1 + \\frac{U}{U_i}\\Big), \\qquad c(d) = \\frac{1}{1 + |d|}

        over the best stretches h, taken around each occurrence (hit, at p_h) of an item asked about that has another
        one near: the share of all their weight that stands in it, squared, and less the farther an item stands from
        the hit (half as much before it, nothing beyond :data:`REACH`). An item of age a (0: the newest) that U_i of the
        U users outside the fold took weighs w; one that nobody there took weighs nothing.

        Args:
            items: item indexes, oldest first, at least one; the newest :data:`NEWEST` are looked for. [S]
            fold: whose users are left out.

        Returns:
            Zero or more for every item; all zero where no two of the items stand near each other anywhere. [n]
        """
        found = [self._outside(item, fold) for item in dict.fromkeys(items[: -NEWEST - 1 : -1].tolist())]
        takers = np.array([len(hits) for hits in found])
        users = self._users.total() - self._users[fold]
        rarity = np.where(takers > 0, np.log1p(users / np.maximum(takers, 1)), 0.0)
        weight = DECAY ** np.arange(len(found)) * rarity  # [S]
        drawn = [self._drawn(hits) for hits in found]
        unsorted = np.concatenate(drawn)
        order = np.argsort(unsorted, kind="stable")  # hits of one history stand side by side then
        hit, own = unsorted[order], np.repeat(weight, [len(hits) for hits in drawn])[order]
        total = np.concatenate([[0.0], np.cumsum(own)])
        low = np.searchsorted(hit, np.maximum(hit - REACH, self._begin[hit]))
        high = np.searchsorted(hit, np.minimum(hit + REACH + 1, self._end[hit]))
        held = np.where(high - low > 1, np.round(total[high] - total[low], 9), 0.0)
        best = _highest(held, KEPT)
        share = held[best] / max(weight.sum(), 1e-9)
        place = hit[best][:, None] + self._offset  # [K, W]
        inside = (place >= self._begin[hit[best]][:, None]) & (place < self._end[hit[best]][:, None])
        value = np.square(share)[:, None] * self._nearness
        near = self._items[place[inside]]
        return np.asarray(np.bincount(near, value[inside], minlength=len(self._first) - 1), np.float64)

    def _outside(self, item: int, fold: int) -> IntArray:
        """Where users outside a fold took an item."""
        hits = self._place[self._first[item] : self._first[item + 1]]
        others: IntArray = hits[self._fold[hits] != fold]
        return others

    def _drawn(self, hits: IntArray) -> IntArray:
        """At most :data:`HITS` of them: of the users drawn first, so that those who took two items are in both."""
        if len(hits) <= HITS:
            return hits
        drawn: IntArray = hits[np.argsort(self._draw[hits])[:HITS]]
        return drawn


def _highest(values: npt.NDArray[np.float64], count: int) -> IntArray:
    """Where the highest positive values are, of equal ones the first. [<= count]"""
    positive = np.flatnonzero(values > 0)
    if len(positive) <= count:
        return positive
    found = values[positive]
    cut = np.partition(found, -count)[-count]
    above, level = positive[found > cut], positive[found == cut]
    return np.concatenate([above, level[: count - len(above)]])
