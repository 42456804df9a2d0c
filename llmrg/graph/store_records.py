"""What a graph store holds besides graphs, as plain values.

Promise: nothing here knows a file; the store writes these values and gives equal ones back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmrg.fingerprint import fingerprint_text

STORE_FILE = "graphs.sqlite"
"""What a graph store is called in a folder of graphs, by custom."""

IDENTITY = ("dataset", "data_fingerprint", "cutoff", "recipe")
"""Keys of a store's meta that say what it was made for: the data set's name, its fingerprint, the cut-off's
name and the recipe's fingerprint. Graphs that disagree in one of them do not belong into one store."""


def attributes_hash(shown: Iterable[str]) -> str:
    """Content hash of a user's attributes as a graph shows them, ``name=value``; empty where it shows none."""
    found = list(shown)
    return fingerprint_text(found) if found else ""


@dataclass(frozen=True)
class Failure:
    """One thing that could not be done for a user.

    Args:
        user_id: external id.
        stage: the task that failed, such as ``chained_reasoning``, or the kind of error that ended it all.
        message: why, in words.
        request: content hash of the request to blame, where there is one.
    """

    user_id: str
    stage: str
    message: str
    request: str = ""


@dataclass(frozen=True)
class KnowledgeRow:
    """What one wave added to one knowledge-base entry.

    Args:
        key: the entry's name within its scope.
        scope: of the users it is served to, as the reasoner has it: a fold, or nothing for all.
        document: JSON-like values.
        wave: the wave after which it was merged.
    """

    key: str
    scope: str
    document: Mapping[str, Any]
    wave: int


@dataclass(frozen=True)
class StoreSummary:
    """Counts for ``llmrg status``.

    Args:
        graphs: users with a graph.
        nodes: nodes of all graphs, of which ``rejected`` lie under tau.
        rejected: rejected nodes.
        edges: edges of all graphs.
        failures: recorded failures.
        failed_users: users with a failure and no graph.
        knowledge: knowledge-base entries, revoked ones too.
        wave: the newest committed wave, or -1.
        recipes: recipe to its number of graphs.
        size_bytes: size of the file.
        meta: what the store says about itself.
    """

    graphs: int
    nodes: int
    rejected: int
    edges: int
    failures: int
    failed_users: int
    knowledge: int
    wave: int
    recipes: Mapping[str, int]
    size_bytes: int
    meta: Mapping[str, Any] = field(default_factory=dict)
