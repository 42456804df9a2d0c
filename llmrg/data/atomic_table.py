"""One atomic file: a typed header, tab-separated rows, nothing quoted.

Promise: a file that cannot be used is refused with its path, its line, what was expected, what was found and
what to do; no row is dropped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import DataError

FIELD_TYPES = ("token", "token_seq", "float", "float_seq")

# What pandas, and so RecBole, reads as "no value" and drops where it stands for a user or an item.
MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
        *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


@dataclass(frozen=True)
class AtomicTable:
    """One atomic file by columns, as words.

    Args:
        path: the file.
        types: column name to type, in file order.
        cells: column name to its cells.
        lines: the 1-based line of each row.
    """

    path: Path
    types: dict[str, str]
    cells: dict[str, list[str]]
    lines: list[int]

    @classmethod
    def read(cls, path: Path) -> AtomicTable:
        """Read a whole file; quotation marks are ordinary characters.

        Raises:
            DataError: unreadable, empty, a broken header, a ragged line, or a float column with other words.
        """
        rows = _split_lines(path)
        _, header = next(rows, (1, []))
        types = _parse_header(path, header)
        floats = [index for index, kind in enumerate(types.values()) if kind == "float"]
        columns: list[list[str]] = [[] for _ in types]
        lines = []
        for line, cells in rows:
            if len(cells) != len(types):
                raise DataError(
                    f"expected {len(types)} tab-separated cells as in the header, found {len(cells)}; "
                    "mend or remove the line",
                    path=str(path),
                    line=line,
                )
            for index in floats:
                if cells[index] not in MISSING:
                    _parse_float(cells[index], path, line, list(types)[index])
            lines.append(line)
            for column, cell in zip(columns, cells, strict=True):
                column.append(cell)
        if not lines:
            raise DataError("expected rows under the header, found none; fill the file", path=str(path))
        return cls(path, types, dict(zip(types, columns, strict=True)), lines)

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.cells:
            raise DataError(
                f"expected a column {name!r}, found {', '.join(self.types)}; "
                "rename the column or name another field",
                path=str(self.path),
                line=1,
            )
        return self.cells[name]

    def ids(self, name: str) -> list[str]:
        """A column of which every cell must name somebody or something.

        Raises:
            DataError: no such column, or a missing id (with its line).
        """
        cells = self.column(name)
        for line, cell in zip(self.lines, cells, strict=True):
            if cell in MISSING:
                raise DataError(
                    f"expected an id in column {name!r}, found {cell!r}, which RecBole reads as missing; "
                    "mend or remove the line",
                    path=str(self.path),
                    line=line,
                )
        return cells

    def floats(self, name: str) -> NDArray[np.float64]:
        """A float column without gaps.

        Raises:
            DataError: no such column, another type, or a missing number (with its line).
        """
        cells = self.column(name)
        if self.types[name] != "float":
            raise DataError(
                f"expected column {name}:float, found {name}:{self.types[name]}; change the header",
                path=str(self.path),
                line=1,
            )
        return np.array(
            [_parse_float(cell, self.path, line, name) for line, cell in zip(self.lines, cells, strict=True)]
        )


def _split_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line, text in enumerate(file, start=1):
                text = text.rstrip("\n")
                if text:
                    yield line, text.split("\t")
    except OSError as error:
        raise DataError(f"expected a readable file: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8 text: {error}; convert the file", path=str(path)) from error


def _parse_header(path: Path, header: list[str]) -> dict[str, str]:
    if not header:
        raise DataError(
            "expected a header such as 'user_id:token', found an empty file", path=str(path), line=1
        )
    if header[0].startswith("\ufeff"):
        raise DataError(
            "expected plain UTF-8, found a byte order mark; save the file without one", path=str(path), line=1
        )
    types: dict[str, str] = {}
    for cell in header:
        name, _, kind = cell.partition(":")
        if not name or kind not in FIELD_TYPES or name in types:
            raise DataError(
                f"expected distinct header cells 'name:type' with a type of {', '.join(FIELD_TYPES)}, "
                f"found {cell!r}; mend the header",
                path=str(path),
                line=1,
            )
        types[name] = kind
    return types


def _parse_float(cell: str, path: Path, line: int, name: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"expected a number in column {name!r}, found {cell!r}; mend or remove the line",
            path=str(path),
            line=line,
        )
    return value
