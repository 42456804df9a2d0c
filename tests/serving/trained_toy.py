"""A toy data set with graphs of the embedded reasoner, and one small model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llmrg.data.synthetic import PlantedThemes, planted_themes, write_atomic_files
from llmrg.job.assembly import make_graphs
from llmrg.job.reading import GraphJob, read_job
from llmrg.recbole_adapter.checkpoint import save_checkpoint
from llmrg.recbole_adapter.training import Prepared, fit, prepare

LLMRG: dict[str, Any] = {"text": {"encoder": "hashing", "components": 8}}
SMALL = {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 10}


@dataclass(frozen=True)
class TrainedToy:
    """What the tests of this room start from; not to be changed."""

    themes: PlantedThemes
    data_path: Path
    job: GraphJob
    prepared: Prepared
    model: Any
    checkpoint: Path

    def known(self, user_id: str) -> tuple[str, ...]:
        """What may be known of a user."""
        return tuple(self.themes.sequences[user_id][:-1])


def train_toy(folder: Path) -> TrainedToy:
    """Everything under ``folder``."""
    themes = planted_themes(num_users=40, num_items=30, num_themes=5, length=12, signal=0.9, seed=6)
    write_atomic_files(folder / "data", "toy", themes.sequences, catalog=themes.catalog)
    overrides: dict[str, Any] = {"data_path": str(folder / "data"), "llmrg": LLMRG}
    job = read_job("toy", overrides=overrides, folder=folder / "graphs")
    make_graphs(job)
    settings = {**overrides, **SMALL, "epochs": 6, "llmrg": {**LLMRG, "graphs": str(job.arrays_path)}}
    prepared = prepare("SASRecLLMRG", "toy", overrides={**settings, "learning_rate": 0.01})
    with torch.random.fork_rng():
        model = fit(prepared, prepared.new_model()).model.eval()
    checkpoint = save_checkpoint(folder / "checkpoint", model, prepared.config, prepared.train.dataset)
    return TrainedToy(themes, folder / "data", job, prepared, model, checkpoint)
