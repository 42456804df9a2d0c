"""Files of rows that people write: each row with its line, anything else refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmrg.data.written_rows import read_json_lines, read_lines, read_table
from llmrg.errors import DataError

COLUMNS = ("user_id", "item_id")


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_rows_come_with_their_lines_and_without_what_a_spreadsheet_adds(tmp_path: Path) -> None:
    table = written(
        tmp_path, "a.csv", b'\xef\xbb\xbfitem_id,x,user_id\r\n"4,2",?, 7 \r\n\r\n8,"a\r\nb",9\r\n'
    )
    assert list(read_table(table, COLUMNS)) == [(2, ("7", "4,2")), (5, ("9", "8"))]
    lines = written(tmp_path, "a.jsonl", b'\xef\xbb\xbf[1]\n\n {"a": 2}\n')
    assert list(read_json_lines(lines)) == [(1, [1]), (3, {"a": 2})]
    assert list(read_table(written(tmp_path, "a.tsv", b"user_id\titem_id\n1\t2"), COLUMNS)) == [
        (2, ("1", "2"))
    ]


def of_columns(path: Path) -> Any:
    return read_table(path, COLUMNS)


@pytest.mark.parametrize(
    ("read", "name", "content", "words"),
    [
        (read_lines, "a.txt", b"1,2\n\xff\n", "UTF-8.*convert the file"),
        (read_json_lines, "a.jsonl", b"[]\n{\n", r"a\.jsonl:2.*not JSON"),
        (read_json_lines, "a.jsonl", b"[" * 100_000, r"a\.jsonl:1.*not JSON"),
        (of_columns, "a.csv", b"user_id,item_id\n1,\xe9\n", "UTF-8.*convert the file"),
        (of_columns, "a.csv", b"", r"a\.csv:1.*no user_id found"),
        (of_columns, "a.csv", b"user_id,title\n1,2\n", r"a\.csv:1.*no item_id found"),
        (of_columns, "a.csv", b"user_id,item_id\n1,2\n1\n", r"a\.csv:3.*expected user_id and item_id"),
        (of_columns, "a.csv", b'user_id,item_id\n1,"' + b"x" * 200_000, "not a table"),
    ],
)
def test_what_is_no_row_is_refused_with_its_place(
    tmp_path: Path, read: Any, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        list(read(written(tmp_path, name, content)))
