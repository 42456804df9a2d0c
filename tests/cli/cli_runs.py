"""A tiny data set with planted themes, its graphs, and a command line run in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmrg.cli.app import run
from llmrg.data.synthetic import planted_themes, write_atomic_files

USERS = 30
NAME = "planted"
QUICK = ("--set", "llmrg.text.encoder=hashing", "--set", "llmrg.text.components=8")


@dataclass(frozen=True)
class Outcome:
    """What one command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on the last line of stdout."""
        document: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return document


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of data sets."""
    folder = tmp_path_factory.mktemp("data")
    planted = planted_themes(num_users=USERS, num_items=24, num_themes=4, length=10, signal=1.0, seed=5)
    write_atomic_files(folder, NAME, planted.sequences, catalog=planted.catalog)
    return folder


@pytest.fixture(scope="session")
def made(data_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of finished graphs; not to be changed (see :func:`graphs`)."""
    folder = tmp_path_factory.mktemp("made") / NAME
    assert run(["generate", NAME, *QUICK, "--data-path", str(data_path), "--folder", str(folder)]) == 0
    return folder


@pytest.fixture
def room(tmp_path: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with the data sets in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMRG_DATA", str(data_path))
    return tmp_path


@pytest.fixture
def graphs(made: Path, room: Path) -> Path:
    """A copy of the finished graphs where they lie by default."""
    return Path(shutil.copytree(made, room / "llmrg-data" / NAME)).relative_to(room)


@pytest.fixture
def llmrg(room: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command line."""

    def command(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return command


def told_in_one_line(outcome: Outcome, *words: str) -> None:
    """A user error: exit code 1, nothing on stdout, one last line on stderr with these words."""
    assert outcome.code == 1
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("error: ")
    missing = [word for word in words if word not in last]
    assert not missing, last


def names_of(values: Sequence[dict[str, Any]], key: str) -> set[str]:
    """One value of each."""
    return {str(value[key]) for value in values}
