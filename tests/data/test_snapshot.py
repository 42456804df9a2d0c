"""The data behind a recipe, in one file: nothing lost, nothing added, nothing damaged unnoticed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmrg.data.atomic_files import Dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cutoff import Cutoff, GlobalTime, LeaveOneOut
from llmrg.data.interactions import UserHistory
from llmrg.data.snapshot import (
    SNAPSHOT_FILE,
    keep_snapshot,
    load_snapshot,
    save_snapshot,
)
from llmrg.errors import StoreError

CATALOG = ItemCatalog([CatalogItem("1", "Täglich \u2603", {"genre": ("a", "b")}), CatalogItem("2")])


def data(cutoff: Cutoff) -> Dataset:
    histories = (
        UserHistory("u", ("1", "2", "1"), 2, attributes={"gender": ("F",)}, cutoff=cutoff.name),
        UserHistory("v", (), 0, cutoff=cutoff.name),
    )
    return Dataset("toy", histories, CATALOG, cutoff)


@pytest.mark.parametrize("cutoff", [LeaveOneOut(), GlobalTime(1.5, 2.5)])
def test_what_is_read_back_is_what_was_written(tmp_path: Path, cutoff: Cutoff) -> None:
    dataset = data(cutoff)
    save_snapshot(tmp_path / "data.gz", dataset)
    found = load_snapshot(tmp_path / "data.gz")
    assert (found.name, found.histories, found.cutoff) == (dataset.name, dataset.histories, cutoff)
    assert dict(found.catalog) == dict(dataset.catalog)
    assert found.fingerprint == dataset.fingerprint
    written = (tmp_path / "data.gz").read_bytes()
    save_snapshot(tmp_path / "data.gz", found)
    assert (tmp_path / "data.gz").read_bytes() == written


def test_a_missing_a_damaged_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    with pytest.raises(StoreError, match="llmrg generate"):
        load_snapshot(path)
    save_snapshot(path, data(LeaveOneOut()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="cannot be read"):
        load_snapshot(path)
    path.write_bytes(b"no archive")
    with pytest.raises(StoreError, match="cannot be read"):
        load_snapshot(path)


def test_what_is_there_is_kept_unless_histories_or_attributes_have_changed(tmp_path: Path) -> None:
    dataset, path = data(LeaveOneOut()), tmp_path / SNAPSHOT_FILE
    keep_snapshot(tmp_path, dataset)
    first = path.stat().st_ino
    keep_snapshot(tmp_path, dataset)
    assert path.stat().st_ino == first
    older = replace(dataset.histories[0], attributes={"gender": ("F",), "age": ("35",)})
    changed = replace(dataset, histories=(older, *dataset.histories[1:]))
    keep_snapshot(tmp_path, changed)
    assert load_snapshot(path).histories == changed.histories
    assert load_snapshot(path).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("attributes", [{}, {"gender": ("F",)}])
def test_a_file_from_before_attributes_counted_is_read_and_written_again_where_there_are_any(
    tmp_path: Path, attributes: dict[str, tuple[str, ...]]
) -> None:
    dataset, path = data(LeaveOneOut()), tmp_path / SNAPSHOT_FILE
    histories = (replace(dataset.histories[0], attributes=attributes), *dataset.histories[1:])
    dataset = replace(dataset, histories=histories)
    save_snapshot(path, dataset)
    head, *rest = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    older = {name: value for name, value in json.loads(head).items() if name != "attributes"}
    path.write_bytes(gzip.compress(b"".join([json.dumps(older).encode() + b"\n", *rest]), mtime=0))
    written = path.read_bytes()
    assert load_snapshot(path).histories == dataset.histories
    keep_snapshot(tmp_path, dataset)
    assert (path.read_bytes() == written) is not bool(attributes)


def test_attributes_that_are_not_those_written_are_noticed(tmp_path: Path) -> None:
    save_snapshot(tmp_path / "data.gz", data(LeaveOneOut()))
    text = gzip.decompress((tmp_path / "data.gz").read_bytes()).replace(b'["F"]', b'["M"]')
    (tmp_path / "data.gz").write_bytes(gzip.compress(text))
    with pytest.raises(StoreError, match="not what was written"):
        load_snapshot(tmp_path / "data.gz")
