"""JSON Lines: the same bytes for the same graphs, and all or nothing on the way in."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmrg.errors import DataError, FingerprintError
from llmrg.graph.exchange import export_graphs, import_graphs
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import GraphStore

META = {"dataset": "toy", "data_fingerprint": "b2:data", "cutoff": "leave_one_out", "recipe": "b2:recipe"}


@pytest.fixture
def exported(tmp_path: Path, graphs: list[ReasoningGraph]) -> Path:
    path = tmp_path / "graphs.jsonl"
    with GraphStore.open(tmp_path / "one.sqlite") as store:
        store.put_wave(0, graphs, meta=META)
        assert export_graphs(store, path) == len(graphs)
    return path


@pytest.fixture
def lines(exported: Path) -> list[str]:
    return exported.read_text(encoding="utf-8").splitlines()


def test_graphs_and_meta_come_through_whole(
    exported: Path, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        assert import_graphs(exported, store) == len(graphs)
        assert [graph.content_hash for graph in store] == [graph.content_hash for graph in graphs]
        assert store.meta() == META
        assert store.last_wave == -1


def test_the_bytes_depend_on_the_graphs_only(
    exported: Path, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        store.set_meta(**dict(reversed(META.items())))
        for wave, graph in enumerate(reversed(graphs)):
            store.put_wave(wave, [graph])
        export_graphs(store, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if "partial" in path.name) == []


def test_an_empty_store_goes_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "graphs.jsonl"
    with GraphStore.open(tmp_path / "one.sqlite") as store:
        assert export_graphs(store, path) == 0
        assert import_graphs(path, store) == 0


def test_a_link_stays_a_link_and_its_target_is_written(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/target")
    with GraphStore.open(tmp_path / "one.sqlite") as store:
        export_graphs(store, link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "target").read_bytes() == exported.read_bytes()


def test_a_pipe_is_written_to_and_stays_one(exported: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        try:
            with GraphStore.open(tmp_path / "one.sqlite") as store:
                export_graphs(store, pipe)
            assert pipe.is_fifo()
            assert reader.communicate(timeout=60)[0] == exported.read_bytes()
        finally:
            reader.kill()


def test_a_folder_in_the_way_of_an_export_is_named(tmp_path: Path) -> None:
    with GraphStore.open(tmp_path / "one.sqlite") as store, pytest.raises(IsADirectoryError) as caught:
        export_graphs(store, tmp_path)
    assert caught.value.filename == str(tmp_path)


def with_header(lines: list[str], **changes: object) -> list[str]:
    return [json.dumps({**json.loads(lines[0]), **changes}), *lines[1:]]


def with_future_edge(lines: list[str]) -> list[str]:
    document = next(d for d in map(json.loads, lines[1:]) if d["as_of"] > 1)
    at = next(k for k, line in enumerate(lines) if json.loads(line).get("user_id") == document["user_id"])
    document["edges"].append(["item:1", "item:0", "follows"])
    return [*lines[:at], json.dumps(document), *lines[at + 1 :]]


@pytest.mark.parametrize(
    ("spoil", "line", "message"),
    [
        (lambda lines: [], 1, "expected a JSON object"),
        (lambda lines: lines[1:], 1, "expected a header with format 'llmrg-graphs'"),
        (lambda lines: with_header(lines, version=2), 1, "expected version 1, found 2"),
        (lambda lines: with_header(lines, schema_version=9), 1, "expected schema_version 1, found 9"),
        (lambda lines: with_header(lines, meta=None), 1, "expected a header with 'graphs' and 'meta'"),
        (lambda lines: [*lines[:4], "{nonsense", *lines[5:]], 5, "expected a JSON object"),
        (lambda lines: [*lines[:4], "[]", *lines[5:]], 5, "expected a JSON object, found '[]'"),
        (lambda lines: [*lines[:3], '{"schema_version": 1}', *lines[4:]], 4, "KeyError('user_id')"),
        (lambda lines: [*lines[:5], lines[2], *lines[6:]], 6, "occurs twice"),
        (with_future_edge, None, "back to 0"),
        (lambda lines: lines[:-1], 12, "expected 12 graphs as in the header, found 11"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(
    spoil: Callable[[list[str]], list[str]], line: int | None, message: str, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "spoilt.jsonl"
    path.write_text("".join(f"{text}\n" for text in spoil(lines)), encoding="utf-8")
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        with pytest.raises(DataError) as caught:
            import_graphs(path, store)
        assert message in str(caught.value)
        assert caught.value.path == str(path)
        assert caught.value.line is not None
        assert line in (None, caught.value.line)
        assert len(store) == 0
        assert store.meta() == {}


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with GraphStore.open(tmp_path / "two.sqlite") as store, pytest.raises(DataError, match="readable file"):
        import_graphs(tmp_path / "nowhere.jsonl", store)


@pytest.mark.parametrize("key", sorted(META))
def test_graphs_made_for_something_else_do_not_join_a_store(
    key: str, exported: Path, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        store.put_wave(0, graphs[:1], meta={**META, key: "another"})
        with pytest.raises(FingerprintError, match=f"made for another {key}"):
            import_graphs(exported, store)
        assert len(store) == 1


def test_more_graphs_of_the_same_kind_join_a_store(
    exported: Path, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        store.put_wave(5, graphs[:3], meta={**META, "reasoner": "mine"})
        assert import_graphs(exported, store) == len(graphs)
        assert len(store) == len(graphs)
        assert store.last_wave == 5
        assert store.meta()["reasoner"] == "mine"


@pytest.mark.parametrize("value", ["Infinity", "[" * 100_000])
def test_a_number_without_end_and_a_line_nested_without_end_are_named_by_their_line(
    lines: list[str], tmp_path: Path, value: str
) -> None:
    document = json.dumps({**json.loads(lines[2]), "as_of": "HERE"}).replace('"HERE"', value)
    path = tmp_path / "other.jsonl"
    path.write_text("\n".join([*lines[:2], document, *lines[3:]]) + "\n", encoding="utf-8")
    with GraphStore.open(tmp_path / "two.sqlite") as store:
        with pytest.raises(DataError) as caught:
            import_graphs(path, store)
        assert caught.value.line == 3
        assert len(store) == 0
