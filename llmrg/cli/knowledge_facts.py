"""The knowledge base of a store as entries to list, and where its graphs used one.

Promise: it counts users and names none, unless their names are asked for; nothing here changes the store.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmrg.errors import DataError

if TYPE_CHECKING:
    from llmrg.explanation.rendering import Standing
    from llmrg.graph.schema import ReasoningGraph
    from llmrg.graph.store import GraphStore
    from llmrg.reasoning.knowledge_base import Entry, KnowledgeBase, Known

NEAR = 3  # premises named where one is unknown


@dataclass(slots=True)
class Used:
    """Where graphs reused an entry.

    Args:
        nodes: reused nodes, by kind.
        users: whose graphs hold one.
    """

    nodes: dict[str, int] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """In one line.

        >>> Used({"reason": 3}, ["u"]).words
        '3 reasons in the graphs of 1 user'
        """
        kinds = [plural(count, kind.replace("_", " ")) for kind, count in sorted(self.nodes.items())]
        if not kinds:
            return "nothing in any graph"
        return f"{' and '.join(kinds)} in the graphs of {plural(len(self.users), 'user')}"


def open_knowledge(store: GraphStore) -> KnowledgeBase:
    """The knowledge base a store holds, as the next wave would see it.

    Raises:
        StoreError: it cannot be read.
    """
    from llmrg.reasoning.knowledge_base import KnowledgeBase

    knowledge = KnowledgeBase(salt=str(store.meta().get("recipe", "")))
    knowledge.load(store.knowledge())
    return knowledge


def entries_of(knowledge: KnowledgeBase, key: str, scope: str | None) -> list[Entry]:
    """The entries of one premise, in one scope or in all.

    Raises:
        DataError: there is none; the nearest ones are named.
    """
    found = [entry for entry in knowledge.entries if entry.key == key and scope in (None, entry.scope)]
    if found:
        return found
    scopes = sorted(entry.scope for entry in knowledge.entries if entry.key == key)
    if scopes:
        raise DataError(f"no entry {key!r} in scope {scope!r}; it has one in: {', '.join(map(repr, scopes))}")
    keys = list(dict.fromkeys(entry.key for entry in knowledge.entries))
    near = difflib.get_close_matches(key, keys, n=NEAR, cutoff=0.5) or keys[:NEAR]
    hint = f"such as: {', '.join(near)}" if near else "the knowledge base is empty"
    raise DataError(f"no entry {key!r} among {len(keys)} premises; {hint}")


def mean_score(entry: Entry) -> float | None:
    """Mean verification score of all contributions to an entry; ``None``: there are none."""
    count = sum(c.count for c in entry.continuations.values())
    return sum(c.total for c in entry.continuations.values()) / count if count else None


def served(entry: Entry, settings: Mapping[str, Any]) -> list[Known]:
    """The continuations that the next wave would be served, but for the users behind them.

    Args:
        entry: of a premise.
        settings: ``generation``, as the store's meta holds them.
    """
    if entry.revoked or len(entry.supporters) < settings.get("knowledge_min_support", 1):
        return []
    least = settings.get("knowledge_min_score", 0.0)
    return [known for known in entry.known if known.support and known.score >= least]


def entry_document(entry: Entry) -> dict[str, Any]:
    """An entry in short, for ``--json``."""
    from llmrg.reasoning.premises import premise_kind

    return {
        "key": entry.key,
        "kind": premise_kind(entry.key),
        "scope": entry.scope,
        "continuations": len(entry.continuations),
        "contributions": sum(c.count for c in entry.continuations.values()),
        "support": len(entry.supporters),
        "score": mean_score(entry),
        "wave": entry.wave,
        "revoked": entry.revoked,
    }


def used_by(store: GraphStore, key: str) -> Used:
    """Where graphs reused the entries of a premise, whatever their scope: a graph does not say it."""
    used = Used()
    for graph in store.naming(key):
        kinds = [
            node.kind.value
            for node in graph.nodes
            if node.provenance is not None and node.provenance.knowledge_entry == key
        ]
        if kinds:
            used.users.append(graph.user_id)
        for kind in kinds:
            used.nodes[kind] = used.nodes.get(kind, 0) + 1
    return used


def standing_of(store: GraphStore, graph: ReasoningGraph) -> dict[str, Standing]:
    """How the entries a graph reused stand now, by key; users are counted over all scopes."""
    from llmrg.explanation.rendering import Standing

    keys = {node.provenance.knowledge_entry for node in graph.nodes if node.provenance is not None}
    found: dict[str, list[Entry]] = {}
    if keys - {None}:
        for entry in open_knowledge(store).entries:
            if entry.key in keys:
                found.setdefault(entry.key, []).append(entry)
    return {
        key: Standing(
            support=len({name for entry in entries for name in entry.supporters}),
            scopes=sum(not entry.revoked for entry in entries),
            revoked=all(entry.revoked for entry in entries),
        )
        for key, entries in found.items()
    }


def says_the_same(knowledge: KnowledgeBase, entries: Sequence[Entry]) -> list[str]:
    """Keys of other premises under which the same reasons are kept, in the same scopes."""
    words = {(e.scope, c.words) for e in entries for c in e.continuations.values() if c.words}
    key = entries[0].key
    return sorted(
        {
            e.key
            for e in knowledge.entries
            if e.key != key and any((e.scope, c.words) in words for c in e.continuations.values())
        }
    )


def scope_words(scope: str) -> str:
    """A scope for people: most runs have but one, without a name.

    >>> scope_words("3"), scope_words("*"), scope_words("")
    ('3', 'any', '-')
    """
    return "any" if scope == "*" else scope or "-"


def plural(number: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "user"), plural(2, "entry")
    ('1 user', '2 entries')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"
