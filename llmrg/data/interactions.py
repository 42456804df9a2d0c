"""One user's history, and how much of it may be known for what.

Promise: a :class:`UserHistory` holds nothing at or after its cut-off. The held-out test target never enters
one, and what lies between ``train_length`` and the end (the validation target) is visible to the rows that
come after it, but contributes to no statistic and to no knowledge base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmrg.errors import DataError
from llmrg.fingerprint import fingerprint_text
from llmrg.plain_text import encodable_values

CutoffName = Literal["leave_one_out", "global_time"]


@dataclass(frozen=True)
class UserHistory:
    """What one user did before the cut-off, oldest first.

    Args:
        user_id: external id, as in the atomic file.
        item_ids: external item ids; the index of an item is its *position*.
        train_length: the first ``train_length`` items are the training part.
        timestamps: as in the file (any unit), same length as ``item_ids``.
        attributes: user attributes, name to one or more values.
        cutoff: the rule that ended the history.

    >>> UserHistory("u", ("a", "b", "c"), train_length=2).train_item_ids
    ('a', 'b')
    """

    user_id: str
    item_ids: tuple[str, ...]
    train_length: int
    timestamps: tuple[float, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cutoff: CutoffName = "leave_one_out"

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", encodable_values(self.attributes))
        if not 0 <= self.train_length <= len(self.item_ids):
            raise DataError(
                f"user {self.user_id!r}: train_length must lie in 0..{len(self.item_ids)}, found {self.train_length}"
            )
        if self.timestamps and len(self.timestamps) != len(self.item_ids):
            raise DataError(
                f"user {self.user_id!r}: {len(self.item_ids)} items but {len(self.timestamps)} timestamps"
            )

    @property
    def train_item_ids(self) -> tuple[str, ...]:
        """The items statistics and the knowledge base may learn from."""
        return self.item_ids[: self.train_length]

    def begins_with(self, item_ids: Sequence[str]) -> bool:
        """Whether these are its first items, or all of them.

        >>> history = UserHistory("u", ("a", "b"), train_length=2)
        >>> history.begins_with(["a"]), history.begins_with(["b"]), history.begins_with(["a", "b", "c"])
        (True, False, False)
        """
        return self.item_ids[: len(item_ids)] == tuple(item_ids)

    @property
    def fingerprint(self) -> str:
        """Content hash of the items in order and of the rule that cut them: what a graph must agree with."""
        return fingerprint_text([self.user_id, self.cutoff, str(self.train_length), *self.item_ids])

    def __len__(self) -> int:
        return len(self.item_ids)

    def __repr__(self) -> str:
        return f"UserHistory({self.user_id!r}, {len(self)} items, {self.train_length} for training)"
