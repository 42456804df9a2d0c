"""Lists of titles in prose, as models write them that ignore the schema: the last rung of reading a reply.

Promise: any text gives a list of entries, none of which holds a line break or is longer than a reply may be;
prose, refusals and broken JSON give none, and no entry is made of words that were not in the text. It costs
time in proportion to the text. Understood are numbered, bracketed and bulleted lists, several entries on one
line, ``watched - recommended`` pairs, a heading that names what its bullets follow from, reasons after a
title, and bare lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmrg.prompting.rendering import sanitise
from llmrg.reasoners.tasks import (
    MAX_IMAGINED,
    WORDS,
    DivergentPayload,
    DivergentReply,
    Extension,
    ImaginedItem,
)

TEXT = 50_000  # characters read at most
ENTRIES = 200  # entries read at most
UNSCORED = 50  # a list gives an order and no plausibility: neither for nor against
TITLE_WORDS = 20
ALTERNATIVES = 4  # this many capitalised parts between commas are several titles, not one with commas

_MARK = re.compile(r"\s*(?:[-*•‣◦▪–—+]\s+|#{1,6}\s+)?(\[\s*)?\(?(\d{1,3})(?:[.)\]:](?=\s|$|[^\d\s]))\s*")
_BULLET = re.compile(r"\s*(?:[-*•‣◦▪+]|–|—)\s+")
_SEPARATOR = re.compile(r"\s+(?:[-–—]|->|=>|→|⇒)\s+")
_SPACES = re.compile(r"\s+")
_EMPHASIS = re.compile(r"\*\*|__|[`“”]")
_NAMED = re.compile(r'^(?:\*\*|__|"|“|`)(.{1,300}?)(?:\*\*|__|"|”|`)[,:]?\s*(.*)$')
_QUOTED = re.compile(r'"([^"\n]{2,300})"|“([^”\n]{2,300})”|\*\*([^*\n]{2,300})\*\*')
_BECAUSE = re.compile(
    r"^(.{1,300}?)[,;]?\s+\(?((?:because|since you|as you|which (?:is|was|has))\b.*)$", re.I
)
_COLON_REASON = re.compile(r"^(.{1,300}?\)):\s+(\S.*)$")
_LEAD = re.compile(r"^(?:because you (?:watched|liked|chose)|based on|similar to|if you liked|for)\s+", re.I)
_KEYED = re.compile(r'"\s*:')


@dataclass(frozen=True, slots=True)
class ListedTitle:
    """One entry of a list.

    Args:
        title: what is recommended.
        source: what it is said to follow from; empty where nothing is.
        reason: why, in the text's own words; may be empty.
    """

    title: str
    source: str = ""
    reason: str = ""


def parse_free_form(text: str) -> list[ListedTitle]:
    """The titles that a text recommends, in its order.

    >>> parse_free_form("Here you are:\\n1. Heat - Ronin\\n2. **Antz** (1998): ants, but funny")
    [ListedTitle(title='Ronin', source='Heat', reason=''), ListedTitle(title='Antz (1998)', source='', reason='ants, but funny')]
    >>> parse_free_form("[1. Heat - Ronin], [2. Alien]."), parse_free_form("I prefer action-packed movies.")
    ([ListedTitle(title='Ronin', source='Heat', reason=''), ListedTitle(title='Alien', source='', reason='')], [])
    """  # noqa: E501
    # single spaces first: no expression below may cost more than its text is long
    lines = [line for line in (" ".join(line.split()) for line in text[:TEXT].splitlines()) if line]
    found = list(_listed(lines)) or list(_bare(lines)) or list(_quoted("\n".join(lines)))
    seen: dict[tuple[str, str], ListedTitle] = {}
    for entry in found:
        seen.setdefault((entry.source.casefold(), entry.title.casefold()), entry)
    return list(seen.values())[:ENTRIES]


def to_divergent(payload: DivergentPayload, entries: Iterable[ListedTitle]) -> DivergentReply | None:
    """The entries as extensions of the chains asked about; ``None`` where there is no entry.

    An entry whose source is a shown item belongs to the chain that holds it, others to the first chain. No
    chain gets more than ``per_chain`` items, and no title comes twice.
    """
    places = {_folded(item.title): i for i, item in reversed(list(enumerate(payload.items)))}
    given: dict[int, list[ListedTitle]] = {}
    taken = set(places)
    for entry in entries:
        at = _chain_of(payload, places.get(_folded(entry.source)))
        title = _folded(entry.title)
        mine = given.setdefault(at, [])
        if title not in taken and len(mine) < min(payload.per_chain, MAX_IMAGINED):
            taken.add(title)
            mine.append(entry)
    extensions = [
        Extension(
            item=payload.chains[at].items[-1],
            reason=next((entry.reason for entry in mine if entry.reason), ""),
            items=[ImaginedItem(title=entry.title, score=UNSCORED) for entry in mine],
        )
        for at, mine in sorted(given.items())
        if mine
    ]
    return DivergentReply(extensions=extensions) if extensions and payload.chains else None


def _chain_of(payload: DivergentPayload, item: int | None) -> int:
    return next((at for at, chain in enumerate(payload.chains) if item in chain.items), 0)


def _folded(title: str) -> str:
    return " ".join(title.casefold().split())


def _listed(lines: list[str]) -> Iterator[ListedTitle]:
    """Entries behind a number or a bullet; a marked heading is the source of the bullets below it."""
    heading = ""
    for line in lines:
        numbered = list(_numbered(line))
        bullet = None if numbered else _BULLET.match(line)
        bodies = numbered or ([line[bullet.end() :]] if bullet else [])
        if not bodies:
            words = line.strip("#*_ ")
            heading = _clean(_LEAD.sub("", words[:-1])) if words.endswith(":") and _LEAD.match(words) else ""
        for body in bodies:
            words = body.strip().rstrip("*_ ")
            if words.endswith(":"):
                heading = _clean(words[:-1])
                continue
            if numbered:
                heading = ""
            yield from _entries(words, heading)


def _numbered(line: str) -> Iterator[str]:
    """The bodies of the numbered entries of one line: ``[1. a], [2. b]`` and ``1. a 2. b`` hold two."""
    mark = _MARK.match(line)
    if mark is None:
        return
    while mark is not None:
        number, start = int(mark.group(2)), mark.end()
        following = re.compile(rf"(?:[\],;.]\s*|\s)\[?\s*\(?{number + 1}[.)]\s+").search(line, start)
        end = len(line) if following is None else following.start()
        body = line[start:end].strip()
        yield body.rstrip(",;. \t").removesuffix("]") if mark.group(1) else body
        if following is None:
            return
        opening = re.compile(r"[\[(\d]").search(line, following.start())
        mark = _MARK.match(line, opening.start()) if opening is not None else None


def _entries(body: str, heading: str) -> Iterator[ListedTitle]:
    source, title, reason = _parts(body)
    source = _clean(source) or heading
    for piece in _alternatives(title):
        name = _clean(piece)
        if name and len(name.split()) <= TITLE_WORDS and any(c.isalnum() for c in name):
            yield ListedTitle(name, source, _clean(reason))


def _parts(body: str) -> tuple[str, str, str]:
    """Source, title and reason of one entry; a part that reads as prose is the reason."""
    named = _NAMED.match(body)
    reason = ""
    if named is not None:
        title, rest = named.group(1), named.group(2)
        year = re.match(r"\(\d{4}\)", rest)
        if year is not None:
            title, rest = f"{title} {year.group()}", rest[year.end() :].lstrip(" :,")
        rest = _SEPARATOR.sub(" ", f" {rest}", count=1) if _SEPARATOR.match(f" {rest}") else rest
        rest, second = rest.strip(), _NAMED.match(rest.strip())
        if second is not None:
            return title, second.group(1), second.group(2)
        return (
            ("", title, rest)
            if not rest or _prose(rest) or ":" in body[: len(body) - len(rest)]
            else (
                title,
                rest,
                "",
            )
        )
    because = _BECAUSE.match(body) or _COLON_REASON.match(body)
    if because is not None:
        body, reason = because.group(1), because.group(2).rstrip(")")
    parts = _SEPARATOR.split(f" {body}")
    parts = [part.strip() for part in parts if part.strip()]
    if len(parts) > 1 and _prose(parts[-1]):
        reason = reason or parts.pop()
    *sources, title = parts or [""]
    return " - ".join(sources), title, reason


def _alternatives(words: str) -> list[str]:
    """The titles that stand between commas, where there are too many for one title with commas."""
    pieces = words.split(", ")
    several = len(pieces) >= ALTERNATIVES and "(" not in words
    return (
        pieces if several and all(piece[:1].isupper() or piece[:1].isdigit() for piece in pieces) else [words]
    )


def _prose(words: str) -> bool:
    """Whether words explain rather than name: they start small, or are a long sentence."""
    if len(_alternatives(words)) > 1:
        return False
    count, ended = len(words.split()), words.rstrip().endswith((".", "!"))
    return words[:1].islower() or (count > 6 and ended) or (count > TITLE_WORDS // 2 and "," not in words)


def _bare(lines: list[str]) -> Iterator[ListedTitle]:
    """Lines that look like titles, where nothing is marked and there is more than one of them."""
    good = [
        w
        for w in lines
        if (w[0].isupper() or w[0].isdigit())
        and len(w.split()) <= TITLE_WORDS // 2
        and not w.endswith((".", ":", ",", "?", "{", "["))
        and not _KEYED.search(w)
    ]
    if len(good) > 1 and len(good) >= len(lines) - 2:
        for word in good:
            yield from _entries(word, "")


def _quoted(text: str) -> Iterator[ListedTitle]:
    """Titles in quotation marks or bold within a sentence, unless the text is JSON gone wrong."""
    if not _KEYED.search(text):
        for match in _QUOTED.finditer(text):
            yield from _entries(next(group for group in match.groups() if group), "")


def _clean(words: str) -> str:
    """One line without list marks, quotes and closing punctuation, not longer than words may be."""
    text = _SPACES.sub(" ", _EMPHASIS.sub("", words)).strip().strip('"').strip()
    text = text.rstrip(",;").rstrip()
    if text.endswith("]") and "[" not in text:
        text = text[:-1]
    if (text.endswith(".") and not text.endswith("...")) or text.endswith("...."):
        initials = re.search(r"\b[A-Z]\.[A-Z]\.$", text)
        text = text if initials else text[:-1]
    return sanitise(text.removeprefix("- ").strip('" '), WORDS)
