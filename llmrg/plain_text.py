"""Foreign words on one line: titles, names and model replies, made safe to show to a person.

Promise: what comes out has no line break, no terminal escape, no control that turns the direction of the
text around it, nothing that is there and not seen, and at most ``limit`` characters. It is *not* escaped:
whoever writes markup does that. What :func:`script_json` gives cannot leave the script element it stands in.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MARKS = 4  # accents on one letter at most; no language stacks more, and a thousand cover the lines around
_JOINERS = "\u200c\u200d"  # hold Persian words and emoji together
_UNSEEN = frozenset(
    chr(code)
    for code in (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),  # joiners and fillers without ink
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),  # variation selectors: 256 values to hide words in
    )
)
_SPACE = re.compile(r"\s+")


def plain_line(text: str, limit: int = 200) -> str:
    """``text`` as one harmless line; what was cut off shows as an ellipsis.

    >>> plain_line("Alien\\x1b[31m\\n  (1979)"), plain_line("abcdef", 4), plain_line("\\u202egnp.exe")
    ('Alien [31m (1979)', 'abc…', 'gnp.exe')
    """
    # a title of a million characters costs no more than one of a thousand
    shown = "".join(_visible(character) for character in legible(text[: 4 * limit]))
    shown = _SPACE.sub(" ", shown).strip()
    if len(shown) > limit or len(text) > 4 * limit:
        return shown[: limit - 1].rstrip() + "…"
    return shown


def legible(text: str) -> str:
    """Without format characters, fillers and variation selectors, and with few marks on any letter.

    >>> legible("a\\u200bb\\U000e0041c\\ufe0f"), len(legible("e" + 99 * "\\u0301"))
    ('abc', 5)
    """
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if character in _UNSEEN or (category == "Cf" and character not in _JOINERS):
            continue
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)


def encodable(text: str) -> str:
    """``text`` with halves of characters, which no file can hold, as question marks.

    >>> encodable("Alien \\ud800")
    'Alien ?'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def encodable_values(values: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Names and their values, as :func:`encodable`."""
    return {encodable(name): tuple(map(encodable, found)) for name, found in values.items()}


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else character


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in.

    >>> script_json("</script>&")
    '"\\\\u003c/script\\\\u003e\\\\u0026"'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
