"""A file is replaced whole, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrg.whole_files import whole_file


def test_a_file_is_replaced_when_all_of_it_is_written_and_stays_where_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notes.txt"
    with whole_file(path) as partial:
        partial.write_text("first", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "first"

    def interrupted() -> None:
        with whole_file(path) as partial:
            partial.write_text("half of the sec", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text(encoding="utf-8") == "first"
    assert [file.name for file in path.parent.iterdir()] == ["notes.txt"]
