"""Law 1 in the graph branch: what a row reads never depends on anything later, exactly, whatever network reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.data.synthetic import planted_themes
from llmrg.encoder.graph_batch import GraphView, Rows, split_views
from llmrg.encoder.graph_encoder import NodeFeatures
from llmrg.encoder.networks import NETWORKS
from llmrg.encoder.readout import READOUTS, MaskedReadout
from llmrg.encoder.row_graphs import row_graphs
from llmrg.graph.arrays import GraphArrays, build_arrays
from llmrg.graph.schema import NodeKind
from llmrg.settings import TextSettings
from llmrg.text.encoder import load_text_encoder

WIDTH, HORIZON, LENGTH = 8, 6, 14
ITEM_IDS = {f"i{index}": index + 1 for index in range(30)}


def _arrays(folder: Path, length: int, seed: int) -> GraphArrays:
    """Planted graphs: those of a longer ``length`` continue the shorter ones."""
    themes = planted_themes(num_users=3, num_items=30, num_themes=5, length=length, signal=1.0, seed=seed)
    return build_arrays(
        sorted(themes.graphs.values(), key=lambda graph: graph.user_id),
        load_text_encoder(TextSettings(encoder="hashing")),
        folder / f"{length}-{seed}",
        components=WIDTH,
        fingerprint="f",
        cutoff="leave_one_out",
    )


@pytest.fixture(
    scope="module",
    params=[*((name, "attention") for name in NETWORKS), ("gated", "last_node"), ("srgnn", "last_node")],
    ids="-".join,
)
def parts(request: Any) -> Any:
    network, asked = request.param
    with torch.random.fork_rng():
        torch.manual_seed(5)
        features, encoder = NodeFeatures(WIDTH, WIDTH, WIDTH), NETWORKS[network](WIDTH, 3)
        readout = READOUTS[asked](WIDTH, WIDTH)
        if isinstance(readout, MaskedReadout):
            torch.nn.init.normal_(readout.bias)
        table = torch.randn(31, WIDTH)
        texts = torch.randn(200, WIDTH)
    return features, encoder, readout, table, texts


def _reads(arrays: GraphArrays, prefix: list[int], parts: Any, *, one_block: bool) -> torch.Tensor:
    """What rows of user 1 read from both views; [len(prefix), 2D]."""
    features, encoder, readout, table, texts = parts
    reads = []
    state = torch.linspace(-1, 1, len(prefix) * WIDTH).view(len(prefix), WIDTH)
    for view_arrays in split_views(arrays):
        view = GraphView(view_arrays, ITEM_IDS, tuple(NodeKind))
        each = np.arange(len(prefix))
        ones = np.zeros(len(prefix), dtype=np.int64)
        cut = np.array(prefix, dtype=np.int64)
        rows = Rows(ones[:1], ones, each, cut) if one_block else Rows.single(ones, cut)
        graph = np.zeros(len(rows.user), dtype=np.int64)
        asked = (np.array([1]), rows, graph)
        bounds = {"horizon": HORIZON, "device": torch.device("cpu")}
        found = (
            row_graphs(view, *asked, **bounds) if encoder.per_row else view.batch(*asked, steps=3, **bounds)
        )
        if found is None:
            reads.append(torch.zeros(len(prefix), WIDTH))
            continue
        batch, reach = found
        projected = features.project(texts[: view.no_text + 1] * 1.0, table)
        nodes = encoder(features(batch, *projected), batch.edge_index, batch.relation)
        reads.append(readout(state, nodes, batch, reach).vector)
    return torch.cat(reads, -1).detach()


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), cut=st.integers(3, LENGTH - 2))
def test_adding_later_interactions_changes_no_earlier_read(
    tmp_path_factory: pytest.TempPathFactory, parts: Any, seed: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    shorter, longer = _arrays(folder, cut + 1, seed), _arrays(folder, LENGTH, seed)
    # the same words must keep the same rows: text vectors are frozen per build
    shorter, longer = (
        type(arrays)(**{**vars(arrays), "node_text": np.zeros_like(arrays.node_text)})
        for arrays in (shorter, longer)
    )
    prefix = list(range(1, cut))
    assert torch.equal(
        _reads(shorter, prefix, parts, one_block=False), _reads(longer, prefix, parts, one_block=False)
    )


@settings(max_examples=6)
@given(seed=st.integers(0, 1000))
def test_rows_read_the_same_alone_and_in_one_block(
    tmp_path_factory: pytest.TempPathFactory, parts: Any, seed: int
) -> None:
    arrays = _arrays(tmp_path_factory.mktemp("arrays"), LENGTH, seed)
    prefix = list(range(1, LENGTH))
    together = _reads(arrays, prefix, parts, one_block=True)
    torch.testing.assert_close(together, _reads(arrays, prefix, parts, one_block=False), atol=1e-5, rtol=1e-5)


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), k=st.integers(1, LENGTH - 2))
def test_what_lies_at_or_after_the_target_might_as_well_be_anything_else(
    tmp_path_factory: pytest.TempPathFactory, parts: Any, seed: int, k: int
) -> None:
    arrays = _arrays(tmp_path_factory.mktemp("arrays"), LENGTH, seed)
    rng = np.random.default_rng(seed)
    later = np.asarray(arrays.node_position) >= k
    changed = {
        "node_item": np.where(later, rng.integers(0, len(arrays.item_ids), later.shape), arrays.node_item),
        "node_text": np.where(
            later, rng.integers(0, len(arrays.text_vectors), later.shape), arrays.node_text
        ),
        "node_score": np.where(later, rng.random(later.shape), arrays.node_score).astype(np.float16),
    }
    other = type(arrays)(**{**vars(arrays), **changed})
    prefix = list(range(1, k + 1))
    assert torch.equal(
        _reads(arrays, prefix, parts, one_block=True), _reads(other, prefix, parts, one_block=True)
    )


def test_only_nodes_within_the_horizon_are_read(tmp_path: Path, parts: Any) -> None:
    arrays = _arrays(tmp_path, LENGTH, 1)
    k = LENGTH - 2
    old = np.asarray(arrays.node_position) < k - HORIZON - 3  # beyond three message-passing steps too
    other = type(arrays)(**{**vars(arrays), "node_item": np.where(old, 0, arrays.node_item)})
    assert old.any()
    assert torch.equal(
        _reads(arrays, [k], parts, one_block=False), _reads(other, [k], parts, one_block=False)
    )
    near = np.asarray(arrays.node_position) == k - 1
    other = type(arrays)(**{**vars(arrays), "node_item": np.where(near, 0, arrays.node_item)})
    assert not torch.equal(
        _reads(arrays, [k], parts, one_block=False), _reads(other, [k], parts, one_block=False)
    )
