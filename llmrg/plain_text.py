"""Foreign words on one line: titles, names and model replies, made safe to show to a person.

Promise: what comes out has no line break, no terminal escape, no control that turns the direction of the
text around it, and at most ``limit`` characters. It is *not* escaped: whoever writes markup does that.
"""

from __future__ import annotations

import re
import unicodedata

_TURNS_DIRECTION = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_SPACE = re.compile(r"\s+")


def plain_line(text: str, limit: int = 200) -> str:
    """``text`` as one harmless line; what was cut off shows as an ellipsis.

    >>> plain_line("Alien\\x1b[31m\\n  (1979)"), plain_line("abcdef", 4), plain_line("\\u202egnp.exe")
    ('Alien [31m (1979)', 'abc…', 'gnp.exe')
    """
    # a title of a million characters costs no more than one of a thousand
    shown = text[: 4 * limit].translate(_TURNS_DIRECTION)
    shown = "".join(_visible(character) for character in shown)
    shown = _SPACE.sub(" ", shown).strip()
    if len(shown) > limit or len(text) > 4 * limit:
        return shown[: limit - 1].rstrip() + "…"
    return shown


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category == "Cs" else character
