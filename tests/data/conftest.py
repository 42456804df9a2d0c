"""Small data sets on disk, and the rows RecBole itself makes of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Write = Callable[..., Path]
Rows = dict[str, list[str]]


@pytest.fixture
def write_dataset(tmp_path: Path) -> Write:
    """Write ``<tmp_path>/toy/toy.{inter,item,user}`` from lines; returns the data path."""

    def write(inter: Sequence[str], *, item: Sequence[str] = (), user: Sequence[str] = ()) -> Path:
        folder = tmp_path / "toy"
        folder.mkdir(exist_ok=True)
        for suffix, lines in (("inter", inter), ("item", item), ("user", user)):
            if lines or suffix == "inter":
                text = "".join(f"{line}\n" for line in lines)
                (folder / f"toy.{suffix}").write_text(text, encoding="utf-8")
        return tmp_path

    return write


class RecBoleSplit:
    """What RecBole trains, validates and tests on: targets by user, in its own order."""

    def __init__(self, dataset: Any) -> None:
        self.users = list(dataset.field2id_token["user_id"][1:])
        self.item_feat = dataset.item_feat
        if self.item_feat is not None:
            tokens = dataset.field2id_token["item_id"]
            self.catalog = {str(tokens[code]) for code in np.asarray(self.item_feat["item_id"]) if code}
        self.first: dict[str, str] = {}
        self.train, self.valid, self.test = (self._targets(part) for part in dataset.build())

    def sequence(self, user_id: str) -> list[str]:
        """All items of a user with at least two of them."""
        later = [rows.get(user_id, []) for rows in (self.train, self.valid, self.test)]
        return [self.first[user_id], *later[0], *later[1], *later[2]]

    def _targets(self, part: Any) -> Rows:
        users = part.field2id_token["user_id"][part.inter_feat["user_id"].numpy()]
        items = part.field2id_token["item_id"][part.inter_feat["item_id"].numpy()]
        before = part.field2id_token["item_id"][part.inter_feat["item_id_list"].numpy()[:, 0]]
        found: Rows = {}
        for user, item, previous in zip(users, items, before, strict=True):
            self.first.setdefault(str(user), str(previous))
            found.setdefault(str(user), []).append(str(item))
        return found


@pytest.fixture
def recbole_split(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RecBoleSplit]:
    """RecBole's leave-one-out split of a data set, with windows of one item (only targets matter here)."""
    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        if not hasattr(np, name):  # RecBole 1.2.1 asks for names that NumPy 2 no longer has
            monkeypatch.setattr(np, name, kind, raising=False)
    monkeypatch.setattr(sys, "argv", ["pytest"])  # RecBole's Config reads the arguments of any program

    def split(data_path: Path | None, dataset: str, **settings: Any) -> RecBoleSplit:
        from recbole.config import Config
        from recbole.data.dataset import SequentialDataset

        columns: Mapping[str, list[str]] = {"inter": ["user_id", "item_id", "timestamp"]}
        values = {
            "load_col": columns,
            "train_neg_sample_args": None,
            "MAX_ITEM_LIST_LENGTH": 1,
            "user_inter_num_interval": None,
            "item_inter_num_interval": None,
            **({} if data_path is None else {"data_path": str(data_path)}),
            **settings,
        }
        return RecBoleSplit(SequentialDataset(Config(model="SASRec", dataset=dataset, config_dict=values)))

    return split
