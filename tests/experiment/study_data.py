"""Small planted data with graphs made by the embedded reasoner's store, and settings of small models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.graph.arrays import build_arrays
from llmrg.graph.controls import neighbours_folder, unverified_folder
from llmrg.graph.schema import NodeKind, ReasoningGraph
from llmrg.settings import TextSettings
from llmrg.text.encoder import load_text_encoder

NAME = "study"
SMALL: dict[str, Any] = {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 2}
REJECTED = 0.1  # score of every third imagined item; the graphs' tau is above it


@dataclass(frozen=True)
class Study:
    """A data path with one data set, and the folders of graph arrays that arms read."""

    data_path: Path
    arrays: Path

    def overrides(self, epochs: int = 2, **more: Any) -> dict[str, Any]:
        """Settings of a small SASRec."""
        return {
            **SMALL,
            "data_path": str(self.data_path),
            "MAX_ITEM_LIST_LENGTH": 12,
            "train_batch_size": 128,
            "epochs": epochs,
            "llmrg": {"text": {"components": 8, "encoder": "hashing"}},
            **more,
        }


def make_study(
    folder: Path,
    *,
    sequences: Mapping[str, Sequence[str]] | None = None,
    users: int = 40,
    items: int = 40,
    length: int = 10,
    themes: int = 4,
    signal: float = 1.0,
    seed: int = 4,
) -> Study:
    """Write a data set and its graphs; ``sequences`` in place of the planted ones leave the graphs as they are."""
    planted = planted_themes(
        num_users=users, num_items=items, num_themes=themes, length=length, signal=signal, seed=seed
    )
    write_atomic_files(folder / "data", NAME, sequences or planted.sequences, catalog=planted.catalog)
    graphs = [doubted(graph) for graph in sorted(planted.graphs.values(), key=lambda graph: graph.user_id)]
    arrays = folder / "arrays"
    plain = [replace(graph, edges=()) for graph in graphs]
    for place, made, tau in (
        (arrays, graphs, None),
        (unverified_folder(arrays), graphs, 0.0),
        (neighbours_folder(arrays), plain, None),
    ):
        build_arrays(
            made,
            load_text_encoder(TextSettings(encoder="hashing")),
            place,
            components=8,
            tau=tau,
            fingerprint=f"{place.name} {signal} {seed}",
            cutoff="leave_one_out",
        )
    return Study(folder / "data", arrays)


def doubted(graph: ReasoningGraph) -> ReasoningGraph:
    """The same graph after a verification that rejected every third imagined item."""
    nodes = [
        replace(node, score=REJECTED if number % 3 == 0 else 0.7)
        if node.kind is NodeKind.IMAGINED_ITEM
        else node
        for number, node in enumerate(graph.nodes)
    ]
    return replace(graph, nodes=tuple(nodes), tau=0.3)
