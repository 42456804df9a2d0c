"""Histories to recommend for, as people write them: in a word, or in a file.

Promise: every line is understood or refused with its number; nothing is guessed from its looks but what the file's
name says.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.errors import DataError


@dataclass(frozen=True)
class GivenHistory:
    """One history.

    Args:
        item_ids: external ids, oldest first.
        user_id: whose, if that was said.
        line: of the file it comes from, from 1.
    """

    item_ids: tuple[str, ...]
    user_id: str | None = None
    line: int | None = None


def split_history(text: str) -> tuple[str, ...]:
    """Item ids separated by commas.

    >>> split_history("12, 7,12")
    ('12', '7', '12')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def read_histories(path: Path) -> Iterator[GivenHistory]:
    """The histories of a file, in its order.

    Args:
        path: ``.jsonl``: one ``{"user_id": ..., "history": [...]}`` or ``[...]`` a line; ``.csv`` or ``.tsv``: a table
            with the columns ``user_id`` and ``item_id``, one interaction a line, oldest first; anything else: one
            history a line, ids separated by commas.

    Raises:
        DataError: a line that is something else, or a file without any history.
    """
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix in (".csv", ".tsv"):
            found = list(
                _of_table(path, csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
            )
        else:
            read = _of_json if path.suffix in (".jsonl", ".json") else _of_words
            found = [read(path, number, line) for number, line in enumerate(file, start=1) if line.strip()]
    if not found:
        raise DataError("expected histories, found none", path=str(path))
    yield from found


def _of_words(path: Path, number: int, line: str) -> GivenHistory:
    return GivenHistory(split_history(line), line=number)


def _of_json(path: Path, number: int, line: str) -> GivenHistory:
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise DataError(f"not JSON: {error}", path=str(path), line=number) from error
    user: Any = None
    items: Any = found
    if isinstance(found, dict):
        user, items = found.get("user_id"), found.get("history")
    if not (isinstance(items, list) and all(isinstance(item, str | int) for item in items)):
        raise DataError(
            'expected a list of item ids, or {"user_id": ..., "history": [...]}', path=str(path), line=number
        )
    return GivenHistory(tuple(map(str, items)), None if user is None else str(user), number)


def _of_table(path: Path, rows: csv.DictReader[str]) -> Iterator[GivenHistory]:
    missing = [name for name in ("user_id", "item_id") if name not in (rows.fieldnames or ())]
    if missing:
        raise DataError(
            f"expected the columns user_id and item_id, no {missing[0]} found", path=str(path), line=1
        )
    items: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        user, item = row["user_id"], row["item_id"]
        if not user or not item:
            raise DataError("expected a user_id and an item_id", path=str(path), line=number)
        items.setdefault(user, []).append(item)
        lines.setdefault(user, number)
    for user, taken in items.items():
        yield GivenHistory(tuple(taken), user, lines[user])
