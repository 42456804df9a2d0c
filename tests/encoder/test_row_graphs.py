"""A graph of its own for every row: the nodes it may see and the edges among them, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from llmrg.data.synthetic import planted_themes
from llmrg.encoder.graph_batch import GraphView, Rows, split_views
from llmrg.encoder.row_graphs import row_graphs
from llmrg.graph.arrays import GraphArrays, build_arrays
from llmrg.graph.schema import NodeKind
from llmrg.settings import TextSettings
from llmrg.text.encoder import load_text_encoder

READABLE = ((NodeKind.ITEM, NodeKind.ATTRIBUTE, NodeKind.REASON), (NodeKind.IMAGINED_ITEM,))


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> GraphArrays:
    themes = planted_themes(num_users=4, num_items=30, num_themes=5, length=12, signal=1.0, seed=2)
    return build_arrays(
        sorted(themes.graphs.values(), key=lambda graph: graph.user_id),
        load_text_encoder(TextSettings(encoder="hashing")),
        tmp_path_factory.mktemp("arrays"),
        components=8,
        fingerprint="f",
        cutoff="leave_one_out",
    )


def view_of(arrays: GraphArrays, number: int) -> GraphView:
    return GraphView(split_views(arrays)[number], {f"i{n}": n + 1 for n in range(30)}, READABLE[number])


def rows_of(horizonless: list[tuple[int, int]]) -> Rows:
    user, prefix = (np.array(part, dtype=np.int64) for part in zip(*horizonless, strict=True))
    return Rows.single(user, prefix)


@pytest.mark.parametrize("horizon", [1, 4, 100])
@pytest.mark.parametrize("number", [0, 1])
def test_a_row_gets_the_nodes_it_may_see_and_the_edges_among_them(
    arrays: GraphArrays, number: int, horizon: int
) -> None:
    view = view_of(arrays, number)
    asked = [(2, 7), (0, 1), (2, 3), (1, 11), (2, 7), (3, 0)]
    rows = rows_of(asked)
    graphs = np.array([3, 0, 2, -1])  # the fourth user has none
    found = row_graphs(view, graphs, rows, rows.user, horizon=horizon, device="cpu")
    assert found is not None
    batch, reach = found
    assert batch.origin is not None
    source, target = batch.edge_index.numpy()
    begin = 0
    for row, (user, prefix) in enumerate(asked):
        nodes, edges = expected(view, int(graphs[user]), prefix, horizon)
        end = begin + len(nodes)
        assert batch.origin[begin:end].tolist() == nodes
        inside = (target >= begin) & (target < end)
        assert sorted(zip(batch.origin[source[inside]], batch.origin[target[inside]], strict=True)) == edges
        assert ((source[inside] >= begin) & (source[inside] < end)).all()
        read = reach.node[row][reach.hidden[row, 0] == 0].tolist()
        assert read == [begin + place for place, node in enumerate(nodes) if view.readable[node]]
        assert bool(reach.seen[row]) == bool(read)
        begin = end
    assert begin == len(batch)


def expected(view: GraphView, graph: int, prefix: int, horizon: int) -> tuple[list[int], list[Any]]:
    """Nodes and edges of one row's graph, one by one."""
    if graph < 0:
        return [], []
    arrays = view.arrays
    first, last = arrays.node_offset[graph], arrays.node_offset[graph + 1]
    oldest = prefix - horizon
    nodes = [n for n in range(first, last) if max(oldest, -1) <= arrays.node_position[n] < prefix]
    edges = [
        (first + arrays.edge_source[e], first + arrays.edge_target[e])
        for e in range(arrays.edge_offset[graph], arrays.edge_offset[graph + 1])
    ]
    return nodes, sorted((s, t) for s, t in edges if s in nodes and t in nodes)


def test_rows_that_see_nothing_get_no_batch(arrays: GraphArrays) -> None:
    rows = rows_of([(0, 5), (0, 6)])
    found = row_graphs(
        view_of(arrays, 0), np.array([-1]), rows, rows.user, horizon=4, device=torch.device("cpu")
    )
    assert found is None
