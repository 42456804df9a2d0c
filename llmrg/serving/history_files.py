"""Histories to recommend for, as people write them: in a word, or in a file.

Promise: every line is understood or refused with its number; nothing is guessed from its looks but what the file's
name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.data.written_rows import TABLES, read_json_lines, read_lines, read_table
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
    if path.suffix.lower() in TABLES:
        found = list(_of_table(path))
    elif path.suffix.lower() in (".jsonl", ".json"):
        found = [_of_json(path, number, value) for number, value in read_json_lines(path)]
    else:
        found = [GivenHistory(split_history(line), line=number) for number, line in read_lines(path)]
    if not found:
        raise DataError("expected histories, found none", path=str(path))
    yield from found


def _of_json(path: Path, number: int, found: Any) -> GivenHistory:
    user: Any = None
    items: Any = found
    if isinstance(found, dict):
        user, items = found.get("user_id"), found.get("history")
    if not (isinstance(items, list) and all(isinstance(item, str | int) for item in items)):
        raise DataError(
            'expected a list of item ids, or {"user_id": ..., "history": [...]}', path=str(path), line=number
        )
    return GivenHistory(tuple(map(str, items)), None if user is None else str(user), number)


def _of_table(path: Path) -> Iterator[GivenHistory]:
    items: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for number, (user, item) in read_table(path, ("user_id", "item_id")):
        items.setdefault(user, []).append(item)
        lines.setdefault(user, number)
    for user, taken in items.items():
        yield GivenHistory(tuple(taken), user, lines[user])
