"""What goes wrong inside a transaction of the store: its cause is told, and nothing is left of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sound_graphs import make_graphs

from llmrg.errors import StoreError
from llmrg.graph.store import GraphStore
from llmrg.graph.store_schema import explained, migrate, open_database, transaction


def fill(connection: sqlite3.Connection) -> None:
    """As on a full disk: the file may not grow any more."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_named_and_leaves_nothing_of_the_wave(tmp_path: Path) -> None:
    with GraphStore.open(tmp_path / "graphs.sqlite") as store:
        store.put_wave(0, make_graphs(1, 2))
        fill(store._connection)
        with pytest.raises(StoreError, match="disk is full"):
            store.put_wave(1, make_graphs(2, 60))
        assert len(store) == 2
        assert store.last_wave == 0
        store._connection.execute("PRAGMA max_page_count = 100000")
        store.put_wave(1, make_graphs(2, 60))
        assert len(store) == 60


def test_a_full_disk_is_named_by_a_migration_too(tmp_path: Path) -> None:
    path = tmp_path / "graphs.sqlite"
    open_database(path, create=True, missing="").close()
    connection = sqlite3.connect(path, isolation_level=None)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    fill(connection)
    grown = (*[()] * version, ("INSERT INTO meta VALUES ('much', hex(randomblob(100000)))",))
    with pytest.raises(StoreError, match="disk is full"), explained(path):
        migrate(connection, path, migrations=grown)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == version
    connection.close()


def test_a_commit_that_fails_leaves_nothing_open_and_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "any.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE a (x PRIMARY KEY)")
    connection.execute("CREATE TABLE b (x REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(StoreError, match="FOREIGN KEY"), explained(path), transaction(connection):
        connection.execute("INSERT INTO b VALUES (1)")  # which only the commit finds fault with
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM b").fetchone() == (0,)
    connection.close()


def test_the_attributes_of_graphs_of_an_older_store_are_looked_up_once(tmp_path: Path) -> None:
    graphs = make_graphs(1, 12)
    with GraphStore.open(tmp_path / "graphs.sqlite") as store:
        store.put_wave(0, graphs)
        kept = store.attributes("b2:recipe")
        assert {bool(shown) for shown in kept.values()} == {True, False}
        store._connection.execute("UPDATE graphs SET attributes = NULL")
        assert store.attributes("b2:recipe") == kept
        assert store._connection.execute("SELECT count(attributes) FROM graphs").fetchone() == (12,)
        assert store.attributes("b2:another") == {}
        assert store.verify() == []
