"""Planted data on disk, as RecBole and graph arrays read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.data.synthetic import PlantedThemes, planted_themes, write_atomic_files
from llmrg.graph.arrays import build_arrays
from llmrg.settings import TextSettings
from llmrg.text.encoder import load_text_encoder

BASES = ("SASRec", "GRU4Rec")
PATHS = ("prefix", "expanded")
_ATTENTION: dict[str, Any] = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
_FEATURES: dict[str, Any] = {"selected_features": ["title"]}
_WIDTH: dict[str, Any] = {"embedding_size": 16}
SMALL: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("SASRec", "BERT4Rec", "CL4SRec", "DuoRec"), _ATTENTION),
    **dict.fromkeys(("SASRecF", "FDSA"), _ATTENTION | _FEATURES),
    "LightSANs": {**_ATTENTION, "k_interests": 2},
    "GCSAN": _ATTENTION,
    "FEARec": {**_ATTENTION, "n_layers": 2},
    "CORE": {**_WIDTH, "inner_size": 32, "n_layers": 1},
    "GRU4Rec": {**_WIDTH, "hidden_size": 24},
    "GRU4RecF": {**_WIDTH, "hidden_size": 24, **_FEATURES},
    "NARM": {**_WIDTH, "hidden_size": 24},
    "SINE": {**_WIDTH, "prototype_size": 8},
    "NextItNet": {**_WIDTH, "block_num": 1},
    **dict.fromkeys(("STAMP", "SRGNN", "Caser", "HGN", "SHAN", "NPE"), _WIDTH),
}
_QUIET: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
NO_DROPOUT: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("SASRec", "SASRecF", "FDSA"), _QUIET),
    **dict.fromkeys(("CL4SRec", "DuoRec"), _QUIET | {"lmd": 0.0}),  # the contrastive term is the paths' own
    "GRU4Rec": {"dropout_prob": 0.0},
    "GRU4RecF": {"dropout_prob": 0.0},
}


@dataclass(frozen=True)
class PlantedData:
    """A data path with one data set ``planted``, and its graph arrays."""

    themes: PlantedThemes
    data_path: Path
    arrays: Path

    def overrides(self, base: str, *, graphs: bool = True, **llmrg: Any) -> dict[str, Any]:
        """Settings of a small model on this data."""
        sections: dict[str, Any] = {"text": {"components": 16, "encoder": "hashing"}, **llmrg}
        if graphs:
            sections["graphs"] = str(self.arrays)
        return {
            **SMALL[base.removesuffix("LLMRG")],
            "data_path": str(self.data_path),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": 20,
            "train_neg_sample_args": None,
            "train_batch_size": 64,
            "valid_metric": "NDCG@10",
            "metrics": ["Hit", "NDCG"],
            "show_progress": False,
            "llmrg": sections,
        }


def plant(
    folder: Path,
    *,
    sequences: Mapping[str, Sequence[str]] | None = None,
    num_users: int = 40,
    num_items: int = 60,
    length: int = 12,
    signal: float = 1.0,
    num_themes: int = 6,
    seed: int = 3,
) -> PlantedData:
    """Write planted themes (or ``sequences`` with the planted graphs) under ``folder``."""
    themes = planted_themes(
        num_users=num_users,
        num_items=num_items,
        num_themes=num_themes,
        length=length,
        signal=signal,
        seed=seed,
    )
    write_atomic_files(folder / "data", "planted", sequences or themes.sequences, catalog=themes.catalog)
    build_arrays(
        sorted(themes.graphs.values(), key=lambda graph: graph.user_id),
        load_text_encoder(TextSettings(encoder="hashing")),
        folder / "arrays",
        components=16,
        fingerprint="planted",
        cutoff="leave_one_out",
    )
    return PlantedData(themes, folder / "data", folder / "arrays")
