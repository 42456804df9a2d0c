"""The graph store: one SQLite file with the graphs, failures and verified knowledge of one data set.

Promise: a wave is committed whole or not at all, so an interrupted job loses at most the wave in flight; what
is read back is what was written, or a :class:`~llmrg.errors.StoreError`, because every document carries its
content hash.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from llmrg.errors import StoreError
from llmrg.fingerprint import canonical_json, fingerprint_text
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store_records import Failure, KnowledgeRow, StoreSummary
from llmrg.graph.store_rows import (
    forget_knowledge,
    graph_problems,
    put_graph,
    put_knowledge,
    put_meta,
    shown_attributes,
    unpack_graph,
    unpack_text,
)
from llmrg.graph.store_schema import explained, open_database, transaction

__all__ = ["Failure", "GraphStore", "KnowledgeRow", "StoreSummary"]


class GraphStore:
    """An open store; use :meth:`open`, as a context manager.

    Iterating yields all graphs in the order of their user ids, one at a time.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> GraphStore:
        """Open a store, migrating an older one.

        Args:
            path: the file.
            create: make a missing file (and its folder) instead of refusing it.

        Raises:
            StoreError: missing, corrupt, no store at all, made by a newer llmrg, or in use.
        """
        return cls(path, open_database(path, create=create, missing="run `llmrg generate` first"))

    def close(self) -> None:
        """Close the file; using the store afterwards is an error."""
        self._connection.close()

    def __enter__(self) -> GraphStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put_wave(
        self,
        wave: int,
        graphs: Iterable[ReasoningGraph],
        failures: Iterable[Failure] = (),
        knowledge: Iterable[KnowledgeRow] = (),
        meta: Mapping[str, Any] | None = None,
        keep: Collection[str] = (),
    ) -> None:
        """Commit one wave in one transaction; an exception, also one of the iterables', leaves nothing of it.

        A user's graph and failures replace the older ones. A user who failed and has no graph in this wave
        loses the older graph, which was made for something else, but for those in ``keep``.

        Args:
            wave: number of the wave, from 0.
            graphs: the graphs made.
            failures: what could not be done.
            knowledge: new versions of knowledge-base entries; their own ``wave`` is kept.
            meta: see :meth:`set_meta`.
            keep: users whose older graph is of the beginning of the same history.

        Raises:
            StoreError: the store cannot be written.
        """
        with explained(self.path), transaction(self._connection) as connection:
            done = set()
            for graph in graphs:
                put_graph(connection, graph, wave)
                connection.execute("DELETE FROM failures WHERE user_id = ?", (graph.user_id,))
                done.add(graph.user_id)
            failed = list(failures)
            for user_id in {failure.user_id for failure in failed}:
                connection.execute("DELETE FROM failures WHERE user_id = ?", (user_id,))
                if user_id not in done and user_id not in keep:
                    connection.execute("DELETE FROM graphs WHERE user_id = ?", (user_id,))
            connection.executemany(
                "INSERT INTO failures (user_id, stage, message, request, wave) VALUES (?, ?, ?, ?, ?)",
                [(f.user_id, f.stage, f.message, f.request, wave) for f in failed],
            )
            put_knowledge(connection, knowledge)
            put_meta(connection, meta or {})
            connection.execute("INSERT OR REPLACE INTO waves (wave) VALUES (?)", (wave,))

    def get(self, user_id: str) -> ReasoningGraph | None:
        """The graph of one user, or None.

        Raises:
            StoreError: the document does not agree with its hash.
        """
        rows = self._all("SELECT user_id, hash, document FROM graphs WHERE user_id = ?", (user_id,))
        return unpack_graph(self.path, *rows[0]) if rows else None

    def __iter__(self) -> Iterator[ReasoningGraph]:
        with explained(self.path):
            for row in self._connection.execute(
                "SELECT user_id, hash, document FROM graphs ORDER BY user_id"
            ):
                yield unpack_graph(self.path, *row)

    def naming(self, words: str) -> Iterator[ReasoningGraph]:
        """The graphs in which a text stands as a value, whole: reads all, unpacks those alone."""
        quoted = canonical_json(words)
        for user_id, digest, blob in self._rows(
            "SELECT user_id, hash, document FROM graphs ORDER BY user_id"
        ):
            if quoted in unpack_text(self.path, f"graph of user {user_id!r}", digest, blob):
                yield unpack_graph(self.path, user_id, digest, blob)

    def remove(self, user_ids: Iterable[str]) -> None:
        """Remove the graphs of some users, in one transaction; a later job makes them again."""
        with explained(self.path), transaction(self._connection) as connection:
            connection.executemany("DELETE FROM graphs WHERE user_id = ?", [(user,) for user in user_ids])

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM graphs"))

    def user_ids(self) -> list[str]:
        """Users with a graph, in order."""
        return [row[0] for row in self._all("SELECT user_id FROM graphs ORDER BY user_id")]

    def states(self, recipe: str) -> dict[str, str]:
        """User id to the fingerprint of the history the graph was made from, for graphs of this recipe."""
        return dict(
            self._all("SELECT user_id, history FROM graphs WHERE recipe = ? ORDER BY user_id", (recipe,))
        )

    def attributes(self, recipe: str) -> dict[str, str]:
        """User id to :func:`~llmrg.graph.store_records.attributes_hash` of what the graph shows, as :meth:`states`.

        Raises:
            StoreError: a graph that was made before this was kept is damaged.
        """
        unknown = "SELECT user_id, hash, document FROM graphs WHERE attributes IS NULL AND recipe = ?"
        found = [(shown_attributes(self.path, *row), row[0]) for row in self._rows(unknown, (recipe,))]
        if found:
            with explained(self.path), transaction(self._connection) as connection:
                connection.executemany("UPDATE graphs SET attributes = ? WHERE user_id = ?", found)
        return dict(self._all("SELECT user_id, attributes FROM graphs WHERE recipe = ?", (recipe,)))

    def failures(self) -> list[Failure]:
        """What could not be done, by user id, oldest first."""
        rows = self._all("SELECT user_id, stage, message, request FROM failures ORDER BY user_id, id")
        return [Failure(*row) for row in rows]

    def knowledge(self, before_wave: int | None = None) -> list[KnowledgeRow]:
        """What each wave added to the knowledge base, by wave, scope and key.

        Args:
            before_wave: only what was merged after an earlier wave than this, as the users of it saw it.

        Raises:
            StoreError: a document does not agree with its hash.
        """
        limit = 2**62 if before_wave is None else before_wave
        rows = self._all(
            "SELECT key, scope, wave, hash, document FROM knowledge WHERE wave < ? ORDER BY wave, scope, key",
            (limit,),
        )
        return [
            KnowledgeRow(
                key, scope, json.loads(unpack_text(self.path, f"knowledge entry {key!r}", digest, blob)), wave
            )
            for key, scope, wave, digest, blob in rows
        ]

    def put_knowledge(self, rows: Iterable[KnowledgeRow]) -> None:
        """Write rows outside a wave, in one transaction (what was revoked, for instance)."""
        with explained(self.path), transaction(self._connection) as connection:
            put_knowledge(connection, rows)

    @property
    def last_wave(self) -> int:
        """The newest committed wave, or -1."""
        return int(self._one("SELECT coalesce(max(wave), -1) FROM waves"))

    def meta(self) -> dict[str, Any]:
        """What the store says about itself; see :data:`~llmrg.graph.store_records.IDENTITY`."""
        rows = self._all("SELECT key, value FROM meta ORDER BY key")
        try:
            return {key: json.loads(value) for key, value in rows}
        except (ValueError, TypeError) as error:
            raise StoreError(f"{self.path}: table meta is corrupt: {error}; restore a copy") from error

    def set_meta(self, **values: Any) -> None:
        """Set some of :meth:`meta`, in one transaction; JSON-like values."""
        with explained(self.path), transaction(self._connection) as connection:
            put_meta(connection, values)

    def keep_recipe(self, recipe: str) -> int:
        """Remove the graphs of every other recipe; where there are any, also failures, knowledge and waves.

        What was revoked from the knowledge base stays revoked.

        Returns:
            The number of graphs removed.
        """
        with explained(self.path), transaction(self._connection) as connection:
            removed = connection.execute("DELETE FROM graphs WHERE recipe <> ?", (recipe,)).rowcount
            if removed or self.meta().get("recipe", recipe) != recipe:
                for table in ("failures", "waves"):
                    connection.execute(f"DELETE FROM {table}")
                forget_knowledge(connection, self.path)
            put_meta(connection, {"recipe": recipe})
        return removed

    def content_hash(self) -> str:
        """Tagged hash of all graphs in the store, from their stored hashes."""
        rows = self._rows("SELECT user_id, hash FROM graphs ORDER BY user_id")
        return fingerprint_text(f"{user_id}\x1f{digest}" for user_id, digest in rows)

    def verify(self) -> list[str]:
        """Problems of the file: SQLite's own check, then every hash and every document, derived again."""
        problems = []
        try:
            problems += [row[0] for row in self._all("PRAGMA integrity_check") if row[0] != "ok"]
            self.meta()
            for user_id, *columns in self._rows(
                "SELECT user_id, history, recipe, hash, document FROM graphs"
            ):
                problems += graph_problems(self.path, user_id, *columns)
            for key, digest, blob in self._rows("SELECT key, hash, document FROM knowledge"):
                try:
                    unpack_text(self.path, f"knowledge entry {key!r}", digest, blob)
                except StoreError as error:
                    problems.append(str(error))
        except StoreError as error:
            problems.append(str(error))
        return problems

    def summary(self) -> StoreSummary:
        """Counts, without reading a document."""
        graphs, nodes, rejected, edges = self._all(
            "SELECT count(*), coalesce(sum(nodes), 0), coalesce(sum(rejected), 0), coalesce(sum(edges), 0) "
            "FROM graphs"
        )[0]
        return StoreSummary(
            graphs=graphs,
            nodes=nodes,
            rejected=rejected,
            edges=edges,
            failures=self._one("SELECT count(*) FROM failures"),
            failed_users=self._one(
                "SELECT count(DISTINCT user_id) FROM failures "
                "WHERE user_id NOT IN (SELECT user_id FROM graphs)"
            ),
            knowledge=self._one("SELECT count(*) FROM (SELECT DISTINCT scope, key FROM knowledge)"),
            wave=self.last_wave,
            recipes=dict(self._all("SELECT recipe, count(*) FROM graphs GROUP BY recipe ORDER BY recipe")),
            size_bytes=self.path.stat().st_size,
            meta=self.meta(),
        )

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with explained(self.path):
            yield from self._connection.execute(sql, values)

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return list(self._rows(sql, values))

    def _one(self, sql: str) -> Any:
        return self._all(sql)[0][0]
