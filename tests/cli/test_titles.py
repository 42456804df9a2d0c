"""Titles for the verbs that show a store: from the items' file alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrg.cli.screen import Screen
from llmrg.cli.titles import titles_of


def test_titles_are_read_without_the_interactions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "films.inter").write_text("no interactions at all")
    (folder / "films.item").write_text("item_id:token\ttitle:token_seq\n1\tHeat\n2\t\n3\tFargo\n")
    screen = Screen(as_json=False)
    assert titles_of(screen, "films", ["1", "2", "9", "1"], tmp_path, "ids are shown") == {"1": "Heat"}
    assert titles_of(screen, "nowhere", ["1"], tmp_path, "ids are shown") == {}
    shown = capsys.readouterr().err
    assert shown.startswith("ids are shown: ")
    assert "nowhere.inter" in shown


def test_an_items_file_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "films.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n1\t1\t1\n")
    (folder / "films.item").write_text("name\nHeat\n")
    assert titles_of(Screen(as_json=False), "films", ["1"], tmp_path, "ids are shown") == {}
    assert len(capsys.readouterr().err.splitlines()) == 1
