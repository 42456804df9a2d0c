"""Sentence vectors made comparable: centred, whitened by principal components, of unit length.

Promise: vectors are computed and projected block by block, so memory does not grow with the number of texts
but for the file they end in; the result depends only on the texts and the encoder.

T texts, W width of the encoder, C components kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import DataError

BLOCK = 4096
FLOOR = 1e-6
"""Directions with less than this share of the largest variance are noise: left out instead of blown up."""

Encode = Callable[[Sequence[str]], NDArray[np.floating]]
"""Texts to their vectors. [T] -> [T, W]"""


@dataclass(frozen=True, eq=False)
class Whitening:
    """A projection found on some texts, kept so that later texts get vectors of the same space.

    Args:
        table: the mean, then one direction a row. [C + 1, W]
    """

    table: NDArray[np.float64]

    def __call__(self, vectors: NDArray[np.floating]) -> NDArray[np.float16]:
        """Rows of unit length, or zero where nothing is left of a vector. [T, W] -> [T, C]"""
        white = (vectors.astype(np.float64) - self.table[0]) @ self.table[1:].T
        length = np.linalg.norm(white, axis=1, keepdims=True)
        unit: NDArray[np.float64] = np.divide(white, length, out=np.zeros_like(white), where=length > 0)
        return unit.astype(np.float16)


def whiten(vectors: NDArray[np.floating], components: int) -> NDArray[np.float16]:
    """Whitened vectors of texts that fit into memory.

    Args:
        vectors: [T, W]
        components: C; columns there is no direction for are zero.

    Returns:
        [T, C] float16, rows of unit length, or zero where nothing is left of a vector.

    >>> whiten(np.array([[1.0, 0.0], [-1.0, 0.0]]), 2).tolist()
    [[1.0, 0.0], [-1.0, 0.0]]
    """
    moments = _Moments(vectors.shape[1])
    moments.add(vectors)
    return moments.projection(components)(vectors)


def encode_whitened(
    texts: Sequence[str],
    encode: Encode,
    path: Path,
    *,
    components: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float16], Whitening]:
    """Encode unique texts and write their whitened vectors to ``path``.

    Args:
        texts: unique texts. [T]
        encode: the frozen sentence encoder.
        path: the ``.npy`` file to write; a scratch file lies beside it meanwhile.
        components: C.
        progress: called with texts encoded so far and T.

    Returns:
        The memory-mapped file, [T, C] float16, and how it was projected.

    Raises:
        DataError: the encoder gave other than one finite vector per text.
    """
    if not texts:
        empty = np.zeros((0, components), dtype=np.float16)
        np.save(path, empty)
        return empty, Whitening(np.zeros((components + 1, 0)))
    scratch = path.with_suffix(".scratch.npy")
    raw: NDArray[np.float32] | None = None
    moments: _Moments | None = None
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        vectors = np.asarray(encode(block), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(block) or not np.isfinite(vectors).all():
            gaps = "" if np.isfinite(vectors).all() else " with values that are no numbers"
            raise DataError(
                f"sentence encoder: expected {len(block)} finite vectors, found an array of shape "
                f"{vectors.shape}{gaps}; choose another llmrg.text.encoder"
            )
        if raw is None or moments is None:
            shape = (len(texts), vectors.shape[1])
            raw = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float32, shape=shape)
            moments = _Moments(vectors.shape[1])
        raw[start : start + len(block)] = vectors
        moments.add(vectors)
        if progress is not None:
            progress(min(start + BLOCK, len(texts)), len(texts))
    assert raw is not None
    assert moments is not None
    project = moments.projection(components)
    result = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(texts), components))
    for start in range(0, len(texts), BLOCK):
        result[start : start + BLOCK] = project(raw[start : start + BLOCK])
    result.flush()
    del raw
    scratch.unlink()
    return result, project


class _Moments:
    """Sums from which mean and covariance follow, in double precision."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self.total = np.zeros(width)
        self.outer = np.zeros((width, width))

    def add(self, vectors: NDArray[np.floating]) -> None:
        values = vectors.astype(np.float64)
        self.count += len(values)
        self.total += values.sum(axis=0)
        self.outer += values.T @ values

    def projection(self, components: int) -> Whitening:
        mean = self.total / self.count  # [W]
        covariance = self.outer / self.count - np.outer(mean, mean)  # [W, W]
        variance, directions = np.linalg.eigh(covariance)
        variance, directions = variance[::-1][:components], directions[:, ::-1][:, :components]
        # An eigenvector's sign is arbitrary: make its largest entry positive, so that machines agree.
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(len(variance))])
        useful = variance > max(FLOOR * variance[0], np.finfo(np.float64).tiny)
        scale = np.zeros(len(variance))
        scale[useful] = variance[useful] ** -0.5
        table = np.zeros((components + 1, len(mean)))
        table[0] = mean
        table[1 : len(variance) + 1] = (directions * scale).T
        return Whitening(table)
