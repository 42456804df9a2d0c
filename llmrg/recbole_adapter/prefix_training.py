"""Prefix-parallel training: every position of a history in one pass (law 2).

RecBole expands a history of n items into n − 1 rows, and a causal base model computes the same states again in
each. Here one *window* of the history is one row, its states at all positions are kept, and the base model's own
``calculate_loss`` runs unchanged over the kept ones: same objective, same weights, a fraction of the work.

Promise: for histories no longer than the window the loss equals RecBole's expanded one (tested to 1e-5); a longer
history is cut into overlapping windows, every target is trained exactly once an epoch, and with the share
``training.overlap`` of the window as its least context. The place of the cuts moves from epoch to epoch.

Letters: W windows of a batch, L window length, T targets of a batch, H base width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.recbole_adapter.configuration import settings_of
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH, SLOT, WINDOW, PrefixDataset, train_targets
from llmrg.recbole_adapter.prefix_states import every_position
from llmrg.recbole_adapter.sampled_softmax import Candidates, over_candidates

POOL = 16  # batches whose users are sorted by length together: less padding, and still dealt anew every epoch


@dataclass(frozen=True)
class PrefixBatch:
    """Windows of some users, and which of their positions are trained on.

    Args:
        item_seq: internal item ids, zero-padded at the right; [W, L].
        item_length: [W].
        state_index: flat index (window · L + position) of the state that predicts each target; [T].
        target: internal item id each of them must predict; [T].
        window: window of each target, ascending; [T].
        slot: running number of each target inside its window; [T].
        user: internal user id of each target; [T].
        prefix_length: absolute index of each target in its history; [T].
    """

    item_seq: Tensor
    item_length: Tensor
    state_index: Tensor
    target: Tensor
    window: Tensor
    slot: Tensor
    user: Tensor
    prefix_length: Tensor

    def __len__(self) -> int:
        return len(self.target)


class PrefixWindows:
    """The training parts of all histories, cut into windows and dealt into batches.

    Args:
        dataset: the dataset that expanded them.
        train_length: items of each history that belong to the training part; [U].
        window: window length L in items.
        overlap: share of the window kept as context where a history is cut.
        batch_size: targets in a batch, at least (a user is never split between batches).
    """

    def __init__(
        self,
        dataset: PrefixDataset,
        train_length: NDArray[np.int64],
        *,
        window: int,
        overlap: float,
        batch_size: int,
    ) -> None:
        self.dataset = dataset
        self.train_length = train_length
        self.window = window
        self.stride = max(1, window - int(window * overlap))
        self.batch_size = batch_size
        self.users = np.flatnonzero(train_length >= 2)

    @classmethod
    def from_config(cls, config: Any, train_dataset: PrefixDataset) -> PrefixWindows:
        """The windows a config asks for, over RecBole's training split."""
        return cls(
            train_dataset,  # RecBole's splits are shallow copies: the histories are still there
            train_targets(train_dataset),
            window=int(config["MAX_ITEM_LIST_LENGTH"]),
            overlap=settings_of(config).training.overlap,
            batch_size=int(config["train_batch_size"]),
        )

    def target_counts(self) -> Tensor:
        """How often each item is a target in one epoch; [I], by internal id."""
        data = self.dataset
        trained = (data.place_in_history >= 1) & data.within(self.train_length)
        return torch.from_numpy(np.bincount(data.history_item[trained], minlength=data.item_num))

    def batches(self, generator: torch.Generator) -> Iterator[PrefixBatch]:
        """One epoch: every target once; users dealt at random, those of a batch of like length, cuts at random places.

        A batch is as wide as its longest window, so users of mixed lengths would be mostly padding.
        """
        order = self.users[torch.randperm(len(self.users), generator=generator).numpy()]
        phase = torch.randint(self.stride, (len(order),), generator=generator).numpy()
        dealt: list[NDArray[np.int64]] = []
        for pool in self._parts(np.arange(len(order)), order, POOL * self.batch_size):
            width = np.minimum(self.train_length[order[pool]], self.window + 1)
            dealt += self._parts(pool[np.argsort(width, kind="stable")], order, self.batch_size)
        for at in torch.randperm(len(dealt), generator=generator).tolist():
            yield self.batch(order[dealt[at]], phase[dealt[at]])

    def _parts(
        self, places: NDArray[np.int64], order: NDArray[np.int64], least: int
    ) -> Iterator[NDArray[np.int64]]:
        """``places`` in ``order``, cut into parts of at least so many targets (the last may have fewer)."""
        size = np.cumsum(self.train_length[order[places]] - 1)
        done = 0
        while done < len(places):
            before = size[done - 1] if done else 0
            end = int(np.searchsorted(size, before + least)) + 1
            yield places[done:end]
            done = end

    def batch(self, users: NDArray[np.int64], phase: NDArray[np.int64] | None = None) -> PrefixBatch:
        """All targets of ``users`` (indices into ``dataset.history_user``), cut at ``phase`` (default: 0)."""
        shifts = np.zeros(len(users), dtype=np.int64) if phase is None else phase
        first, last, begin, owner = [], [], [], []
        for user, shift in zip(users, shifts, strict=True):
            newest = int(self.train_length[user]) - 1  # index of the newest target
            # every window ends where its newest target begins; only a history longer than the window is shifted
            end = newest if newest <= self.window else self.window - int(shift)
            covered = 0
            while True:
                first.append(covered + 1)
                last.append(end)
                begin.append(max(0, end - self.window))
                owner.append(user)
                if end == newest:
                    break
                covered, end = end, min(newest, end + self.stride)
        return self._tensors(*(np.asarray(part, dtype=np.int64) for part in (first, last, begin, owner)))

    def _tensors(
        self,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        begin: NDArray[np.int64],
        owner: NDArray[np.int64],
    ) -> PrefixBatch:
        data = self.dataset
        length = last - begin  # [W] inputs are items begin … last − 1
        width = int(length.max())
        columns = np.arange(width)
        source = data.history_offset[owner, None] + begin[:, None] + columns  # [W, L]
        inside = columns < length[:, None]
        item_seq = np.where(inside, data.history_item[np.where(inside, source, 0)], 0)
        count = last - first + 1  # [W] targets of each window
        window = np.repeat(np.arange(len(owner)), count)  # [T]
        slot = np.arange(len(window)) - np.repeat(np.cumsum(count) - count, count)
        prefix = first[window] + slot
        target = data.history_item[data.history_offset[owner[window]] + prefix]
        state = window * width + (prefix - 1 - begin[window])
        parts = (item_seq, length, state, target, window, slot, data.history_user[owner[window]], prefix)
        return PrefixBatch(*(torch.from_numpy(np.ascontiguousarray(part, dtype=np.int64)) for part in parts))


def prefix_loss(
    model: Any, batch: PrefixBatch, *, negatives: Tensor | None = None, candidates: Candidates | None = None
) -> Tensor:
    """The base model's own loss over all targets of ``batch``: their mean, as over RecBole's rows.

    Args:
        model: a causal base model, or its enhanced form.
        batch: on the model's device.
        negatives: one item for each target, for pairwise losses; [T].
        candidates: items that cross-entropy is taken over; default: all.
    """
    interaction: dict[str, Any] = {
        model.ITEM_SEQ: batch.item_seq,
        model.ITEM_SEQ_LEN: batch.item_length,
        model.POS_ITEM_ID: batch.target,
        model.USER_ID: batch.user,
        PREFIX_LENGTH: batch.prefix_length,
        WINDOW: batch.window,
        SLOT: batch.slot,
    }
    if negatives is not None:
        interaction[model.NEG_ITEM_ID] = negatives
    with every_position(model, batch.state_index), over_candidates(model, candidates):
        loss: Tensor = model.calculate_loss(interaction)
    return loss
