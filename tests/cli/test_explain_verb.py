"""``llmrg explain``: the page is never written over a store or a part of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Command, told_in_one_line

PARTS = ("checkpoint.json", "vocabulary.json", "weights.safetensors", "item_columns.safetensors")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("graphs/graphs.sqlite", "is a store"),
        *((f"kept/{part}", "is a part of the checkpoint") for part in PARTS),
        ("graphs/../kept/checkpoint.json", "is a part of the checkpoint"),
    ],
)
def test_a_page_over_a_store_or_a_part_of_the_checkpoint_is_refused_before_either_is_read(
    llmrg: Command, room: Path, file: str, words: str
) -> None:
    (room / "kept").mkdir()
    (room / "graphs").mkdir()
    for part in PARTS:
        (room / "kept" / part).write_bytes(b"not to be read")
    (room / "graphs" / "graphs.sqlite").write_bytes(b"SQLite format 3\0")
    before = (room / file).read_bytes()
    told_in_one_line(llmrg("explain", "kept", "u1", "i1", "--html", file), file, words)
    assert (room / file).read_bytes() == before
    told_in_one_line(
        llmrg("explain", "kept", "u1", "i1", "--html", "kept/why.html"), "checkpoint kept cannot be read"
    )
