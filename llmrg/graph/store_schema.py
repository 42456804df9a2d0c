"""The tables of the graph store, as a list of migrations that only ever grows.

Promise: a store of any earlier version is brought to the newest one in a single transaction; a store of a
newer version, or somebody else's database, is refused and left as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from llmrg.errors import StoreError

APPLICATION_ID = 0x4C4C4D47  # "LLMG", in the file's header: tells a graph store from any other database

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE waves (wave INTEGER PRIMARY KEY)",
        """CREATE TABLE graphs (
            user_id TEXT PRIMARY KEY,
            history TEXT NOT NULL,
            recipe TEXT NOT NULL,
            wave INTEGER NOT NULL,
            nodes INTEGER NOT NULL,
            rejected INTEGER NOT NULL,
            edges INTEGER NOT NULL,
            hash TEXT NOT NULL,
            document BLOB NOT NULL
        )""",
        """CREATE TABLE failures (
            id INTEGER PRIMARY KEY,
            user_id TEXT NOT NULL,
            stage TEXT NOT NULL,
            message TEXT NOT NULL,
            request TEXT NOT NULL,
            wave INTEGER NOT NULL
        )""",
        "CREATE INDEX failures_by_user ON failures (user_id)",
        """CREATE TABLE knowledge (
            scope TEXT NOT NULL,
            key TEXT NOT NULL,
            wave INTEGER NOT NULL,
            hash TEXT NOT NULL,
            document BLOB NOT NULL,
            PRIMARY KEY (scope, key, wave)
        )""",
    ),
    # a hash of the attributes a graph shows; null: not looked up yet, as in graphs of version 1
    ("ALTER TABLE graphs ADD COLUMN attributes TEXT",),
)
"""Statements that lead from version i to version i + 1. Append; never change one that was released."""


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    *,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
    application_id: int = APPLICATION_ID,
    what: str = "graph store",
) -> None:
    """Bring an open database to the newest version.

    Args:
        connection: in autocommit mode.
        path: for messages.
        migrations: statements that lead from each version to the next.
        application_id: tells this kind of database from any other.
        what: the kind's name, for messages.

    Raises:
        StoreError: a newer version, or another kind of database.
    """

    def is_ours() -> bool:
        return bool(connection.execute("PRAGMA application_id").fetchone()[0] == application_id)

    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == len(migrations) and is_ours():
        return
    with transaction(connection):
        # read again: another process may have been first
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and not is_ours():
            raise StoreError(f"{path}: expected a {what}, found another database; name another file")
        if version > len(migrations):
            raise StoreError(
                f"{path}: made by a newer llmrg (store version {version}, this one knows {len(migrations)}); "
                "upgrade llmrg"
            )
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def open_database(
    path: Path,
    *,
    create: bool,
    missing: str,
    migrations: tuple[tuple[str, ...], ...] = MIGRATIONS,
    application_id: int = APPLICATION_ID,
    what: str = "graph store",
) -> sqlite3.Connection:
    """A database of ours in autocommit mode and write-ahead logging, migrated.

    Args:
        path: the file.
        create: make a missing file (and its folder) instead of refusing it.
        missing: what to say of a missing one.
        migrations: of this kind of database.
        application_id: of this kind of database.
        what: its name in messages.

    Raises:
        StoreError: missing, corrupt, of another kind, made by a newer llmrg, or in use.
    """
    if not path.exists():
        if not create:
            raise StoreError(f"{path}: expected a {what}, found no file; {missing}")
        path.parent.mkdir(parents=True, exist_ok=True)
    with explained(path, what):
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            migrate(connection, path, migrations=migrations, application_id=application_id, what=what)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Commit what the block writes, whole; an exception, also one of the commit, leaves nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself where the disk is full
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path, what: str = "graph store") -> Iterator[None]:
    """Turn SQLite's errors into a :class:`~llmrg.errors.StoreError` that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        why = (
            "is in use by another process; wait for it"
            if "locked" in str(error)
            else f"cannot be used: {error}"
        )
        raise StoreError(f"{path}: the {what} {why}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: expected a {what}, found a corrupt or foreign file ({error})") from error
