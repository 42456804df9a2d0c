"""Arrays: the graphs, all of them and nothing else, and batches that are slices of them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_graphs import TAU, encode, graph_lists, make_graphs

from llmrg.errors import DataError, GraphError, StoreError
from llmrg.graph.array_files import MANIFEST
from llmrg.graph.arrays import GraphArrays, build_arrays, load_arrays, verify_arrays
from llmrg.graph.schema import Node, NodeKind, ReasoningGraph, Relation
from llmrg.graph.whitening import whiten

KINDS, RELATIONS = tuple(NodeKind), tuple(Relation)


def build(graphs: list[ReasoningGraph], folder: Path, **changes: object) -> GraphArrays:
    values = {"components": 4, "fingerprint": "b2:data", "cutoff": "leave_one_out", **changes}
    return build_arrays(graphs, encode, folder / "arrays", **values)  # type: ignore[arg-type]


def in_memory(graphs: list[ReasoningGraph], **changes: object) -> GraphArrays:
    with tempfile.TemporaryDirectory() as folder:
        return build(graphs, Path(folder), **changes)


def nodes_of(arrays: GraphArrays, row: int) -> list[tuple[object, ...]]:
    """Kind, position, item id and score of each node of a user."""
    span = slice(arrays.node_offset[row], arrays.node_offset[row + 1])
    return [
        (KINDS[kind], int(position), None if item < 0 else str(arrays.item_ids[item]), float(score))
        for kind, position, item, score in zip(
            arrays.node_kind[span],
            arrays.node_position[span],
            arrays.node_item[span],
            arrays.node_score[span],
            strict=True,
        )
    ]


def edges_of(arrays: GraphArrays, row: int) -> list[tuple[int, int, Relation]]:
    """Target, source and relation of each edge of a user."""
    span = slice(arrays.edge_offset[row], arrays.edge_offset[row + 1])
    return [
        (int(target), int(source), RELATIONS[relation])
        for target, source, relation in zip(
            arrays.edge_target[span], arrays.edge_source[span], arrays.edge_relation[span], strict=True
        )
    ]


def expected_nodes(graph: ReasoningGraph) -> list[tuple[object, ...]]:
    return [(n.kind, n.position, n.item_id, float(np.float16(np.float32(n.score)))) for n in graph.nodes]


def expected_edges(graph: ReasoningGraph) -> list[tuple[int, int, Relation]]:
    local = {node.key: index for index, node in enumerate(graph.nodes)}
    edges = [(local[edge.target], local[edge.source], edge.relation) for edge in graph.edges]
    return sorted(edges, key=lambda edge: (edge[0], edge[1], RELATIONS.index(edge[2])))


@given(graph_lists)
@settings(max_examples=40)
def test_arrays_hold_exactly_the_accepted_part_of_the_graphs(graphs: list[ReasoningGraph]) -> None:
    arrays = in_memory(graphs)
    assert arrays.user_ids.tolist() == [graph.user_id for graph in graphs]
    assert arrays.history.tolist() == [graph.history for graph in graphs]
    assert arrays.as_of.tolist() == [graph.as_of for graph in graphs]
    for row, graph in enumerate(graphs):
        assert nodes_of(arrays, row) == expected_nodes(graph.accepted)
        assert edges_of(arrays, row) == expected_edges(graph.accepted)
    labels = dict.fromkeys(node.label for graph in graphs for node in graph.accepted.nodes if node.label)
    rows = {label: row for row, label in enumerate(labels)}
    assert arrays.text_vectors.shape == (len(labels), 4)
    flat = [rows.get(node.label, -1) for graph in graphs for node in graph.accepted.nodes]
    assert arrays.node_text.tolist() == flat
    assert arrays.item_ids.tolist() == sorted(arrays.item_ids.tolist())


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=30)
def test_growing_a_graph_changes_nothing_of_its_earlier_nodes(seed: int, position: int) -> None:
    (graph,) = make_graphs(seed, 1)
    whole, part = in_memory([graph]), in_memory([graph.before(position)])
    earlier = nodes_of(part, 0)
    assert nodes_of(whole, 0)[: len(earlier)] == earlier
    assert [edge for edge in edges_of(whole, 0) if edge[0] < len(earlier)] == edges_of(part, 0)
    assert whole.node_text[: len(earlier)].tolist() == part.node_text.tolist()


@given(graph_lists, st.data())
@settings(max_examples=40)
def test_a_batch_is_the_chosen_graphs_one_after_the_other(
    graphs: list[ReasoningGraph], data: st.DataObject
) -> None:
    arrays = in_memory(graphs)
    rows = data.draw(st.lists(st.integers(-1, len(graphs) - 1), max_size=8))
    batch = arrays.select(rows)
    node_index: list[int] = []
    owner: list[int] = []
    edges: list[tuple[int, int, int]] = []
    start = [0]
    for graph, row in enumerate(rows):
        if row >= 0:
            nodes = range(arrays.node_offset[row], arrays.node_offset[row + 1])
            node_index += nodes
            owner += [graph] * len(nodes)
            for edge in range(arrays.edge_offset[row], arrays.edge_offset[row + 1]):
                edges.append(
                    (
                        start[-1] + arrays.edge_source[edge],
                        start[-1] + arrays.edge_target[edge],
                        arrays.edge_relation[edge],
                    )
                )
        start.append(len(node_index))
    assert batch.node_index.tolist() == node_index
    assert batch.graph_of_node.tolist() == owner
    assert batch.node_start.tolist() == start
    assert list(zip(*batch.edge_index.tolist(), batch.edge_relation.tolist(), strict=True)) == edges
    assert batch.edge_index.dtype == batch.node_index.dtype == np.int64


def test_rows_are_found_for_known_users_and_minus_one_for_others(
    graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    arrays = build(graphs, tmp_path)
    known = [graph.user_id for graph in graphs]
    assert arrays.rows_of(known).tolist() == list(range(len(known)))
    strangers = ["", "u", "u1x", "zzzzzzzzzzzzzz", "u10 and more", "ü"]
    assert arrays.rows_of(strangers).tolist() == [-1] * len(strangers)
    assert arrays.rows_of([known[4], "x", known[4]]).tolist() == [4, -1, 4]
    assert arrays.rows_of([]).tolist() == []
    with pytest.raises(IndexError, match=r"-1\.\.11"):
        arrays.select([12])


def test_no_graphs_make_arrays_that_know_nobody(tmp_path: Path) -> None:
    arrays = build([], tmp_path)
    assert len(arrays) == 0
    assert arrays.rows_of(["u"]).tolist() == [-1]
    assert arrays.select([-1, -1]).node_start.tolist() == [0, 0, 0]
    assert verify_arrays(tmp_path / "arrays") == []


def test_tau_can_be_raised_and_lowered(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    everything = build(graphs, tmp_path, tau=0.0)
    assert len(everything.node_kind) == sum(len(graph.nodes) for graph in graphs)
    strict = build(graphs, tmp_path, tau=0.9)
    assert strict.node_score.min() >= np.float16(0.9)
    assert len(strict.node_kind) < len(build(graphs, tmp_path).node_kind) < len(everything.node_kind)
    assert graphs[0].tau == TAU


def test_a_second_build_replaces_the_first_and_equals_it_byte_for_byte(
    graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    build(graphs, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "arrays").iterdir()}
    build(graphs, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "arrays").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["arrays"]


def test_a_failed_build_leaves_the_old_arrays(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    build(graphs, tmp_path)

    def broken(texts: object) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_arrays(graphs[:2], broken, tmp_path / "arrays", components=4, fingerprint="x", cutoff="y")  # type: ignore[arg-type]
    assert len(load_arrays(tmp_path / "arrays")) == len(graphs)
    assert [path.name for path in tmp_path.iterdir()] == ["arrays"]


def test_arrays_are_mapped_not_read(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    arrays = build(graphs, tmp_path)
    assert isinstance(arrays.node_kind, np.memmap)
    assert not arrays.node_kind.flags.writeable
    assert (arrays.fingerprint, arrays.cutoff) == ("b2:data", "leave_one_out")


def test_progress_counts_texts_up_to_all(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    arrays = build(graphs, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(arrays.text_vectors), len(arrays.text_vectors))


def test_graphs_out_of_order_or_twice_are_refused(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="ascending order of user ids"):
        build(graphs[::-1], tmp_path)
    with pytest.raises(GraphError, match="ascending order of user ids"):
        build([graphs[0], graphs[0]], tmp_path)
    assert not list(tmp_path.iterdir())


def test_nodes_out_of_order_are_refused(tmp_path: Path) -> None:
    nodes = (Node("item:1", NodeKind.ITEM, "B", 1, "b"), Node("item:0", NodeKind.ITEM, "A", 0, "a"))
    with pytest.raises(GraphError, match="order of their positions"):
        build([ReasoningGraph("u", nodes, (), as_of=2)], tmp_path)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 3)), np.zeros(3), np.full((10_000, 3), np.nan)], ids=["rows", "shape", "nan"]
)
def test_an_encoder_that_gives_something_else_is_refused(
    wrong: np.ndarray, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    def bad(texts: list[str]) -> np.ndarray:
        return wrong[: len(texts)]

    with pytest.raises(DataError, match="sentence encoder: expected"):
        build_arrays(graphs, bad, tmp_path / "a", components=4, fingerprint="", cutoff="")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "expected graph arrays, found no manifest.json"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "corrupt graph arrays: manifest.json"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "expected format 'llmrg-arrays'"),
        (lambda folder: edit(folder, version=2), "made by a newer llmrg"),
        (lambda folder: edit(folder, files={}), "manifest.json: incomplete"),
        (lambda folder: edit(folder, facts={}), "manifest.json: incomplete"),
        (lambda folder: (folder / "as_of.npy").unlink(), r"as_of.npy: expected \d+ bytes, found no file"),
        (
            lambda folder: (folder / "as_of.npy").write_bytes(b"short"),
            r"as_of.npy: expected \d+ bytes, found 5",
        ),
        (lambda folder: scramble(folder / "as_of.npy", 0), "corrupt graph arrays: as_of.npy"),
    ],
)
def test_damaged_or_newer_arrays_are_refused(
    spoil: object, message: str, graphs: list[ReasoningGraph], tmp_path: Path
) -> None:
    build(graphs, tmp_path)
    spoil(tmp_path / "arrays")  # type: ignore[operator]
    with pytest.raises(StoreError, match=message):
        load_arrays(tmp_path / "arrays")
    assert len(verify_arrays(tmp_path / "arrays")) == 1


def test_a_changed_byte_is_found_by_the_full_check(graphs: list[ReasoningGraph], tmp_path: Path) -> None:
    build(graphs, tmp_path)
    scramble(tmp_path / "arrays" / "node_score.npy", -1)
    load_arrays(tmp_path / "arrays")
    (problem,) = verify_arrays(tmp_path / "arrays")
    assert "node_score.npy" in problem


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def scramble(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def test_whitened_vectors_have_unit_length_and_no_direction_is_favoured() -> None:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(5000, 8)) * np.array([100, 30, 10, 3, 1, 1, 1, 1]) + 7
    white = whiten(spread, 4).astype(np.float64)
    assert np.allclose(np.linalg.norm(white, axis=1), 1, atol=1e-3)
    assert np.allclose(white.T @ white / len(white), np.eye(4) / 4, atol=0.02)
    assert np.abs(white.mean(axis=0)).max() < 0.02


def test_components_there_is_no_direction_for_are_zero() -> None:
    rng = np.random.default_rng(0)
    assert not whiten(rng.normal(size=(3, 16)), 8)[:, 2:].any()  # three points span a plane
    assert not whiten(rng.normal(size=(50, 3)), 8)[:, 3:].any()
    assert not whiten(np.ones((5, 3)), 2).any()  # all alike: nothing is left of them
    assert not whiten(np.ones((1, 3)), 2).any()


def test_vectors_written_block_by_block_are_those_of_one_go(
    graphs: list[ReasoningGraph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = dict.fromkeys(node.label for graph in graphs for node in graph.accepted.nodes if node.label)
    at_once = whiten(encode(list(labels)), 4)
    monkeypatch.setattr("llmrg.graph.whitening.BLOCK", 7)
    assert np.array_equal(build(graphs, tmp_path).text_vectors, at_once)


def test_changing_one_label_changes_the_row_it_points_to(tmp_path: Path) -> None:
    (graph,) = make_graphs(5, 1)
    named = replace(graph, nodes=tuple(replace(node, label=f"{node.key} alone") for node in graph.nodes))
    assert len(set(in_memory([named]).node_text.tolist())) == len(named.accepted.nodes)
