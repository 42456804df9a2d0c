"""Graph arrays bound to one RecBole dataset.

Promise: graphs made from other histories than the dataset's are refused, all of them named by number; a user
without a graph is a row of −1, which reads nothing, so that an unknown user is served by the base model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.encoder.graph_batch import GraphView, split_views
from llmrg.errors import FingerprintError, ModelError
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.controls import apply_control
from llmrg.graph.schema import NodeKind
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH, PrefixDataset, histories_of, train_targets


@dataclass
class GraphTable:
    """Both views, the text table and each internal user's row.

    Args:
        reasoning: items, attributes and reasons.
        divergent: imagined items and the reasons that suggest them.
        texts: text vectors with a zero row at the end; [V + 1, C].
        row_of_user: row of each internal user id in the arrays, −1 without a graph.
    """

    reasoning: GraphView
    divergent: GraphView
    texts: Tensor
    row_of_user: NDArray[np.int64]

    def texts_of_items(self, count: int) -> Tensor:
        """Text vector of each internal item id below ``count``, zero where no graph holds the item; [count, C]."""
        row = np.full(count, len(self.texts) - 1)
        for view in (self.reasoning, self.divergent):
            of, text = view.item, np.asarray(view.arrays.node_text)
            held = (of > 0) & (text >= 0)
            row[of[held]] = text[held]
        return self.texts[torch.from_numpy(row)].float()

    def texts_on(self, device: torch.device) -> Tensor:
        """The text table, moved to ``device`` once."""
        if self.texts.device != device:
            self.texts = self.texts.to(device)
        return self.texts


def bind(
    arrays: GraphArrays, dataset: Any, *, text_width: int, control: str = "none", seed: int = 0
) -> GraphTable:
    """Bind ``arrays`` to the ids of ``dataset``.

    Args:
        arrays: graph arrays.
        dataset: a :class:`PrefixDataset` (or one of RecBole's splits of it).
        text_width: of the text vectors that the model reads.
        control: what is done to the graphs once their histories are checked (see ``llmrg.graph.controls``).
        seed: of the control.

    Raises:
        ModelError: a dataset without ``prefix_length``.
        FingerprintError: graphs made from other histories, or with text vectors of another width.
    """
    if not isinstance(dataset, PrefixDataset):
        raise ModelError(
            f"an enhanced model needs the field {PREFIX_LENGTH!r}: call llmrg.register() before RecBole's "
            f"create_dataset, or build the dataset with llmrg; found {type(dataset).__name__}"
        )
    found = arrays.text_vectors.shape[1]
    if found != text_width:
        raise FingerprintError(
            f"the graphs' text vectors have {found} components, and llmrg.text.components is {text_width}: set that to "
            f"{found}, or generate the graphs again",
            expected=str(text_width),
            found=str(found),
        )
    tokens = np.asarray(dataset.field2id_token[dataset.uid_field]).astype(str)
    rows = arrays.rows_of(tokens.tolist())
    rows[0] = -1  # RecBole's padding user
    check_histories(arrays, dataset, rows)
    item_ids = {
        str(token): index for index, token in enumerate(dataset.field2id_token[dataset.iid_field]) if index
    }
    return table_of(apply_control(arrays, control, seed=seed), item_ids, rows)


def table_of(arrays: GraphArrays, item_ids: Mapping[str, int], rows: NDArray[np.int64]) -> GraphTable:
    """The table of some graphs, whose histories are taken to be right.

    Args:
        arrays: graph arrays.
        item_ids: external item id → internal id of the dataset.
        rows: row of each internal user id in the arrays, −1 without a graph.
    """
    reasoning, divergent = split_views(arrays)
    texts = torch.from_numpy(np.concatenate([arrays.text_vectors, np.zeros_like(arrays.text_vectors[:1])]))
    if not len(arrays.text_vectors):
        texts = torch.zeros(1, max(1, arrays.text_vectors.shape[1]))
    return GraphTable(
        GraphView(reasoning, item_ids, (NodeKind.ITEM, NodeKind.ATTRIBUTE, NodeKind.REASON)),
        GraphView(divergent, item_ids, (NodeKind.IMAGINED_ITEM,)),
        texts,
        rows,
    )


def check_histories(arrays: GraphArrays, dataset: PrefixDataset, rows: NDArray[np.int64]) -> None:
    """Refuse graphs made from other histories than the dataset's.

    Raises:
        FingerprintError: at least one user's history differs, or no user has a graph at all.
    """
    if not (rows >= 0).any() and len(arrays.user_ids):
        raise FingerprintError(
            "the graphs were made for another data set: none of its users is known here",
            expected=str(dataset.field2id_token[dataset.uid_field][1]),
            found=str(arrays.user_ids[0]),
        )
    made_from = np.asarray(arrays.history).astype(str)
    differing = []
    for user, history in zip(
        dataset.history_user, histories_of(dataset, train_targets(dataset)), strict=True
    ):
        row = rows[user]
        if row >= 0 and made_from[row] != history.fingerprint:
            differing.append((history, made_from[row]))
    if differing:
        history, found = differing[0]
        raise FingerprintError(
            f"the graphs were made from other histories than this data set's: {len(differing)} of "
            f"{int((rows >= 0).sum())} users differ, first user {history.user_id!r}; generate them again with the "
            "same files, filters and cut-off",
            expected=history.fingerprint,
            found=found,
        )
