"""What a model needs to know of the data it was trained on, without the data: ids, titles, item columns.

Promise: a model built from a :class:`Vocabulary` is the one built from the data set; what a vocabulary does not hold
(users' interactions) is refused by name instead of being made up.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.errors import DataError, ModelError
from llmrg.fingerprint import fingerprint_text
from llmrg.recbole_adapter.compatibility import host_ready

ITEMS_NAMED = 5


@dataclass(frozen=True)
class Vocabulary:
    """External ids by internal id (0 is RecBole's padding), titles, and the columns of items.

    Args:
        items: external item ids. [I]
        users: external user ids. [U]
        titles: of the items, empty where there is none. [I]
        columns: of the items, name to values by internal id. [I, ...]
        kinds: of each column, RecBole's type of it and how many values it tells apart.
    """

    items: tuple[str, ...]
    users: tuple[str, ...]
    titles: tuple[str, ...]
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    kinds: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Any, titles: Mapping[str, str]) -> Vocabulary:
        """The vocabulary of a RecBole dataset.

        Args:
            dataset: whose ids a model's tables speak.
            titles: external item id → title.
        """
        items = tuple(map(str, dataset.field2id_token[dataset.iid_field]))
        columns: dict[str, Tensor] = {}
        kinds: dict[str, tuple[str, int]] = {}
        if dataset.item_feat is not None:
            features = dataset.get_item_feature()
            for name in features.columns:
                if name != dataset.iid_field:
                    columns[name] = features[name].contiguous()
                    kinds[name] = (dataset.field2type[name].value, int(dataset.num(name)))
        return cls(
            items,
            tuple(map(str, dataset.field2id_token[dataset.uid_field])),
            tuple(titles.get(item, "") for item in items),
            columns,
            kinds,
        )

    @property
    def fingerprint(self) -> str:
        """Content hash of the item ids in order: what a checkpoint's tables must agree with."""
        return fingerprint_text(self.items)

    @cached_property
    def item_numbers(self) -> dict[str, int]:
        """External item id → internal id, without the padding."""
        return {item: number for number, item in enumerate(self.items) if number}

    @cached_property
    def user_numbers(self) -> dict[str, int]:
        """External user id → internal id, without the padding."""
        return {user: number for number, user in enumerate(self.users) if number}

    def unknown_of(self, item_ids: Sequence[str]) -> list[str]:
        """Those of the items that the model was not trained with, each once."""
        return [item for item in dict.fromkeys(item_ids) if item not in self.item_numbers]

    def numbers_of(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Internal ids of items. [L] -> [L] int64

        Raises:
            DataError: items the model was not trained with, with the nearest known ones.
        """
        unknown = self.unknown_of(item_ids)
        if unknown:
            near = difflib.get_close_matches(unknown[0], self.items[1:], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"the model does not know {len(unknown)} of the items: {named(unknown)} (it knows the "
                f"{len(self.items) - 1} it was trained with, by the ids of their data set){hint}"
            )
        return np.array([self.item_numbers[item] for item in item_ids], dtype=np.int64)


def named(item_ids: Sequence[str]) -> str:
    """The first items in words, and how many there are beside.

    >>> named(["1", "2"]), named(list("abcdefg"))
    ("'1', '2'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    more = f" and {len(item_ids) - ITEMS_NAMED} more" if len(item_ids) > ITEMS_NAMED else ""
    return ", ".join(map(repr, item_ids[:ITEMS_NAMED])) + more


class VocabularyDataset:
    """As much of a RecBole dataset as a model's constructor reads, made of a :class:`Vocabulary`.

    Args:
        vocabulary: ids and columns.
        config: the RecBole Config of the model.
    """

    def __init__(self, vocabulary: Vocabulary, config: Any) -> None:
        host_ready()
        from recbole.data.interaction import Interaction
        from recbole.utils import FeatureType

        self.vocabulary, self.config = vocabulary, config
        self.iid_field, self.uid_field = config["ITEM_ID_FIELD"], config["USER_ID_FIELD"]
        self.item_num, self.user_num = len(vocabulary.items), len(vocabulary.users)
        longest = int(config["MAX_ITEM_LIST_LENGTH"])
        sequence, length = f"{self.iid_field}{config['LIST_SUFFIX']}", config["ITEM_LIST_LENGTH_FIELD"]
        self.field2type = {name: FeatureType(kind) for name, (kind, _) in vocabulary.kinds.items()}
        self.field2type |= {self.iid_field: FeatureType.TOKEN, self.uid_field: FeatureType.TOKEN}
        self.field2seqlen = {sequence: longest}
        # contrastive models look for training rows of the same target: here there are none
        self.inter_feat = Interaction(
            {
                sequence: torch.zeros(0, longest, dtype=torch.int64),
                length: torch.zeros(0, dtype=torch.int64),
                self.iid_field: torch.zeros(0, dtype=torch.int64),
            }
        )

    def num(self, name: str) -> int:
        """How many values a field tells apart, padding included."""
        if name == self.iid_field:
            return self.item_num
        if name == self.uid_field:
            return self.user_num
        return self.vocabulary.kinds[name][1]

    def get_item_feature(self) -> Any:
        """The columns of all items, by internal id."""
        from recbole.data.interaction import Interaction

        return Interaction({self.iid_field: torch.arange(self.item_num), **self.vocabulary.columns})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ModelError(
            f"the model reads {name!r} of its data set, which a checkpoint does not hold; load it with "
            "llmrg.load_checkpoint, which reads the data set itself"
        )
