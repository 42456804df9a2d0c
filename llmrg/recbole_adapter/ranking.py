"""Ranks of the held-out targets, one per user.

Promise: every item but the padding takes part; ties count half, so that a model that says nothing cannot win; seen
items are not filtered (RecBole's sequential protocol). RecBole rounds its metrics and drops per-user values:
these ranks are what our statistics are made of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from llmrg.errors import ModelError


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
        scores = model.full_sort_predict(moved).view(len(interaction), -1)  # [R, I]
        if torch.isnan(scores).any():
            raise ModelError("the model's scores are not numbers: it diverged; lower the learning rate")
        scores[:, 0] = -torch.inf
        own = scores.gather(1, moved[dataset.iid_field].unsqueeze(1))
        above = (scores > own).sum(1)
        equal = (scores == own).sum(1) - 1
        ranks.append((1 + above + 0.5 * equal).cpu().numpy().astype(np.float64))
        users.extend(str(tokens[user]) for user in interaction[dataset.uid_field].numpy())
    return users, np.concatenate(ranks)
