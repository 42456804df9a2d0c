"""JSON as language models write it: fenced, amid prose, with trailing commas, cut off at the end.

Promise: whatever the text is, looking for JSON in it ends in time linear in its length and raises nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DEEPEST = 32  # brackets within brackets; a reply needs six
STARTS = 64  # places of a text where JSON may start that are tried


def json_values(text: str) -> Iterator[tuple[Any, bool]]:
    """JSON values a text may have meant, in order, each with whether it had to be looked for or mended.

    >>> list(json_values('Sure: {"a": [1,],} and {"b": 2}'))
    [({'a': [1]}, True), ({'b': 2}, True)]
    """
    try:
        yield json.loads(text), False
        return
    except (ValueError, RecursionError):
        pass
    at, tried = 0, 0
    while tried < STARTS:
        starts = [found for found in (text.find("{", at), text.find("[", at)) if found >= 0]
        if not starts:
            return
        tried += 1
        mended, end = _bracketed(text, min(starts))
        value = _loaded(mended)
        at = end if value is not None else min(starts) + 1
        if value is not None:
            yield value, True


def _loaded(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _bracketed(text: str, start: int) -> tuple[str | None, int]:
    """What stands in brackets from ``start``, without trailing commas, closed where the text ends too early.

    >>> _bracketed('so {"a": [1, 2,], }.', 3), _bracketed('{"a": [{"b": 1}, {"b"', 0)
    (('{"a": [1, 2]}', 19), ('{"a": [{"b": 1}]}', 21))
    """
    out: list[str] = []
    closers: list[str] = []
    safe: tuple[int, str] | None = None  # how much of ``out`` is whole, and what closes it
    at, end = start, len(text)
    while at < end:
        character = text[at]
        if character == '"':
            stop = at + 1
            while stop < end and text[stop] != '"':
                stop += 2 if text[stop] == "\\" else 1
            out.append(text[at : stop + 1])
            at = stop + 1
            continue
        at += 1
        if character in "{[":
            closers.append("}" if character == "{" else "]")
            if len(closers) > DEEPEST:
                return None, at
        elif character in "}]":
            if closers.pop() != character:
                return None, at
            while out and (out[-1].isspace() or out[-1] == ","):
                out.pop()
            out.append(character)
            if not closers:
                return "".join(out), at
            safe = (len(out), "".join(reversed(closers)))
            continue
        out.append(character)
    if safe is None:
        return None, end
    return "".join(out[: safe[0]]) + safe[1], end
