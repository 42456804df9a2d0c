"""What goes with a whole history, however long ago it was taken: a linear autoencoder over who took what.

Source: EASE (arXiv 1905.03375), whose item-to-item weights have a closed form; here of low rank, so that it also serves
catalogues whose square matrix would be too large. With the singular values s and right vectors v of the matrix
users × items and the penalty λ,

.. math:: g_k = \\frac{s_k^2}{s_k^2 + \\lambda}, \\qquad
    B_{ij} = \\frac{\\sum_k v_{ik}\\, g_k\\, v_{jk}}{1 - \\sum_k g_k v_{jk}^2} \\quad (i \\ne j)

is EASE's matrix where no rank is cut off.

Promise: the same histories give the same factors; items that nobody took go with nothing. A catalogue of n items
costs 512 n bytes.

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
DENSE = 2048  # users or items up to which all factors are computed, which needs no starting vector
LEAST = 1e-9  # share of the largest squared singular value under which one is rounding


@dataclass(frozen=True)
class ItemFactors:
    """The factors of a catalogue.

    Args:
        vectors: right singular vectors v. [n, k]
        gain: g. [k]
        rest: the denominators of B. [n]
    """

    vectors: FloatArray
    gain: FloatArray
    rest: FloatArray

    def affinity(self, history: IntArray) -> FloatArray:
        """How well every item goes with those of a history; means nothing for items of the history itself. [n]"""
        affinity: FloatArray = self.vectors @ (self.gain * self.vectors[history].sum(axis=0)) / self.rest
        return affinity


def item_factors(sequences: Sequence[IntArray], num_items: int) -> ItemFactors:
    """The factors behind some users' histories.

    Args:
        sequences: item indexes below ``num_items`` of each user; an item counts once a user.
        num_items: n.
    """
    user = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    item = np.concatenate([np.zeros(0, np.int64), *sequences])
    if not len(item):
        nothing = np.zeros((num_items, 0), np.float32)
        return ItemFactors(nothing, np.zeros(0, np.float32), np.ones(num_items, np.float32))
    taken = csr_matrix((np.ones(len(item)), (user, item)), shape=(len(sequences), num_items))
    taken.data[:] = 1.0  # duplicates are added up before
    square, vectors = _dense_factors(taken) if min(taken.shape) <= DENSE else _largest_factors(taken)
    vectors[np.bincount(item, minlength=num_items) == 0] = 0
    gain = square / (square + PENALTY)
    rest = 1 - np.square(vectors) @ gain
    return ItemFactors(vectors.astype(np.float32), gain.astype(np.float32), rest.astype(np.float32))


def _dense_factors(taken: csr_matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Squared singular values [k] and right vectors [n, k], by way of the smaller square matrix."""
    users, items = taken.shape
    by_item = items <= users
    square, vectors = np.linalg.eigh((taken.T @ taken if by_item else taken @ taken.T).toarray())
    kept = np.flatnonzero(square > LEAST * square[-1])[::-1][:RANK]  # eigh has the largest last
    square, vectors = square[kept], vectors[:, kept]
    return square, vectors if by_item else taken.T @ vectors / np.sqrt(square)


def _largest_factors(taken: csr_matrix) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The same of a matrix that is large either way."""
    start = np.random.default_rng(0).standard_normal(min(taken.shape))
    _, size, right = svds(taken, k=RANK, v0=start)
    return np.square(size), right.T
