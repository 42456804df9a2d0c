"""A data set as graphs were made from it, in one file: the statistics behind a recipe can be had again from it.

Promise: what is read back has the fingerprint of what was written, whatever became of the atomic files since; the
file holds nothing at or after the cut-off, and equal data give equal bytes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmrg.data.atomic_files import Dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cutoff import Cutoff, GlobalTime, LeaveOneOut
from llmrg.data.interactions import UserHistory
from llmrg.errors import StoreError
from llmrg.whole_files import whole_file

FORMAT = "llmrg-data-1"
SNAPSHOT_FILE = "data.jsonl.gz"


def save_snapshot(path: Path, dataset: Dataset) -> None:
    """Write ``dataset`` to ``path``; the file appears whole or not at all."""
    cutoff: dict[str, Any] = {"name": dataset.cutoff.name}
    if isinstance(dataset.cutoff, GlobalTime):
        cutoff |= {"valid_time": dataset.cutoff.valid_time, "test_time": dataset.cutoff.test_time}
    head: dict[str, Any] = {
        "format": FORMAT,
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "attributes": dataset.attributes_fingerprint,
        "cutoff": cutoff,
    }
    head |= {"items": len(dataset.catalog), "users": len(dataset.histories)}
    with (
        whole_file(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file,
    ):
        for record in (
            head,
            *([i.item_id, i.title, _plain(i.attributes)] for i in dataset.catalog.values()),
            *([h.user_id, h.item_ids, h.train_length, _plain(h.attributes)] for h in dataset.histories),
        ):
            file.write((json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n").encode())


def keep_snapshot(folder: Path, dataset: Dataset) -> None:
    """Have the folder's :data:`SNAPSHOT_FILE` hold ``dataset``; what is there already is not written again."""
    path = folder / SNAPSHOT_FILE
    head = _read_head(path)
    # a file that does not say what attributes it holds was made before they counted
    if (head.get("fingerprint"), head.get("attributes", "")) != (
        dataset.fingerprint,
        dataset.attributes_fingerprint,
    ):
        save_snapshot(path, dataset)


def load_snapshot(path: Path) -> Dataset:
    """The data set of a file; times of interactions are not kept.

    Raises:
        StoreError: no such file, a damaged one, or one of another format.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            head = json.loads(file.readline())
            if head["format"] != FORMAT:
                raise StoreError(f"{path}: expected format {FORMAT!r}, found {head['format']!r}")
            records = [json.loads(line) for line in file]
        cutoff = _cutoff(head["cutoff"])
        items, users = records[: head["items"]], records[head["items"] :]
        found = Dataset(
            name=head["name"],
            histories=tuple(
                UserHistory(user, tuple(items), train, attributes=_values(attributes), cutoff=cutoff.name)
                for user, items, train, attributes in users
            ),
            catalog=ItemCatalog([CatalogItem(i, title, _values(values)) for i, title, values in items]),
            cutoff=cutoff,
        )
    except FileNotFoundError as error:
        raise StoreError(
            f"{path}: expected the data the graphs were made from, found no file; `llmrg generate` writes it"
        ) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it and run `llmrg generate`") from error
    said = head["fingerprint"], head.get("attributes", found.attributes_fingerprint)
    if (found.fingerprint, found.attributes_fingerprint) != said:
        raise StoreError(f"{path}: its content is not what was written; delete it and run `llmrg generate`")
    return found


def _read_head(path: Path) -> dict[str, Any]:
    """What a file says of itself; empty where there is nothing to be had."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            head = json.loads(file.readline())
    except (OSError, EOFError, ValueError):
        return {}
    return head if isinstance(head, dict) else {}


def _cutoff(values: Mapping[str, Any]) -> Cutoff:
    if values["name"] == GlobalTime.name:
        return GlobalTime(values["valid_time"], values["test_time"])
    return LeaveOneOut()


def _plain(attributes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(values) for name, values in attributes.items()}


def _values(attributes: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(values) for name, values in attributes.items()}
