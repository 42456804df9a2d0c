"""RecBole's sequential dataset, which also remembers how long every prefix really is.

Promise: the rows are RecBole's own, untouched; :class:`PrefixDataset` adds one field, ``prefix_length`` — the
absolute index of the row's target in the user's history, also where RecBole cuts the window to
``MAX_ITEM_LIST_LENGTH`` — and keeps the histories it expanded, so that nothing has to be read back from rows.

Split at a global time (``eval_args: {split: {RS: [0.8, 0.1, 0.1]}, order: TO, group_by: none}``) shares are taken of
all interactions, simultaneous ones stay together, and each user is validated and tested on the first interaction
of each period, from what came before it: RecBole would split rows by number and test on every later one.

Shapes: U users, R rows, E interactions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.data.cutoff import LeaveOneOut, TimeShares, cutoff_of, refuse_positions
from llmrg.data.interactions import UserHistory
from llmrg.errors import DataError, SettingsError
from llmrg.recbole_adapter.compatibility import host_ready
from llmrg.recbole_adapter.configuration import settings_of

host_ready()

from recbole.data.dataset import SequentialDataset  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.utils import FeatureSource, FeatureType  # noqa: E402

PREFIX_LENGTH = "prefix_length"
WINDOW, SLOT = (
    "window",
    "slot",
)  # beside it where rows come in windows: each row's window, and its place in there


Integers = NDArray[np.int64]


class PrefixDataset(SequentialDataset):  # type: ignore[misc]
    """A ``SequentialDataset`` with the field ``prefix_length`` and the histories behind its rows.

    Attributes:
        history_user: internal user ids, ascending; shape [U].
        history_offset: where each user's items begin in ``history_item``; shape [U + 1].
        history_item: internal item ids, oldest first within a user.
        history_time: when, as RecBole holds times; shape [E].
        time_cut: train and known items of each user, where the split is a global time; else None. [2, U]

    Raises:
        SettingsError: pre-split ``benchmark_filename`` files, whose rows hide how long their histories are.
    """

    history_user: Integers
    history_offset: Integers
    history_item: Integers
    history_time: NDArray[np.float64]
    time_cut: Integers | None = None
    inter_feat: Any

    def __init__(self, config: Any) -> None:
        if config["benchmark_filename"] is not None:
            raise SettingsError(
                "benchmark_filename: rows split beforehand hide how long their histories are; give llmrg the "
                "unsplit .inter file and let RecBole split it",
                name="benchmark_filename",
            )
        super().__init__(config)

    def _data_filtering(self) -> None:
        """RecBole's filters, then only the first ``llmrg.training.max_users`` users of the file, if set."""
        super()._data_filtering()
        limit = settings_of(self.config).training.max_users
        if limit is not None:
            first = self.inter_feat[self.uid_field].unique()[:limit]
            self.inter_feat = self.inter_feat[self.inter_feat[self.uid_field].isin(first)].reset_index(
                drop=True
            )

    def data_augmentation(self) -> None:
        """Expand histories into RecBole's rows, and number the rows within their user."""
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        users = self.inter_feat[self.uid_field].numpy()
        self.history_item = self.inter_feat[self.iid_field].numpy().copy()
        self.history_user, start = np.unique(users, return_index=True)
        self.history_offset = np.append(start, len(users)).astype(np.int64)  # [U + 1]
        self.history_time = self.inter_feat[self.time_field].numpy().astype(np.float64)
        if self.splits_by_time:
            self.time_cut = self._cut_by_time()
        super().data_augmentation()
        rows = self.inter_feat[self.uid_field].numpy()  # one row per interaction but a user's first, in order
        lengths = np.diff(self.history_offset)
        row_start = np.cumsum(lengths - 1) - (lengths - 1)
        prefix = np.arange(len(rows)) - np.repeat(row_start, lengths - 1) + 1  # [R]
        self.set_field_property(PREFIX_LENGTH, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
        self.inter_feat.update(Interaction({PREFIX_LENGTH: torch.from_numpy(prefix)}))

    @property
    def splits_by_time(self) -> bool:
        """Whether ``eval_args`` ask for shares of all interactions in the order of time."""
        asked = self.config["eval_args"]
        shares = "RS" in (asked["split"] or {}) and asked["order"] == "TO"
        return shares and str(asked["group_by"] or "none").lower() == "none"

    def split_by_ratio(self, ratios: list[float], group_by: str | None = None) -> list[PrefixDataset]:
        """RecBole's, but for a global time: then rows of the training part, and one row a user of each later period."""
        if group_by is not None or self.time_cut is None:
            split: list[PrefixDataset] = super().split_by_ratio(ratios, group_by)
            return split
        place = np.zeros(self.user_num, dtype=np.int64)
        place[self.history_user] = np.arange(len(self.history_user))
        row = place[self.inter_feat[self.uid_field].numpy()]  # [R]
        prefix = self.inter_feat[PREFIX_LENGTH].numpy()
        train, known = self.time_cut[:, row]
        chosen = (prefix < train, (prefix == train) & (train < known), prefix == known)
        for rows, part in zip(chosen, ("training", "validation", "test"), strict=True):
            if not rows.any():
                raise DataError(f"a global time leaves no {part} row; take other shares than {ratios}")
        self._drop_unused_col()
        return [self.copy(self.inter_feat[np.flatnonzero(rows)]) for rows in chosen]

    def _cut_by_time(self) -> Integers:
        shares = cutoff_of(self.config["eval_args"])
        assert isinstance(shares, TimeShares)
        begins = self.history_offset[:-1]
        refuse_positions(self.history_time[begins].tolist())
        cut = shares.resolve(self.history_time.tolist())
        return np.stack(
            [np.add.reduceat(self.history_time < time, begins) for time in (cut.valid_time, cut.test_time)]
        ).astype(np.int64)

    @property
    def place_in_history(self) -> Integers:
        """Place of every interaction in its user's history, from 0; shape [E]."""
        lengths = np.diff(self.history_offset)
        place: Integers = np.arange(len(self.history_item)) - np.repeat(self.history_offset[:-1], lengths)
        return place

    def within(self, lengths: Integers) -> NDArray[np.bool_]:
        """Which interactions are among the first ``lengths`` [U] of their user's history; shape [E]."""
        inside: NDArray[np.bool_] = self.place_in_history < np.repeat(lengths, np.diff(self.history_offset))
        return inside

    def seen_before(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Row number and internal item id of everything that the users of ``rows`` have before their targets."""
        length = rows[PREFIX_LENGTH].cpu().numpy()
        user = np.searchsorted(self.history_user, rows[self.uid_field].cpu().numpy())
        row = np.repeat(np.arange(len(length)), length)
        place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        items = self.history_item[self.history_offset[user][row] + place]
        return torch.from_numpy(row), torch.from_numpy(items)

    def items_of(self, index: int) -> Integers:
        """All internal item ids of the ``index``-th user of ``history_user``, held-out ones included."""
        return self.history_item[self.history_offset[index] : self.history_offset[index + 1]]


def train_targets(train_dataset: PrefixDataset) -> Integers:
    """How many items of each history belong to the training part, given RecBole's training split; shape [U].

    The training rows of a user must be the first ones (leave-one-out and time-ordered splits are); anything else
    would train on rows that lie after held-out ones.

    Raises:
        DataError: a random split.
    """
    users = train_dataset.inter_feat[train_dataset.uid_field].numpy()
    prefix = train_dataset.inter_feat[PREFIX_LENGTH].numpy()
    newest = np.zeros(train_dataset.user_num, dtype=np.int64)
    np.maximum.at(newest, users, prefix)
    rows = np.bincount(users, minlength=train_dataset.user_num)
    if train_dataset.time_cut is not None:
        cut: Integers = train_dataset.time_cut[0]
        return cut
    if not np.array_equal(newest, rows):
        raise DataError(
            "the training rows of a user are not the oldest ones; use eval_args order 'TO' with split "
            "{'LS': 'valid_and_test'} (leave-one-out)"
        )
    lengths: Integers = rows[train_dataset.history_user] + 1
    return lengths


def histories_of(dataset: PrefixDataset, train_length: Integers) -> list[UserHistory]:
    """What our own reader would say of these histories: nothing at or after the cut-off is in them."""
    item_tokens = dataset.field2id_token[dataset.iid_field]
    user_tokens = dataset.field2id_token[dataset.uid_field]
    histories = []
    for index, user in enumerate(dataset.history_user):
        items = dataset.items_of(index)
        if dataset.time_cut is None:
            known, _ = LeaveOneOut().split(items.tolist())
        else:
            known = int(dataset.time_cut[1, index])
        histories.append(
            UserHistory(
                user_id=str(user_tokens[user]),
                item_ids=tuple(map(str, item_tokens[items[:known]])),
                train_length=int(min(train_length[index], known)),
                cutoff="leave_one_out" if dataset.time_cut is None else "global_time",
            )
        )
    return histories
