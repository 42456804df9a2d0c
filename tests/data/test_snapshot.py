"""The data behind a recipe, in one file: nothing lost, nothing added, nothing damaged unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrg.data.atomic_files import Dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cutoff import Cutoff, GlobalTime, LeaveOneOut
from llmrg.data.interactions import UserHistory
from llmrg.data.snapshot import load_snapshot, save_snapshot, snapshot_fingerprint
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
    assert snapshot_fingerprint(tmp_path / "data.gz") == dataset.fingerprint
    written = (tmp_path / "data.gz").read_bytes()
    save_snapshot(tmp_path / "data.gz", found)
    assert (tmp_path / "data.gz").read_bytes() == written


def test_a_missing_a_damaged_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.gz"
    assert snapshot_fingerprint(path) is None
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
