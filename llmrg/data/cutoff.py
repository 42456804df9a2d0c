"""Where a user's knowable past ends: leave-one-out or a point in time.

Promise: the one way from a full sequence to a :class:`~llmrg.data.interactions.UserHistory` leads through
:func:`cut_history`, and what lies at or after the cut-off is dropped there, so no test target can reach a
prompt, graph or statistic. Leave-one-out mirrors RecBole's split of the same rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar, TypeGuard

from llmrg.data.interactions import CutoffName, UserHistory
from llmrg.errors import DataError, SettingsError


@dataclass(frozen=True)
class LeaveOneOut:
    """The newest item is the test target, the one before it the validation target.

    RecBole splits *rows*, and a user of n items has n - 1 rows (a row predicts an item from those before it).
    It gives a row to testing only where one is left for training, and to validation only where two are left:

    ==========  ===========  ================
    items       known items  training part
    ==========  ===========  ================
    n >= 4      n - 1        n - 2
    3           2            2 (no validation row)
    2           2            2 (one row, for training)
    1 or 0      all          all (no row)
    ==========  ===========  ================
    """

    name: ClassVar[CutoffName] = "leave_one_out"

    def split(self, timestamps: Sequence[float]) -> tuple[int, int]:
        """Known items and training items of a sequence with these times, oldest first.

        >>> LeaveOneOut().split([10, 20, 30, 40, 50])
        (4, 3)
        """
        n = len(timestamps)
        if n >= 4:
            return n - 1, n - 2
        if n == 3:
            return 2, 2
        return n, n


@dataclass(frozen=True)
class GlobalTime:
    """Interactions before ``test_time`` are known, those before ``valid_time`` are the training part.

    Args:
        valid_time: start of the validation period, in the file's unit of time.
        test_time: start of the test period.

    Raises:
        DataError: validation would start after testing.
    """

    valid_time: float
    test_time: float
    name: ClassVar[CutoffName] = "global_time"

    def __post_init__(self) -> None:
        if not self.valid_time <= self.test_time:
            raise DataError(
                f"global-time cut-off: expected valid_time <= test_time, found {self.valid_time} and "
                f"{self.test_time}; give the start of validation first"
            )

    def split(self, timestamps: Sequence[float]) -> tuple[int, int]:
        """Known items and training items of a sequence with these times, oldest first.

        The longest prefixes are taken, not counts: where the sequence is out of order by a few seconds (see
        :mod:`llmrg.data.atomic_files`), nothing behind a later interaction slips in.

        >>> GlobalTime(25, 45).split([10, 20, 30, 40, 50])
        (4, 2)
        """
        known = sum(1 for _ in takewhile(lambda time: time < self.test_time, timestamps))
        train = sum(1 for _ in takewhile(lambda time: time < self.valid_time, timestamps))
        return known, train


@dataclass(frozen=True)
class TimeShares:
    """A :class:`GlobalTime` still to be found, by shares of all interactions.

    Args:
        train: share before ``valid_time``, in (0, 1).
        valid: share between ``valid_time`` and ``test_time``; what remains is for testing.

    Raises:
        DataError: the shares leave nothing to train on or nothing to test on.
    """

    train: float = 0.8
    valid: float = 0.1

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.valid >= 0 and self.train + self.valid < 1):
            raise DataError(
                "global-time cut-off: expected train > 0, valid >= 0 and train + valid < 1, "
                f"found train={self.train} and valid={self.valid}"
            )

    def resolve(self, timestamps: Sequence[float]) -> GlobalTime:
        """The times at which these shares of the interactions (in any order) are over.

        Interactions of the very same time stay together, in the later part.

        >>> TimeShares(train=0.5, valid=0.25).resolve([4, 3, 2, 1])
        GlobalTime(valid_time=3.0, test_time=4.0)
        """
        if len(timestamps) == 0:
            raise DataError("global-time cut-off: expected interactions to take shares of, found none")
        times = sorted(float(time) for time in timestamps)
        first = math.floor(self.train * len(times))
        second = math.floor((self.train + self.valid) * len(times))
        return GlobalTime(times[first], times[second])


Cutoff = LeaveOneOut | GlobalTime
"""A rule that can cut a history."""


def cutoff_of(eval_args: Mapping[str, Any] | None) -> LeaveOneOut | TimeShares:
    """The rule that RecBole's ``eval_args`` ask for.

    Args:
        eval_args: ``split: {LS: valid_and_test}`` (or nothing) is leave-one-out; ``split: {RS: [train, valid, test]}``
            with ``order: TO`` and ``group_by: none`` is a global time.

    Raises:
        SettingsError: any other split; rows would be trained on that lie after held-out ones.

    >>> cutoff_of({"split": {"RS": [8, 1, 1]}, "order": "TO", "group_by": "none"})
    TimeShares(train=0.8, valid=0.1)
    """
    given = eval_args or {}
    if not isinstance(given, Mapping):
        raise SettingsError(f"eval_args: expected names and values, found {given!r}", name="eval_args")
    split = given.get("split")
    if split in (None, {"LS": "valid_and_test"}):
        return LeaveOneOut()
    shares = split.get("RS") if isinstance(split, Mapping) and len(split) == 1 else None
    ungrouped = str(given.get("group_by") or "none").lower() == "none"
    if _three_shares(shares) and given.get("order") == "TO" and ungrouped:
        total = sum(shares)
        return TimeShares(shares[0] / total, shares[1] / total)
    raise SettingsError(
        "eval_args.split: expected {'LS': 'valid_and_test'} (leave-one-out), or {'RS': [0.8, 0.1, 0.1]} with order TO "
        f"and group_by none (global time), found {dict(given)!r}",
        name="eval_args",
    )


def _three_shares(shares: Any) -> TypeGuard[Sequence[float]]:
    return (
        isinstance(shares, Sequence)
        and len(shares) == 3
        and all(isinstance(share, int | float) and 0 <= share < math.inf for share in shares)
        and 0 < sum(shares) < math.inf
    )


def refuse_positions(first_times: Sequence[float]) -> None:
    """Refuse a global time where the times are places in each user's order (0, 1, 2 …) and no clock.

    Args:
        first_times: of every user; on a clock hardly two users begin in the same instant.

    Raises:
        DataError: half of the users or more begin at the same time.
    """
    if not len(first_times):
        return
    time, users = Counter(first_times).most_common(1)[0]
    if users >= max(2, len(first_times) / 2):
        raise DataError(
            f"{users} of {len(first_times)} users begin at the same time {time:g}, so the times are places in a user's "
            "order, not a clock; only a leave-one-out split can do without one"
        )


def cut_history(
    cutoff: Cutoff,
    user_id: str,
    item_ids: Sequence[str],
    timestamps: Sequence[float],
    attributes: Mapping[str, tuple[str, ...]],
) -> UserHistory:
    """The history of one user without what the cut-off withholds.

    Args:
        cutoff: the rule.
        user_id: external id.
        item_ids: the *full* sequence, oldest first.
        timestamps: one per item.
        attributes: user attributes.

    >>> cut_history(LeaveOneOut(), "u", ["a", "b", "c", "target"], [1, 2, 3, 4], {}).item_ids
    ('a', 'b', 'c')
    """
    known, train = cutoff.split(timestamps)
    return UserHistory(
        user_id=user_id,
        item_ids=tuple(item_ids[:known]),
        train_length=train,
        timestamps=tuple(timestamps[:known]),
        attributes=attributes,
        cutoff=cutoff.name,
    )
