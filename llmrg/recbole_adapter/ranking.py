"""Scores of all items, and the ranks of the held-out targets, one per user.

Promise: every item but the padding takes part; ties count half, so that a model that says nothing cannot win; each
target is ranked twice, among all items (RecBole's sequential protocol) and among those the user has not had.
RecBole rounds its metrics and drops per-user values: these ranks are what our statistics are made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmrg.errors import DivergedError
from llmrg.evaluation.metrics import Floats, Ranks
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
def rank_targets(model: Any, data: Any) -> tuple[list[str], Ranks]:
    """Rank each row's target among all items, and among those that were not seen before it.

    Args:
        model: a RecBole model, base or enhanced.
        data: RecBole's full-sort evaluation loader of one split.

    Returns:
        External user ids and 1-based ranks, in the loader's order.

    Raises:
        DivergedError: scores that are not numbers.
    """
    model.eval()
    dataset = data._dataset
    tokens = dataset.field2id_token[dataset.uid_field]
    users: list[str] = []
    kept: list[Floats] = []
    left_out: list[Floats] = []
    for interaction, *_ in data:
        moved = interaction.to(model.device)
        scores = scores_of_all(model, moved)
        if torch.isnan(scores).any():
            raise DivergedError("the model's scores are not numbers: it diverged; lower the learning rate")
        scores[:, 0] = -torch.inf
        kept.append(_ranks(scores, moved[dataset.iid_field]))
        scores[dataset.seen_before(interaction)] = -torch.inf
        left_out.append(_ranks(scores, moved[dataset.iid_field]))
        users.extend(str(tokens[user]) for user in interaction[dataset.uid_field].numpy())
    return users, Ranks(np.concatenate(kept), np.concatenate(left_out))


def _ranks(scores: Tensor, target: Tensor) -> Floats:
    own = scores.gather(1, target.unsqueeze(1))
    above = (scores > own).sum(1)
    equal = (scores == own).sum(1) - 1
    return (1 + above + 0.5 * equal).cpu().numpy().astype(np.float64)
