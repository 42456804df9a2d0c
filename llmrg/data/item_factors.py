"""What goes with a whole history, however long ago it was taken: a linear autoencoder over who took what.

Source: EASE (arXiv 1905.03375), whose item-to-item weights have a closed form; here of low rank, so that it also serves
catalogues whose square matrix would be too large. With the singular values s and right vectors v of the matrix
users × items and the penalty λ,

.. math:: g_k = \\frac{s_k^2}{s_k^2 + \\lambda}, \\qquad
    B_{ij} = \\frac{\\sum_k v_{ik}\\, g_k\\, v_{jk}}{1 - \\sum_k g_k v_{jk}^2} \\quad (i \\ne j)

is EASE's matrix where no rank is cut off.

Promise: deterministic; items that nobody took go with nothing.

Letters: n items, k factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

RANK = 128  # factors kept, at most
PENALTY = 300.0  # λ


@dataclass(frozen=True)
class ItemFactors:
    """Two vectors of each item.

    Args:
        given: as part of a history. [n, k]
        wanted: as what may go with one. [n, k]
    """

    given: FloatArray
    wanted: FloatArray

    def affinity(self, history: IntArray) -> FloatArray:
        """How well every item goes with those of a history; means nothing for items of the history itself. [n]"""
        affinity: FloatArray = self.wanted @ self.given[history].sum(axis=0)
        return affinity


def item_factors(sequences: Sequence[IntArray], num_items: int) -> ItemFactors:
    """The factors behind some users' histories.

    Args:
        sequences: item indexes below ``num_items`` of each user; an item counts once a user.
        num_items: n.
    """
    user = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    item = np.concatenate([np.zeros(0, np.int64), *sequences])
    taken = csr_matrix((np.ones(len(item)), (user, item)), shape=(len(sequences), num_items))
    taken.data[:] = 1.0  # duplicates are added up before
    smaller = min(taken.shape)
    if smaller <= RANK:
        _, size, right = np.linalg.svd(taken.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(0).standard_normal(smaller)
        _, size, right = svds(taken, k=RANK, v0=start)
    gain = np.square(size) / (np.square(size) + PENALTY)
    given = right.T * gain
    wanted = right.T / (1 - (given * right.T).sum(axis=1, keepdims=True))
    return ItemFactors(given.astype(np.float32), wanted.astype(np.float32))
