"""Scores of all items, and the ranks of the held-out targets, one per user.

Promise: every item but the padding takes part; ties count half, so that a model that says nothing cannot win; seen
items are not filtered (RecBole's sequential protocol). RecBole rounds its metrics and drops per-user values:
these ranks are what our statistics are made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.errors import ModelError
from llmrg.recbole_adapter.base_models import traits_of

CHUNK = 512  # rows of like length that are scored together


def scores_of_all(model: Any, interaction: Any) -> Tensor:
    """Scores of every item for every row; [R, I].

    A causal model's state does not depend on what follows: its rows are taken by length, without most of the padding
    that RecBole gives all of them up to ``MAX_ITEM_LIST_LENGTH``.

    Args:
        model: a RecBole sequential model, base or enhanced.
        interaction: RecBole's, on the model's device.
    """
    lengths = interaction[model.ITEM_SEQ_LEN]
    if not traits_of(model).causal:
        whole: Tensor = model.full_sort_predict(interaction).view(len(lengths), -1)
        return whole
    scores: Tensor | None = None
    window, suffix = interaction[model.ITEM_SEQ].shape[1], model.ITEM_SEQ[len(model.ITEM_ID) :]
    for rows in torch.argsort(lengths, stable=True).split(CHUNK):
        longest = max(1, int(lengths[rows].max()))
        columns = {
            name: value[rows, :longest]
            if name.endswith(suffix) and value.shape[1:2] == (window,)
            else value[rows]
            for name, value in interaction.interaction.items()
        }
        found = model.full_sort_predict(type(interaction)(columns)).view(len(rows), -1)
        if scores is None:
            scores = found.new_empty(len(lengths), found.shape[1])
        scores[rows] = found
    assert scores is not None  # RecBole's batches hold at least one row
    return scores


@torch.no_grad()
def rank_targets(model: Any, data: Any) -> tuple[list[str], NDArray[np.float64]]:
    """Rank each row's target among all items.

    Args:
        model: a RecBole model, base or enhanced.
        data: RecBole's full-sort evaluation loader of one split.

    Returns:
        External user ids and 1-based ranks, in the loader's order.

    Raises:
        ModelError: scores that are not numbers.
    """
    model.eval()
    dataset = data._dataset
    tokens = dataset.field2id_token[dataset.uid_field]
    users: list[str] = []
    ranks: list[NDArray[np.float64]] = []
    for interaction, *_ in data:
        moved = interaction.to(model.device)
        scores = scores_of_all(model, moved)
        if torch.isnan(scores).any():
            raise ModelError("the model's scores are not numbers: it diverged; lower the learning rate")
        scores[:, 0] = -torch.inf
        own = scores.gather(1, moved[dataset.iid_field].unsqueeze(1))
        above = (scores > own).sum(1)
        equal = (scores == own).sum(1) - 1
        ranks.append((1 + above + 0.5 * equal).cpu().numpy().astype(np.float64))
        users.extend(str(tokens[user]) for user in interaction[dataset.uid_field].numpy())
    return users, np.concatenate(ranks)
