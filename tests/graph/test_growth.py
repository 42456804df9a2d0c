"""Arrays that grow: who stays keeps every number, who is new equals a rebuild, all texts lie in one space."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sound_graphs import encode, make_graphs

from llmrg.errors import StoreError
from llmrg.graph.array_files import MANIFEST
from llmrg.graph.arrays import GraphArrays, build_arrays, load_arrays, load_text_space, verify_arrays
from llmrg.graph.growth import arrays_in_space, extend_arrays, graph_of_one
from llmrg.graph.schema import ReasoningGraph


def build(graphs: Sequence[ReasoningGraph], folder: Path) -> GraphArrays:
    return build_arrays(graphs, encode, folder, components=4, fingerprint="b2:old", cutoff="leave_one_out")


def structure(arrays: GraphArrays, row: int) -> dict[str, Any]:
    """Everything of one user but the vectors, with item ids instead of their numbers."""
    one = arrays.select([row])
    items = np.append(arrays.item_ids, "")
    return {
        "user": (str(arrays.user_ids[row]), str(arrays.history[row]), int(arrays.as_of[row])),
        "kind": arrays.node_kind[one.node_index].tolist(),
        "position": arrays.node_position[one.node_index].tolist(),
        "score": arrays.node_score[one.node_index].tolist(),
        "item": items[arrays.node_item[one.node_index]].tolist(),
        "worded": (arrays.node_text[one.node_index] >= 0).tolist(),
        "edges": one.edge_index.tolist(),
        "relation": one.edge_relation.tolist(),
    }


def vectors(arrays: GraphArrays, row: int) -> NDArray[np.float16]:
    text = arrays.node_text[arrays.node_offset[row] : arrays.node_offset[row + 1]]
    return np.where((text >= 0)[:, None], arrays.text_vectors[text], 0)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(0, 4))
def test_extending_equals_building_but_for_the_space_of_the_texts(
    tmp_path_factory: pytest.TempPathFactory, seed: int, users: int, changed: int
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    old = make_graphs(seed, users)
    later = {
        graph.user_id: graph
        for graph in random.Random(seed).sample(make_graphs(seed + 1, users + 2), changed)
    }
    after = sorted({**{g.user_id: g for g in old}, **later}.values(), key=lambda graph: graph.user_id)
    before = build(old, folder / "grown")
    grown = (
        extend_arrays(
            folder / "grown", sorted(later.values(), key=lambda g: g.user_id), encode, fingerprint="b2:new"
        )
        if len(before.text_vectors)
        else before
    )
    if not len(before.text_vectors):
        return
    rebuilt = build(after, folder / "rebuilt")
    assert grown.user_ids.tolist() == rebuilt.user_ids.tolist()
    assert (grown.fingerprint, grown.origin) == ("b2:new", before.origin)
    assert verify_arrays(folder / "grown") == []
    whitening = load_text_space(folder / "grown").whitening
    for row, graph in enumerate(after):
        assert structure(grown, row) == structure(rebuilt, row)
        if graph.user_id not in later:
            assert np.array_equal(
                vectors(grown, row), vectors(before, int(before.rows_of([graph.user_id])[0]))
            )
        words = [node.label for node in graph.nodes if node.score >= graph.tau]
        expected = np.where([[bool(word)] for word in words], whitening(encode(words)), 0) if words else []
        np.testing.assert_array_equal(vectors(grown, row), np.reshape(expected, (-1, 4)))


def test_a_text_that_is_known_is_not_encoded_again(tmp_path: Path) -> None:
    graphs = make_graphs(3, 5)
    build(graphs, tmp_path / "arrays")
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return encode(texts)

    before = load_arrays(tmp_path / "arrays")
    after = extend_arrays(tmp_path / "arrays", graphs[:2], counting, fingerprint="b2:new")
    assert asked == []
    assert np.array_equal(after.text_vectors, before.text_vectors)


def test_one_graph_alone_is_that_graph(tmp_path: Path) -> None:
    arrays = build(make_graphs(5, 6), tmp_path / "arrays")
    for row in range(len(arrays)):
        alone = graph_of_one(arrays, row)
        assert structure(alone, 0) == structure(arrays, row)
        assert np.array_equal(vectors(alone, 0), vectors(arrays, row))


def test_a_graph_in_the_space_of_others_has_their_vectors(tmp_path: Path) -> None:
    graphs = make_graphs(7, 4)
    arrays = build(graphs, tmp_path / "arrays")
    alone, texts = arrays_in_space(graphs[1:2], arrays, load_text_space(tmp_path / "arrays"), encode)
    assert len(texts) == len(alone.text_vectors)
    assert np.array_equal(vectors(alone, 0), vectors(arrays, 1))


def test_arrays_without_a_text_space_say_so(tmp_path: Path) -> None:
    build(make_graphs(3, 3), tmp_path / "arrays")
    manifest = tmp_path / "arrays" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"whitening"', '"whiteness"'))
    with pytest.raises(StoreError, match="build them again"):
        extend_arrays(tmp_path / "arrays", [], encode, fingerprint="b2:new")


def test_arrays_made_again_of_the_same_texts_and_recipe_have_one_origin(tmp_path: Path) -> None:
    graphs = make_graphs(3, 4)
    first = build(graphs, tmp_path / "first")
    again = build_arrays(
        graphs, encode, tmp_path / "again", components=4, fingerprint="b2:x", cutoff="leave_one_out"
    )
    other = build(graphs[:3], tmp_path / "other")
    later = build([replace(graph, recipe="b2:later") for graph in graphs], tmp_path / "later")
    assert first.origin == again.origin
    assert len({first.origin, other.origin, later.origin}) == 3
