"""Whether two ways of writing a title mean the same one.

Promise: case, punctuation, a year at the end and an article at either end make no difference; a number does.
"""

from __future__ import annotations

import re

ARTICLES = ("the", "a", "an", "la", "le", "les", "il", "el", "der", "die", "das")
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(rf"^(.*), ({'|'.join(ARTICLES)})$")


def same_title(said: str, title: str) -> bool:
    """Whether the first line of an answer is this title, years, articles and punctuation aside.

    >>> same_title('"The English Patient" (1996)', "English Patient, The (1996)"), same_title("", "Alien")
    (True, False)
    """
    first = next((line for line in said.splitlines() if line.strip()), "")
    return bool(same_form(title)) and same_form(first) == same_form(title)


def same_form(title: str) -> str:
    """A title as it is compared.

    >>> same_form("Postino, Il (1994)")
    'postino'
    """
    plain = _YEAR.sub("", title.casefold().strip().strip("\"'*.` "))
    moved = _ARTICLE.match(plain)
    if moved:
        plain = f"{moved.group(2)} {moved.group(1)}"
    words = re.sub(r"[^\w]+", " ", plain).split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)
