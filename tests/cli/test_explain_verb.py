"""``llmrg explain``: the page is never written over anything but a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Command, told_in_one_line

PARTS = ("checkpoint.json", "vocabulary.json", "weights.safetensors", "item_columns.safetensors")


@pytest.mark.parametrize(
    "file",
    [
        "graphs/graphs.sqlite",
        *(f"kept/{part}" for part in PARTS),
        "graphs/../kept/checkpoint.json",
        "notes.txt",
    ],
)
def test_a_page_over_a_file_of_another_kind_is_refused_before_anything_is_read(
    llmrg: Command, room: Path, file: str
) -> None:
    (room / "kept").mkdir()
    (room / "graphs").mkdir()
    for part in (*(f"kept/{part}" for part in PARTS), "notes.txt"):
        (room / part).write_bytes(b"not to be read")
    (room / "graphs" / "graphs.sqlite").write_bytes(b"SQLite format 3\0")
    before = (room / file).read_bytes()
    told_in_one_line(llmrg("explain", "kept", "u1", "i1", "--html", file), file, "is not a page of HTML")
    assert (room / file).read_bytes() == before


@pytest.mark.parametrize("there", [None, b"", b"<!DOCTYPE html><p>an older one"])
def test_a_page_may_replace_a_page_or_an_empty_file(llmrg: Command, room: Path, there: bytes | None) -> None:
    (room / "kept").mkdir()
    (room / "kept" / "checkpoint.json").write_bytes(b"not to be read")
    if there is not None:
        (room / "why.html").write_bytes(there)
    told_in_one_line(
        llmrg("explain", "kept", "u1", "i1", "--html", "why.html"), "checkpoint kept cannot be read"
    )
