"""The store: what is committed stays, what is not leaves no trace, and what is damaged is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sound_graphs import make_graphs

from llmrg.errors import StoreError
from llmrg.graph import store_schema
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import Failure, GraphStore, KnowledgeRow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "graphs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[GraphStore]:
    with GraphStore.open(path) as opened:
        yield opened


def hashes(store: GraphStore) -> list[str]:
    return [graph.content_hash for graph in store]


def change(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_what_was_put_is_read_back_also_after_closing(path: Path, graphs: list[ReasoningGraph]) -> None:
    with GraphStore.open(path) as store:
        store.put_wave(0, graphs[5:])
        store.put_wave(1, graphs[:5])
    with GraphStore.open(path, create=False) as store:
        assert hashes(store) == [graph.content_hash for graph in graphs]
        assert store.user_ids() == sorted(graph.user_id for graph in graphs)
        found = store.get(graphs[3].user_id)
        assert found is not None
        assert found.content_hash == graphs[3].content_hash
        assert store.get("nobody") is None
        assert len(store) == len(graphs)
        assert store.last_wave == 1
        assert store.verify() == []


def test_a_newer_graph_of_a_user_replaces_the_older_one(
    store: GraphStore, graphs: list[ReasoningGraph]
) -> None:
    store.put_wave(0, graphs)
    newer = replace(graphs[0], history="b2:grown")
    store.put_wave(1, [newer])
    assert len(store) == len(graphs)
    assert store.states("b2:recipe")[newer.user_id] == "b2:grown"
    assert store.states("b2:another") == {}


def test_the_content_hash_notices_one_graph_for_another(
    store: GraphStore, graphs: list[ReasoningGraph]
) -> None:
    store.put_wave(0, graphs)
    before = store.content_hash()
    store.put_wave(1, graphs)
    assert store.content_hash() == before
    store.put_wave(2, [replace(graphs[0], tau=0.123)])
    assert store.content_hash() != before


def test_an_interrupted_wave_leaves_nothing(store: GraphStore, graphs: list[ReasoningGraph]) -> None:
    store.put_wave(0, graphs[:2], knowledge=[KnowledgeRow("k", "s", {"n": 1}, 0)])
    before = (hashes(store), store.failures(), store.knowledge(), store.meta(), store.last_wave)

    def interrupted() -> Iterator[ReasoningGraph]:
        yield from graphs[2:6]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_wave(1, interrupted(), [Failure("x", "chained", "no")], meta={"recipe": "r"})
    assert (hashes(store), store.failures(), store.knowledge(), store.meta(), store.last_wave) == before
    store.put_wave(1, graphs[2:6])
    assert len(store) == 6


def test_a_killed_process_leaves_nothing_of_its_wave(path: Path, graphs: list[ReasoningGraph]) -> None:
    with GraphStore.open(path) as store:
        store.put_wave(0, graphs[:2])
        # what a process leaves behind that dies inside its transaction: an open one, and no commit
        store._connection.execute("BEGIN IMMEDIATE")
        store._connection.execute("DELETE FROM graphs")
    with GraphStore.open(path) as store:
        assert len(store) == 2
        assert store.verify() == []


def test_failures_are_recorded_and_forgotten_once_the_user_succeeds(
    store: GraphStore, graphs: list[ReasoningGraph]
) -> None:
    first = graphs[0].user_id
    store.put_wave(0, graphs[1:], [Failure(first, "chained", "refused", "b2:r"), Failure(first, "x", "y")])
    assert store.failures() == [Failure(first, "chained", "refused", "b2:r"), Failure(first, "x", "y")]
    assert (store.summary().failures, store.summary().failed_users) == (2, 1)
    store.put_wave(1, graphs[:1])
    assert store.failures() == []


def test_a_user_who_fails_anew_loses_the_older_graph(store: GraphStore, graphs: list[ReasoningGraph]) -> None:
    store.put_wave(0, graphs)
    store.put_wave(1, [], [Failure(graphs[0].user_id, "chained", "refused")])
    assert store.get(graphs[0].user_id) is None
    store.put_wave(2, [graphs[1]], [Failure(graphs[1].user_id, "divergent", "in part")])
    assert store.get(graphs[1].user_id) is not None
    assert len(store.failures()) == 2


def test_a_wave_sees_the_knowledge_of_earlier_waves_only(store: GraphStore) -> None:
    store.put_wave(0, [], knowledge=[KnowledgeRow("k", "s", {"n": 1}, 0), KnowledgeRow("a", "s", {}, 0)])
    store.put_wave(3, [], knowledge=[KnowledgeRow("k", "s", {"n": 2}, 3), KnowledgeRow("k", "t", {}, 3)])
    assert store.knowledge(before_wave=0) == []
    assert [row.document for row in store.knowledge(before_wave=3)] == [{}, {"n": 1}]
    assert [(r.scope, r.key, r.wave, r.document) for r in store.knowledge()] == [
        ("s", "a", 0, {}),
        ("s", "k", 0, {"n": 1}),
        ("s", "k", 3, {"n": 2}),
        ("t", "k", 3, {}),
    ]
    store.put_knowledge([KnowledgeRow("k", "s", {"n": 3}, 3)])
    assert store.knowledge()[2].document == {"n": 3}


def test_another_recipe_keeps_what_was_revoked_and_nothing_else_of_the_knowledge(store: GraphStore) -> None:
    store.keep_recipe("b2:recipe")
    gone = KnowledgeRow("k", "s", {"continuations": [], "revoked": True}, 2)
    store.put_wave(2, [], knowledge=[gone, KnowledgeRow("k", "t", {"revoked": False}, 2)])
    store.put_wave(3, [], knowledge=[KnowledgeRow("unreadable", "s", {"revoked": True}, 3)])
    change(store.path, "UPDATE knowledge SET document = x'00' WHERE key = 'unreadable'")
    store.keep_recipe("b2:other")
    assert store.knowledge() == [gone]


def test_graphs_that_name_a_text_are_found_and_can_be_removed(
    store: GraphStore, graphs: list[ReasoningGraph]
) -> None:
    words = 'said "so",\n <é>'
    node = replace(graphs[0].nodes[0], label=words)
    named = replace(graphs[0], nodes=(node, *graphs[0].nodes[1:]))
    store.put_wave(0, [named, *graphs[1:]])
    assert [graph.user_id for graph in store.naming(words)] == [named.user_id]
    assert list(store.naming(words[:-1])) == []
    store.remove([named.user_id])
    assert store.user_ids() == sorted(graph.user_id for graph in graphs[1:])


def test_meta_holds_any_json_value(store: GraphStore) -> None:
    store.set_meta(dataset="toy", data_fingerprint="b2:x", folds=[1, 2])
    store.set_meta(dataset="other")
    assert store.meta() == {"dataset": "other", "data_fingerprint": "b2:x", "folds": [1, 2]}


def test_another_recipe_starts_afresh(store: GraphStore, graphs: list[ReasoningGraph]) -> None:
    failure = Failure("x", "chained", "no")
    assert store.keep_recipe("b2:recipe") == 0
    store.put_wave(4, graphs, [failure], [KnowledgeRow("k", "s", {}, 4)])
    assert store.keep_recipe("b2:recipe") == 0
    assert (len(store), store.failures(), store.last_wave) == (len(graphs), [failure], 4)
    assert store.keep_recipe("b2:other") == len(graphs)
    assert (len(store), store.failures(), store.knowledge(), store.last_wave) == (0, [], [], -1)
    assert store.meta()["recipe"] == "b2:other"


def test_the_summary_counts_without_reading_documents(
    store: GraphStore, graphs: list[ReasoningGraph]
) -> None:
    store.put_wave(0, graphs)
    change(store.path, "UPDATE graphs SET document = x'00'")
    summary = store.summary()
    assert summary.graphs == len(graphs)
    assert summary.nodes == sum(len(graph.nodes) for graph in graphs)
    assert summary.rejected == sum(len(graph.rejected) for graph in graphs)
    assert summary.edges == sum(len(graph.edges) for graph in graphs)
    assert summary.recipes == {"b2:recipe": len(graphs)}
    assert summary.wave == 0
    assert summary.size_bytes > 0


def test_a_missing_store_is_refused_unless_it_may_be_made(path: Path) -> None:
    with pytest.raises(StoreError, match="found no file"):
        GraphStore.open(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but a long enough text" * 50, b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match="corrupt or foreign"):
        GraphStore.open(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    path.parent.mkdir()
    change(path, "CREATE TABLE graphs (x)")
    with pytest.raises(StoreError, match="found another database"):
        GraphStore.open(path)


def test_a_store_of_a_newer_llmrg_is_refused(path: Path) -> None:
    GraphStore.open(path).close()
    change(path, f"PRAGMA user_version = {len(store_schema.MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match=r"made by a newer llmrg \(store version \d+, this one knows \d+\)"):
        GraphStore.open(path)


def test_bytes_changed_behind_its_back_are_noticed(store: GraphStore, graphs: list[ReasoningGraph]) -> None:
    store.put_wave(0, graphs, knowledge=[KnowledgeRow("k", "s", {}, 0)])
    first, second, third = (graph.user_id for graph in graphs[:3])
    other = store._connection.execute("SELECT document FROM graphs WHERE user_id = ?", (third,)).fetchone()[0]
    change(store.path, "UPDATE graphs SET document = x'0011' WHERE user_id = ?", first)
    change(store.path, "UPDATE graphs SET document = ? WHERE user_id = ?", other, second)
    change(store.path, "UPDATE graphs SET history = 'b2:wrong' WHERE user_id = ?", third)
    change(store.path, "UPDATE knowledge SET hash = 'b2:wrong'")
    with pytest.raises(StoreError, match=f"graph of user '{first}' is corrupt"):
        store.get(first)
    with pytest.raises(StoreError, match=f"graph of user '{second}': expected hash"):
        store.get(second)
    with pytest.raises(StoreError, match="knowledge entry 'k'"):
        store.knowledge()
    with pytest.raises(StoreError):
        list(store)
    assert len(store.verify()) == 4


def test_a_page_of_noise_is_noticed(path: Path) -> None:
    with GraphStore.open(path) as store:
        store.put_wave(0, make_graphs(3, 200))
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with GraphStore.open(path, create=False) as store:
        assert store.verify()


def test_a_store_in_use_says_so(
    path: Path, graphs: list[ReasoningGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    with GraphStore.open(path) as one, GraphStore.open(path) as other:
        other._connection.execute("PRAGMA busy_timeout = 1")
        one._connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="in use by another process"):
            other.put_wave(0, graphs)


VERSION_1 = Path(__file__).with_name("store_version_1.sql")


def test_a_store_of_version_1_opens_today(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text(encoding="utf-8"))
    connection.close()
    with GraphStore.open(path, create=False) as store:
        assert store.user_ids() == ["u"]
        assert store.verify() == []
        assert store.last_wave == 0
        assert store.meta() == {"dataset": "toy"}
        assert store.failures() == [Failure("v", "chained", "refused", "b2:r")]
        assert [row.document for row in store.knowledge()] == [{"n": 1}]


def test_a_migration_is_applied_once_and_whole(
    path: Path, graphs: list[ReasoningGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    with GraphStore.open(path) as store:
        store.put_wave(0, graphs)
    grown = ("ALTER TABLE graphs ADD COLUMN note TEXT NOT NULL DEFAULT 'new'",)
    known = store_schema.MIGRATIONS
    defaults = store_schema.open_database.__kwdefaults__
    monkeypatch.setitem(defaults, "migrations", (*known, (*grown, "SELECT nonsense")))
    with pytest.raises(StoreError):
        GraphStore.open(path)
    monkeypatch.setitem(defaults, "migrations", (*known, grown))
    for _ in range(2):
        with GraphStore.open(path) as store:
            assert store._connection.execute("SELECT DISTINCT note FROM graphs").fetchall() == [("new",)]
            assert hashes(store) == [graph.content_hash for graph in graphs]
