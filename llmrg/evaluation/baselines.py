"""Popularity and ItemKNN: the two rows no comparison may lack (Ferrari Dacrema et al., RecSys 2019).

Promise: both learn from the training part only, know no order and no time, and are ranked by the same
function as every other model.

Letters: B users in a batch, U users, V items, E interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from llmrg.errors import DataError
from llmrg.evaluation.metrics import Floats, Ranks, ranks_of_targets
from llmrg.evaluation.runs import UNTRAINED_ARM, RunResult

Sequences = Sequence[ArrayLike]
"""One integer array of item columns per user, oldest first."""

BATCH_CELLS = 4_000_000


def popularity_scores(train_sequences: Sequences, num_items: int) -> Floats:
    """Number of users who have each item in their training part; the same scores serve every user.

    Shapes:
        → [V]

    >>> popularity_scores([[1, 2, 2], [2]], 4).tolist()
    [0.0, 1.0, 2.0, 0.0]
    """
    return np.asarray(_user_item(train_sequences, num_items).sum(axis=0), dtype=np.float64).ravel()


def item_similarity(
    train_sequences: Sequences, num_items: int, *, shrinkage: float = 10.0, neighbours: int = 100
) -> sparse.csr_matrix:
    """Shrunk cosine similarity of items over the users who have them.

    .. math:: s_{ij} = n_{ij} / (\\sqrt{n_i n_j} + shrinkage)

    Args:
        train_sequences: training part of every user.
        num_items: columns V.
        shrinkage: pulls pairs with few users towards zero.
        neighbours: most similar items kept per item; ties are resolved by item order.

    Shapes:
        → [V, V], sparse, zero diagonal
    """
    matrix = _user_item(train_sequences, num_items)  # [U, V]
    users_of, counts = matrix.T.tocsr(), np.asarray(matrix.sum(axis=0)).ravel()  # [V, U], [V]
    step = max(1, BATCH_CELLS // num_items)
    parts = []
    for start in range(0, num_items, step):
        together = (users_of[start : start + step] @ matrix).tocoo()  # [step, V]
        other = together.row + start != together.col
        row, col, shared = together.row[other], together.col[other], together.data[other]
        similarity = shared / (np.sqrt(counts[row + start] * counts[col]) + shrinkage)
        order = np.lexsort((col, -similarity, row))
        row, col, similarity = row[order], col[order], similarity[order]
        starts = np.searchsorted(row, np.arange(together.shape[0]))
        kept = np.arange(len(row)) - starts[row] < neighbours
        part = (similarity[kept], (row[kept], col[kept]))
        parts.append(sparse.csr_matrix(part, shape=together.shape))
    return sparse.csr_matrix(sparse.vstack(parts))


def item_knn_scores(similarity: sparse.csr_matrix, histories: Sequences) -> Floats:
    """Sum of the similarities of every item to the items of each history.

    Args:
        similarity: from :func:`item_similarity`.
        histories: what is known of each user when the target is ranked.

    Shapes:
        similarity [V, V] → [B, V]
    """
    known = _user_item(histories, similarity.shape[0])  # [B, V]
    return np.asarray((known @ similarity.T).todense(), dtype=np.float64)


def baseline_runs(
    train_sequences: Sequences,
    histories: Sequences,
    targets: ArrayLike,
    *,
    user_ids: Sequence[str],
    num_items: int,
    dataset: str,
    keep_seen: bool = True,
    padding: int | None = 0,
) -> tuple[RunResult, RunResult]:
    """Popularity and ItemKNN, ranked like every other model.

    Args:
        train_sequences: training part of every user: what both learn from.
        histories: everything before each target.
        targets: column of each user's test target.
        user_ids: external ids, in the order of ``histories``.
        num_items: columns V, padding included.
        dataset: name for the table.
        keep_seen: whether items of the history are in the ranking that is reported first.
        padding: column that is no item and must not compete; None where there is none.

    Shapes:
        targets [U]
    """
    column: NDArray[Any] = np.asarray(targets)
    popularity = popularity_scores(train_sequences, num_items)
    similarity = item_similarity(train_sequences, num_items)
    if padding is not None:
        popularity[padding] = -np.inf
    step = max(1, BATCH_CELLS // num_items)
    popular: list[Ranks] = []
    knn: list[Ranks] = []
    for start in range(0, len(column), step):
        rows = slice(start, start + step)
        scores = item_knn_scores(similarity, histories[rows])
        if padding is not None:
            scores[:, padding] = -np.inf
        knn.append(ranks_of_targets(scores, column[rows], histories[rows]))
        same = np.broadcast_to(popularity, scores.shape)
        popular.append(ranks_of_targets(same, column[rows], histories[rows]))

    def run(model: str, parts: list[Ranks]) -> RunResult:
        none = np.empty(0)
        ranks = Ranks(
            np.concatenate([none, *(part.kept for part in parts)]),
            np.concatenate([none, *(part.left_out for part in parts)]),
        )
        return untrained_run(model, dataset, user_ids, ranks, keep_seen)

    return run("Popularity", popular), run("ItemKNN", knn)


def untrained_run(
    model: str, dataset: str, user_ids: Sequence[str], ranks: Ranks, keep_seen: bool
) -> RunResult:
    """A row of a table that took no training."""
    return RunResult(
        UNTRAINED_ARM,
        model,
        dataset,
        seed=0,
        user_ids=tuple(user_ids),
        ranks=ranks.of(keep_seen),
        keep_seen=keep_seen,
        other_ranks=ranks.of(not keep_seen),
    )


def _user_item(sequences: Sequences, num_items: int) -> sparse.csr_matrix:
    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    lengths = [len(array) for array in arrays]
    columns = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)  # [E]
    if columns.size and (columns.min() < 0 or columns.max() >= num_items):
        raise DataError(f"expected items in 0..{num_items - 1}, found {columns.min()}..{columns.max()}")
    rows = np.repeat(np.arange(len(arrays)), lengths)
    matrix = sparse.csr_matrix((np.ones(len(columns)), (rows, columns)), shape=(len(arrays), num_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0  # a user counts once, however often they came back
    return matrix
