"""The order of a user's rows: RecBole's, with its rounding.

Promise: row for row the order in which RecBole 1.2 lays out a user's sequence. RecBole holds times as float32
and sorts stably, so two times within one float32 step are a tie and stay in file order: 64 s for Unix times,
about a second on ml-100k, whose times RecBole's own settings scale to [0, 1] (``normalize_all``). Sorted at
full precision, some users' items would stand in another order than in the rows the model is trained on, and a
held-out item could slip into a history.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def rows_of_first_users(rows: Rows, users: NDArray[np.int64], limit: int | None) -> Rows:
    """The rows of the first users, in the order of their first row.

    Args:
        rows: indices of rows, in order. [rows]
        users: user code of every row of the file.
        limit: how many users; None for all.

    >>> rows_of_first_users(np.array([0, 1, 2, 3]), np.array([7, 5, 7, 3]), 2).tolist()
    [0, 1, 2]
    """
    if limit is None:
        return rows
    codes, first = np.unique(users[rows], return_index=True)
    chosen = codes[np.argsort(first)][:limit]
    return rows[np.isin(users[rows], chosen)]


def rounded_times(times: NDArray[np.float64], *, normalize: bool) -> NDArray[np.float32]:
    """Times as RecBole holds them.

    Args:
        times: of all rows that are kept. [rows]
        normalize: scale them to [0, 1] first.
    """
    if normalize and len(times):
        low, high = times.min(), times.max()
        times = (times - low) / (high - low) if high > low else np.ones_like(times)
    return times.astype(np.float32)


def rows_by_user(
    rows: Rows, users: NDArray[np.int64], times: NDArray[np.float64], *, normalize: bool
) -> list[Rows]:
    """The rows of each user, oldest first; users in the order of their first row.

    Args:
        rows: indices of rows, in the order that decides ties. [rows]
        users: user code of every row of the file.
        times: full-precision time of every row of the file.
        normalize: scale the times of ``rows`` to [0, 1] before rounding.

    >>> times = np.array([880000001.0, 880000000.0, 879999000.0])  # the first two are one float32
    >>> [found.tolist() for found in rows_by_user(np.arange(3), np.zeros(3, int), times, normalize=False)]
    [[2, 0, 1]]
    """
    _, first, inverse = np.unique(users[rows], return_index=True, return_inverse=True)
    order = np.lexsort((rounded_times(times[rows], normalize=normalize), first[inverse]))
    starts = np.flatnonzero(np.diff(first[inverse][order], prepend=-1))
    return np.split(rows[order], starts[1:])
