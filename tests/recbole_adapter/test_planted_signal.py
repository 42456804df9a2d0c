"""The enhanced model must win where only the graph states the theme, and must not where it says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_data import BASES, PlantedData, plant

from llmrg.recbole_adapter.training import fit, prepare
from llmrg.recbole_adapter.training import test_ranks as ranks_of


def _ndcg(data: PlantedData, name: str, control: str = "none") -> float:
    overrides = data.overrides(name, graphs=name.endswith("LLMRG"), control=control)
    schedule = {"epochs": 25, "stopping_step": 6, "learning_rate": 0.005, "train_batch_size": 256}
    prepared = prepare(name, "planted", overrides={**overrides, **schedule})
    model = fit(prepared, prepared.new_model()).model
    ranks = ranks_of(prepared, model)[1]
    return float(np.mean((ranks <= 10) / np.log2(ranks + 1)))


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> PlantedData:
    return plant(tmp_path_factory.mktemp("loud"), num_users=250, num_items=80, num_themes=8, length=14)


@pytest.mark.parametrize("base", BASES)
def test_the_enhanced_model_wins_where_only_the_graph_states_the_theme(loud: PlantedData, base: str) -> None:
    plain, enhanced = _ndcg(loud, base), _ndcg(loud, base + "LLMRG")
    shuffled = _ndcg(loud, base + "LLMRG", control="shuffled")
    assert enhanced > 1.6 * plain
    assert shuffled < 1.2 * plain


def test_the_enhanced_model_does_not_win_where_the_graph_is_noise(tmp_path: Path) -> None:
    silent = plant(tmp_path, num_users=250, num_items=80, num_themes=8, length=14, signal=0.0)
    assert _ndcg(silent, "SASRecLLMRG") < 1.2 * _ndcg(silent, "SASRec")
