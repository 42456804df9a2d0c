"""Graphs and knowledge as rows of the store: packed documents with their hashes.

Promise: what is unpacked is what was packed, to the byte, or a :class:`~llmrg.errors.StoreError`.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmrg.errors import GraphError, StoreError
from llmrg.fingerprint import canonical_json, fingerprint_text
from llmrg.graph.schema import NodeKind, ReasoningGraph
from llmrg.graph.store_records import KnowledgeRow, attributes_hash

_REMEDY = "move the store away and generate again (a language model's answers are on record)"


def put_graph(connection: sqlite3.Connection, graph: ReasoningGraph, wave: int) -> None:
    """Write the graph of one user in the place of an older one."""
    digest, blob = _pack(graph.to_document())
    connection.execute(
        "INSERT OR REPLACE INTO graphs "
        "(user_id, history, recipe, wave, nodes, rejected, edges, hash, document, attributes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            graph.user_id,
            graph.history,
            graph.recipe,
            wave,
            len(graph.nodes),
            len(graph.rejected),
            len(graph.edges),
            digest,
            blob,
            attributes_hash(node.label for node in graph.nodes if node.kind is NodeKind.ATTRIBUTE),
        ),
    )


def put_knowledge(connection: sqlite3.Connection, rows: Iterable[KnowledgeRow]) -> None:
    """Write what waves add to knowledge-base entries; the same wave's row is replaced."""
    connection.executemany(
        "INSERT OR REPLACE INTO knowledge (scope, key, wave, hash, document) VALUES (?, ?, ?, ?, ?)",
        ((row.scope, row.key, row.wave, *_pack(row.document)) for row in rows),
    )


def forget_knowledge(connection: sqlite3.Connection, path: Path) -> None:
    """Delete every knowledge-base row but those that say what was revoked; an unreadable one goes too."""
    gone = []
    for row, digest, blob in connection.execute("SELECT rowid, hash, document FROM knowledge"):
        try:
            kept = json.loads(unpack_text(path, "knowledge entry", digest, blob)).get("revoked")
        except StoreError:
            kept = False
        if not kept:
            gone.append((row,))
    connection.executemany("DELETE FROM knowledge WHERE rowid = ?", gone)


def put_meta(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """Set some of what the store says about itself."""
    rows = [(key, canonical_json(value)) for key, value in values.items()]
    connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", rows)


def unpack_graph(path: Path, user_id: str, digest: str, blob: bytes) -> ReasoningGraph:
    """The graph in a row.

    Args:
        path: of the store, for messages.
        user_id: of the row.
        digest: the hash kept beside the document.
        blob: the packed document.

    Raises:
        StoreError: corrupt, changed, or no graph.
    """
    what = f"graph of user {user_id!r}"
    text = unpack_text(path, what, digest, blob)
    try:
        return ReasoningGraph.from_document(json.loads(text))
    except (ValueError, GraphError) as error:
        raise StoreError(f"{path}: {what}: {error}; {_REMEDY}") from error


def shown_attributes(path: Path, user_id: str, digest: str, blob: bytes) -> str:
    """Hash of the attributes that the graph in a row shows; see :func:`unpack_graph`, which takes longer."""
    document = json.loads(unpack_text(path, f"graph of user {user_id!r}", digest, blob))
    kind = NodeKind.ATTRIBUTE.value
    return attributes_hash(node[2] for node in document["nodes"] if node[1] == kind)


def unpack_text(path: Path, what: str, digest: str, blob: bytes) -> str:
    """The JSON text in a row.

    Raises:
        StoreError: corrupt, or its hash is not ``digest``.
    """
    try:
        text = zlib.decompress(blob).decode()
    except (zlib.error, UnicodeDecodeError, TypeError) as error:
        raise StoreError(f"{path}: {what} is corrupt: {error}; {_REMEDY}") from error
    found = fingerprint_text([text])
    if found != digest:
        raise StoreError(f"{path}: {what}: expected hash {digest}, found {found}; {_REMEDY}")
    return text


def graph_problems(
    path: Path, user_id: str, history: str, recipe: str, digest: str, blob: bytes
) -> list[str]:
    """What is wrong with a row of a graph, or nothing."""
    try:
        graph = unpack_graph(path, user_id, digest, blob)
    except StoreError as error:
        return [str(error)]
    if (graph.user_id, graph.history, graph.recipe) != (user_id, history, recipe):
        return [f"{path}: graph of user {user_id!r}: its row and its document disagree; {_REMEDY}"]
    return []


def _pack(document: Mapping[str, Any]) -> tuple[str, bytes]:
    text = canonical_json(dict(document))
    return fingerprint_text([text]), zlib.compress(text.encode())
