"""What verified chains teach: premise → continuation, so that the next user need not ask again.

Promise: a wave reads one frozen :class:`Snapshot`; what its users verified is merged afterwards in user
order, so nothing depends on speed. An entry learns from training parts only, is served only within the
scope it was learned in, counts distinct users (as salted hashes, never ids), never serves one of its own
supporters, keeps the verification scores of what it serves, and can be revoked for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmrg.errors import StoreError
from llmrg.fingerprint import fingerprint_text
from llmrg.graph.store import KnowledgeRow

SERVED = 100  # continuations of one premise that are looked at, the most supported ones
SUPPORTER = 12  # hexadecimal digits kept of a supporter's hash
EVERYWHERE = "*"  # scope of the mark that a premise is revoked in all scopes, also in those that never met it


@dataclass(frozen=True, slots=True)
class Contribution:
    """One verified chain of one user's training part.

    Args:
        key: the premise.
        name: the continuation: a reason's words, or an imagined item's id.
        words: the reason's words.
        score: its verification score.
        request: content hash of the request whose reply made it, or of the one behind a reused entry.
        supports: its score reached tau; one that did not (an audited reuse that failed) only lowers the mean.
    """

    key: str
    name: str
    words: str
    score: float
    request: str
    supports: bool = True


@dataclass(slots=True)
class Continuation:
    """One continuation of a premise.

    Args:
        words: of its first contributor.
        request: provenance of its first contributor.
        total: sum of the verification scores of all contributions.
        count: number of contributions.
        supporters: salted hashes of the distinct users behind it, in the order they came.
    """

    words: str
    request: str
    total: float = 0.0
    count: int = 0
    supporters: dict[str, None] = field(default_factory=dict)

    def add(self, other: Continuation) -> None:
        """Take in what a later wave found."""
        self.total += other.total
        self.count += other.count
        self.supporters.update(other.supporters)

    @property
    def score(self) -> float:
        """Mean verification score."""
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class Entry:
    """A premise with all its continuations; a revoked one serves and learns nothing."""

    scope: str
    key: str
    continuations: dict[str, Continuation] = field(default_factory=dict)
    revoked: bool = False
    wave: int = 0
    supporters: dict[str, None] = field(default_factory=dict)
    _known: list[Known] | None = field(default=None, repr=False, compare=False)

    @property
    def known(self) -> list[Known]:
        """What it answers, most supported first, then best score, then name; worked out again when it changes."""
        if self._known is None:
            found = [
                Known(self.key, name, c.words, c.score, len(c.supporters), c.request)
                for name, c in self.continuations.items()
            ]
            self._known = sorted(found, key=lambda k: (-k.support, -k.score, k.name))[:SERVED]
        return self._known

    def add(self, other: Entry) -> None:
        """Take in what a later wave found, or that it was revoked."""
        self._known = None
        if other.revoked:
            self.continuations.clear()
            self.supporters.clear()
        self.revoked = self.revoked or other.revoked
        self.wave = other.wave
        if self.revoked:
            return
        for name, found in other.continuations.items():
            known = self.continuations.setdefault(name, Continuation(found.words, found.request))
            known.add(found)
            self.supporters.update(found.supporters)


@dataclass(frozen=True, slots=True)
class Known:
    """What an entry answers to one user.

    Args:
        entry: key of the entry.
        name: see :class:`Contribution`.
        words: the reason's words.
        score: mean verification score.
        support: distinct users behind it, the asking one not among them.
        request: provenance.
    """

    entry: str
    name: str
    words: str
    score: float
    support: int
    request: str


class Snapshot:
    """The knowledge base as one wave sees it.

    It is a view: :class:`KnowledgeBase` changes only between waves.
    """

    def __init__(self, entries: Mapping[tuple[str, str], Entry], *, salt: str, min_support: int) -> None:
        self._entries, self._salt, self._min_support = entries, salt, min_support
        self._hashes: dict[str, str] = {}

    def look_up(self, key: str, *, scope: str, user_id: str) -> list[Known]:
        """Continuations of a premise with enough support, most supported first, then best score, then name.

        The premise as a whole needs the support (of others), not each continuation: two users whose reasons for one
        link are worded differently support the same link.

        Args:
            key: the premise.
            scope: of the asking user.
            user_id: the asking user; what it supports itself is withheld.
        """
        entry = self._entries.get((scope, key))
        if entry is None or entry.revoked or len(entry.supporters) < self._min_support:
            return []
        if user_id not in self._hashes:
            self._hashes = {user_id: supporter_hash(user_id, self._salt)}
        me = self._hashes[user_id]
        own: set[str] = set()
        if me in entry.supporters:  # as on the second visit of a user whose history grew
            if len(entry.supporters) - 1 < self._min_support:
                return []
            own = {n for n, c in entry.continuations.items() if me in c.supporters}
        return [known for known in entry.known if known.support and known.name not in own]


class KnowledgeBase:
    """All entries; changes only through :meth:`merge` and :meth:`revoke`.

    Args:
        salt: of the supporters' hashes; the recipe's fingerprint.
        min_support: distinct users a premise needs before it is served.
    """

    def __init__(self, *, salt: str = "", min_support: int = 2) -> None:
        self.salt, self.min_support = salt, min_support
        self._entries: dict[tuple[str, str], Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"KnowledgeBase({len(self)} entries)"

    @property
    def entries(self) -> list[Entry]:
        """By scope and key."""
        return [self._entries[name] for name in sorted(self._entries)]

    def snapshot(self) -> Snapshot:
        """What a wave may read."""
        return Snapshot(self._entries, salt=self.salt, min_support=self.min_support)

    def merge(
        self, contributions: Iterable[tuple[str, str, Contribution]], *, wave: int
    ) -> list[KnowledgeRow]:
        """Take in what a wave verified, in the order given.

        Args:
            contributions: (user id, scope, contribution), in user order.
            wave: the wave that ends.

        Returns:
            What this wave adds to the entries it touched, by scope and key; :meth:`load` adds it up again.
        """
        found: dict[tuple[str, str], Entry] = {}
        hashes: dict[str, str] = {}
        for user_id, scope, new in contributions:
            name = (scope, new.key)
            if self._is_revoked(name) or self._is_revoked((EVERYWHERE, new.key)):
                continue
            entry = found.setdefault(name, Entry(scope, new.key, wave=wave))
            continuation = entry.continuations.setdefault(new.name, Continuation(new.words, new.request))
            continuation.total += new.score
            continuation.count += 1
            if new.supports:
                if user_id not in hashes:
                    hashes[user_id] = supporter_hash(user_id, self.salt)
                continuation.supporters.setdefault(hashes[user_id])
        for name in sorted(found):
            self._add(found[name])
        return [_row(found[name]) for name in sorted(found)]

    def revoke(self, key: str, *, scope: str | None = None) -> list[KnowledgeRow]:
        """Empty the entries with this key for good, in one scope or in all; returns what to write down."""
        found = {s: entry.wave for (s, k), entry in self._entries.items() if k == key and scope in (None, s)}
        if found and scope is None:
            found.setdefault(EVERYWHERE, max(found.values()))
        gone = [Entry(s, key, revoked=True, wave=wave) for s, wave in sorted(found.items())]
        for entry in gone:
            self._add(entry)
        return [_row(entry) for entry in gone]

    def load(self, rows: Iterable[KnowledgeRow]) -> None:
        """Add up what a store holds.

        Args:
            rows: by wave.

        Raises:
            StoreError: a row that is no entry.
        """
        for row in rows:
            try:
                continuations = {
                    str(name): Continuation(
                        words, request, float(total), int(count), dict.fromkeys(supporters)
                    )
                    for name, words, request, total, count, supporters in row.document["continuations"]
                }
                entry = Entry(row.scope, row.key, continuations, bool(row.document["revoked"]), row.wave)
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"knowledge entry {row.key!r}: {error!r}; revoke it or generate again"
                ) from error
            self._add(entry)

    def _is_revoked(self, name: tuple[str, str]) -> bool:
        return name in self._entries and self._entries[name].revoked

    def _add(self, found: Entry) -> None:
        self._entries.setdefault((found.scope, found.key), Entry(found.scope, found.key)).add(found)


def supporter_hash(user_id: str, salt: str) -> str:
    """The salted hash that stands for a user.

    >>> supporter_hash("u1", "salt") == supporter_hash("u1", "other")
    False
    """
    return fingerprint_text([salt, user_id])[3 : 3 + SUPPORTER]


def _row(entry: Entry) -> KnowledgeRow:
    continuations: list[list[Any]] = [
        [name, c.words, c.request, c.total, c.count, list(c.supporters)]
        for name, c in entry.continuations.items()
    ]
    return KnowledgeRow(
        entry.key, entry.scope, {"continuations": continuations, "revoked": entry.revoked}, entry.wave
    )
