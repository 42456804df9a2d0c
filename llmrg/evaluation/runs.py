"""One trained model, evaluated: what it ranked where, how it learned, what it took.

Promise: a :class:`RunResult` holds one valid rank per user, each user once. Users and ranks are written to an
``.npz`` that is read without pickles; everything else is JSON.

Letters: U users.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from llmrg.errors import DataError
from llmrg.evaluation.metrics import Floats, checked_ranks

DAMAGED = (
    *(OSError, EOFError, BadZipFile, zlib.error, TokenError),
    *(KeyError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError),
)
"""What reading a damaged ``.npz`` can end in: a flipped bit may lie in its zip, its streams or its headers."""
UNTRAINED_ARM = "baseline"
"""The arm of rows that need no training: Popularity, ItemKNN."""


class CurvePoint(NamedTuple):
    """One epoch of training: epochs count from 1, seconds from the start of training."""

    epoch: int
    seconds: float
    train_loss: float | None
    valid_ndcg10: float | None


@dataclass(frozen=True, eq=False)
class RunResult:
    """One trained model, evaluated.

    Args:
        arm: ``base``, ``enhanced``, ``shuffled`` …, or :data:`UNTRAINED_ARM`.
        model: name of the base model; ``Popularity`` and ``ItemKNN`` for the untrained rows.
        dataset: name of the data set.
        seed: seed of training.
        user_ids: external ids, each once.
        ranks: rank of each user's test target; see :func:`~llmrg.evaluation.metrics.rank_of_target`.
        keep_seen: whether items of the user's history were in that ranking.
        other_ranks: the ranks where it is the other way round; None where nobody looked.
        curve: one :class:`CurvePoint` (or equal tuple) per epoch.
        seconds: training time in seconds, evaluation included.
        parameters: trainable parameters.
        epochs: epochs trained.
        best_epoch: the epoch (from 1) that validation chose; 0 where nothing was trained.
        cut_off: whether the most epochs allowed ended training, not validation that had ceased to improve.
        graphs: which graphs it read (``graphs``: the reasoner's); empty for none.

    Shapes:
        ranks [U]

    Raises:
        DataError: users and ranks that do not fit, a user twice, or an impossible rank.
    """

    arm: str
    model: str
    dataset: str
    seed: int
    user_ids: tuple[str, ...]
    ranks: Floats
    keep_seen: bool = True
    other_ranks: Floats | None = None
    curve: tuple[CurvePoint, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    epochs: int = 0
    best_epoch: int = 0
    cut_off: bool = False
    graphs: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "user_ids", tuple(map(str, self.user_ids)))
        object.__setattr__(self, "ranks", checked_ranks(self.ranks))
        if self.other_ranks is not None:
            object.__setattr__(self, "other_ranks", checked_ranks(self.other_ranks))
        object.__setattr__(self, "curve", tuple(_curve_point(*point) for point in self.curve))
        for ranks in (self.ranks, self.other_ranks):
            if ranks is not None and len(self.user_ids) != len(ranks):
                raise DataError(f"{self}: expected one rank per user, found {len(ranks)} ranks")
        if len(set(self.user_ids)) != len(self.user_ids):
            raise DataError(f"{self}: expected every user once, found a user twice")

    def __repr__(self) -> str:
        where = f"{self.model}/{self.arm} on {self.dataset}, seed {self.seed}"
        return f"RunResult({where}, {len(self.user_ids)} users)"

    def to_document(self) -> dict[str, Any]:
        """Everything but the users and their ranks, as JSON-like values."""
        left_out = {"user_ids", "ranks", "other_ranks", "curve"}
        document = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in left_out}
        return {**document, "curve": [list(point) for point in self.curve]}

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        *,
        user_ids: Sequence[str] = (),
        ranks: Floats | None = None,
        other_ranks: Floats | None = None,
    ) -> RunResult:
        """The inverse of :meth:`to_document`, by default without users (see :func:`load_ranks`)."""
        known = np.empty(0) if ranks is None else ranks
        return cls(**document, user_ids=tuple(user_ids), ranks=known, other_ranks=other_ranks)


def save_ranks(runs: Sequence[RunResult], path: Path) -> None:
    """Write the users and ranks of every run; equal lists of users are written once."""
    arrays: dict[str, Any] = {}
    lists: dict[tuple[str, ...], int] = {}
    for index, run in enumerate(runs):
        users = lists.setdefault(run.user_ids, len(lists))
        arrays.setdefault(f"users_{users}", np.array(run.user_ids, dtype=np.str_))
        arrays[f"run_{index}_users"] = np.array(users)
        arrays[f"run_{index}_ranks"] = run.ranks
        if run.other_ranks is not None:
            arrays[f"run_{index}_other_ranks"] = run.other_ranks
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_ranks(runs: Sequence[RunResult], path: Path) -> tuple[RunResult, ...]:
    """The runs with the users and ranks that :func:`save_ranks` wrote for them, in the same order.

    Raises:
        DataError: no such file, a damaged one, or one with fewer runs.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            filled = []
            for index, run in enumerate(runs):
                users = tuple(arrays[f"users_{int(arrays[f'run_{index}_users'])}"].tolist())
                other = arrays.get(f"run_{index}_other_ranks")
                ranks = arrays[f"run_{index}_ranks"]
                filled.append(replace(run, user_ids=users, ranks=ranks, other_ranks=other))
            return tuple(filled)
    except DAMAGED as error:
        raise DataError(f"expected the ranks of {len(runs)} runs, found {error!r}", path=str(path)) from error


def _curve_point(epoch: int, seconds: float, loss: float | None, ndcg: float | None) -> CurvePoint:
    return CurvePoint(int(epoch), float(seconds), _finite(loss), _finite(ndcg))


def _finite(value: float | None) -> float | None:
    # a diverged loss is NaN, which JSON does not know
    return None if value is None or not math.isfinite(value) else float(value)
