"""Stretches of other users' histories in which several of the newest items stand near each other, and what is around.

Counts of pairs say what follows each item by itself; a stretch that holds three of the items at once says more than
three pairs from three users. This is nearest neighbours over sequences, as session-based recommenders have them
(VS-kNN, arXiv 1803.09587), with a stretch of a history in the place of a session.

Promise (law 1): training parts alone are searched, and none of the asker's own fold.

Letters: n items, M interactions of all training parts, S items asked about, K stretches, W offsets around a hit.
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
STRETCHES = 500  # the best are kept
HITS = 4096  # occurrences looked at per item, evenly spread over the users
BACKWARD = 0.5  # what came before a hit says half of what came after it, as in the pair counts


class SequenceNeighbours:
    """The training parts of all users, searchable by item.

    Args:
        sequences: training part of each user, item indexes below ``num_items``, oldest first.
        folds: fold of each user.
        num_items: n.
    """

    def __init__(self, sequences: Sequence[IntArray], folds: Sequence[int], num_items: int) -> None:
        self._items = np.concatenate([np.zeros(0, np.int64), *sequences])  # [M]
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        end = np.cumsum(lengths)
        user = np.repeat(np.arange(len(lengths)), lengths)
        self._begin, self._end = (end - lengths)[user], end[user]  # of the own history; [M]
        self._fold = np.asarray(folds, dtype=np.int64)[user]  # [M]
        self._place = np.argsort(self._items, kind="stable")  # interactions by item; [M]
        self._first = np.searchsorted(self._items[self._place], np.arange(num_items + 1))
        self._users = Counter(folds)
        self._offset = np.delete(np.arange(-REACH, REACH + 1), REACH)
        self._nearness = np.where(self._offset > 0, 1.0, BACKWARD) / (1 + np.abs(self._offset))

    def around(self, items: IntArray, fold: int) -> npt.NDArray[np.float64]:
        """How much stretches that are like the newest of ``items`` hold every item.

        .. math:: s(j) = \\sum_{h} \\Big( \\frac{\\sum_{i \\in h} w_i}{\\sum_i w_i} \\Big)^2 \\; c(p_j - p_h)

        over the best stretches h, taken around each occurrence (hit) of an item asked about that has another one near:
        the share of all their weight that stands in it (at most 1), squared, and less the farther an item stands from
        the hit.

        Args:
            items: item indexes, oldest first, at least one; the newest :data:`NEWEST` are looked for. [S]
            fold: whose users are left out.

        Returns:
            Zero or more for every item; all zero where no two of the items stand near each other anywhere. [n]
        """
        n = len(self._first) - 1
        found = [self._hits(item, fold) for item in dict.fromkeys(items[: -NEWEST - 1 : -1].tolist())]
        users = self._users.total() - self._users[fold]
        rarity = np.log1p(users / np.array([max(len(hits), 1) for hits in found]))
        weight = DECAY ** np.arange(len(found)) * rarity
        found = [_spread(hits) for hits in found]
        hit = np.concatenate(found)
        order = np.argsort(hit, kind="stable")  # hits of one history stand side by side then
        hit, own = hit[order], np.repeat(weight, [len(hits) for hits in found])[order]
        total = np.concatenate([[0.0], np.cumsum(own)])
        start = np.searchsorted(hit, np.maximum(hit - REACH, self._begin[hit]))
        end = np.searchsorted(hit, np.minimum(hit + REACH + 1, self._end[hit]))
        held = np.where(end - start > 1, total[end] - total[start], 0.0)
        best = np.flatnonzero(held)
        if len(best) > STRETCHES:
            best = best[np.argpartition(-held[best], STRETCHES)[:STRETCHES]]
        share = np.minimum(held[best] / max(weight.sum(), 1e-9), 1.0)  # more where a user has an item twice
        place = hit[best][:, None] + self._offset  # [K, W]
        inside = (place >= self._begin[hit[best]][:, None]) & (place < self._end[hit[best]][:, None])
        value = np.square(share)[:, None] * self._nearness
        return np.asarray(np.bincount(self._items[place[inside]], value[inside], minlength=n), np.float64)

    def _hits(self, item: int, fold: int) -> IntArray:
        hits = self._place[self._first[item] : self._first[item + 1]]
        others: IntArray = hits[self._fold[hits] != fold]
        return others


def _spread(hits: IntArray) -> IntArray:
    """At most :data:`HITS` of them, evenly spread."""
    if len(hits) <= HITS:
        return hits
    return hits[np.linspace(0, len(hits) - 1, HITS).astype(np.int64)]
