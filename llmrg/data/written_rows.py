"""Rows that people write for a command: JSON Lines, or a table with named columns.

Promise: every row comes with its line; what is not UTF-8, not JSON or not such a table is refused with its place. A
byte order mark, as spreadsheets write it, is not read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from llmrg.errors import DataError

TABLES = {".csv": ",", ".tsv": "\t"}
"""Endings of file names that mean a table, and what stands between its columns."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line that is not blank.

    Raises:
        DataError: bytes that are not UTF-8.
    """
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Number and value of each line that is not blank.

    Raises:
        DataError: a line that is not JSON, or bytes that are not UTF-8.
    """
    for number, line in read_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}", path=str(path), line=number) from error
        yield number, value


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and values of ``columns`` of each row of a table (.csv, .tsv) with a header; others are not read.

    Raises:
        DataError: a column is missing, or a value of one; or the file is no table in UTF-8.
    """
    asked = " and ".join(columns)
    with _opened(path, newline="") as file:
        rows = csv.DictReader(file, delimiter=TABLES[path.suffix.lower()])
        try:
            for name in columns:
                if name not in (rows.fieldnames or ()):
                    raise DataError(f"expected the columns {asked}, no {name} found", path=str(path), line=1)
            for row in rows:
                values = tuple((row[name] or "").strip() for name in columns)
                if not all(values):
                    raise DataError(f"expected {asked}, found {values}", path=str(path), line=rows.line_num)
                yield rows.line_num, values
        except csv.Error as error:
            raise DataError(f"not a table: {error}", path=str(path), line=rows.line_num) from error


@contextmanager
def _opened(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8 text: {error}; convert the file", path=str(path)) from error
