"""Small planted data and what the contract suites of enhanced models ask of a model on it."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from planted_data import PlantedData, plant

from llmrg.graph.arrays import GraphArrays
from llmrg.recbole_adapter.training import Prepared, prepare

EPOCHS = 2


class Toy:
    """Small planted data, and every model prepared on it once."""

    def __init__(self, folder: Path) -> None:
        self.data: PlantedData = plant(folder, num_users=16, num_items=30, length=9, num_themes=4)

    def prepare(self, name: str, *, graphs: bool | None = None, **changes: Any) -> Prepared:
        enhanced = name.endswith("LLMRG") if graphs is None else graphs
        llmrg = changes.pop("llmrg", {})
        overrides = self.data.overrides(name, graphs=enhanced, **llmrg)
        fixed = {"MAX_ITEM_LIST_LENGTH": 10, "epochs": EPOCHS, "train_batch_size": 48}
        return prepare(name, "planted", overrides={**overrides, **fixed, **changes})

    @functools.cache  # noqa: B019  one Toy a session
    def prepared(self, name: str) -> Prepared:
        return self.prepare(name)

    def opened(self, base: str) -> tuple[Prepared, Any]:
        """An enhanced model whose graph matters: gate open, pointer on, no dropout."""
        prepared = self.prepared(base + "LLMRG")
        model = prepared.new_model().eval()
        torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
        return prepared, model


def rows_of(loader: Any) -> Any:
    """All rows of a loader, as its models get them."""
    data = loader._dataset
    return loader.transform(data, data.inter_feat[list(range(len(data.inter_feat)))])


def train_rows(prepared: Prepared) -> Any:
    """All training rows; what the transform draws is the same every time."""
    random.seed(7)
    return rows_of(prepared.train)


def scores_of(model: Any, rows: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.full_sort_predict(rows).view(len(rows), -1)


def loss_of(model: Any, rows: Any) -> torch.Tensor:
    random.seed(7)
    torch.manual_seed(7)
    if hasattr(model, "generator"):
        model.generator.manual_seed(7)
    with torch.no_grad():
        return model.calculate_loss(rows)


def same_rows(rows: Any, prefix: int) -> Any:
    return rows[torch.nonzero(rows["prefix_length"] == prefix).squeeze(-1)]


def spoil_nodes(model: Any, from_position: int) -> None:
    """Other items and other words in all nodes from a position on."""
    for view in (model.graphs.reasoning, model.graphs.divergent):
        later = np.asarray(view.arrays.node_position) >= from_position
        assert later.any()
        view.item[later] = view.item[later] % 29 + 1
        text = np.where(later, 0, view.arrays.node_text)
        view.arrays = type(view.arrays)(**{**vars(view.arrays), "node_text": text})


def companions_change_nothing(model: Any, rows: Any) -> None:
    """Rows score the same in parts as together."""
    together = scores_of(model, rows)
    for start in range(0, 12, 4):
        part = rows[start : start + 4]
        torch.testing.assert_close(scores_of(model, part), together[start : start + 4], atol=1e-5, rtol=1e-5)


def later_nodes_change_nothing(model: Any, rows: Any, *, read_from: int) -> None:
    """Rows of prefix length 5 are blind to nodes from position 5 on, and not to those from ``read_from`` on."""
    rows = same_rows(rows, 5)
    before = loss_of(model, rows), scores_of(model, rows)
    spoil_nodes(model, from_position=5)
    assert torch.equal(loss_of(model, rows), before[0])
    assert torch.equal(scores_of(model, rows), before[1])
    spoil_nodes(model, from_position=read_from)
    assert not torch.equal(loss_of(model, rows), before[0])


def permute_nodes(arrays: GraphArrays, rng: np.random.Generator) -> GraphArrays:
    """The same graphs with the nodes of each position in another order."""
    graph = np.repeat(np.arange(len(arrays)), np.diff(arrays.node_offset))
    order = np.lexsort((rng.random(len(graph)), np.asarray(arrays.node_position), graph))
    place = np.argsort(order)
    edge_graph = np.repeat(np.arange(len(arrays)), np.diff(arrays.edge_offset))
    shift = np.asarray(arrays.node_offset)[edge_graph]
    columns = {
        name: value[order]
        for name, value in vars(arrays).items()
        if name.startswith("node_") and name != "node_offset"
    }
    edges = {
        name: (place[getattr(arrays, name) + shift] - shift).astype(getattr(arrays, name).dtype)
        for name in ("edge_source", "edge_target")
    }
    return type(arrays)(**{**vars(arrays), **columns, **edges})
