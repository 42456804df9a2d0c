"""A folder that is replaced: whatever fails or is killed, one of the two is there, and nothing piles up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llmrg.errors import StoreError
from llmrg.graph.array_files import load_folder, new_folder, save_folder


def write(folder: Path, value: int) -> None:
    with new_folder(folder) as partial:
        save_folder(partial, {"n": np.array([value])}, {})


def read(folder: Path) -> int:
    return int(load_folder(folder, ["n"], [])[0]["n"][0])


@pytest.fixture
def dead() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_cannot_take_its_place_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "arrays", Path.rename
    write(folder, 1)

    def refused(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="No space left"):
        write(folder, 2)
    assert read(folder) == 1
    assert names(tmp_path) == ["arrays"]


def test_what_killed_processes_left_goes_and_what_others_are_writing_stays(tmp_path: Path, dead: int) -> None:
    write(tmp_path / "arrays", 1)
    at_work = f".arrays.{os.getppid()}.partial"
    another, own = f".arrays-neighbours.{dead}.partial", f".arrays.{os.getpid()}.old"
    for name in (f".arrays.{dead}.partial", f".arrays.{dead}.old", own, at_work, another):
        (tmp_path / name / "deep").mkdir(parents=True)
    write(tmp_path / "arrays", 2)
    assert names(tmp_path) == sorted([another, at_work, "arrays"])
    assert read(tmp_path / "arrays") == 2


def test_arrays_that_a_killed_process_had_just_moved_away_are_found_again(tmp_path: Path, dead: int) -> None:
    folder = tmp_path / "arrays"
    write(folder, 1)
    folder.rename(tmp_path / f".arrays.{dead}.old")
    assert read(folder) == 1
    assert names(tmp_path) == ["arrays"]

    folder.rename(tmp_path / f".arrays.{dead}.old")
    with pytest.raises(KeyboardInterrupt), new_folder(folder):
        raise KeyboardInterrupt
    assert read(folder) == 1


def test_arrays_that_a_process_at_work_has_moved_away_are_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    write(folder, 1)
    folder.rename(tmp_path / f".arrays.{os.getppid()}.old")
    with pytest.raises(StoreError, match="build them first"):
        read(folder)
