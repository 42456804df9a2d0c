"""Seen items in the ranking or left out of it: both ranks of every target, and the validation that training watches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted_data import PlantedData

from llmrg.errors import ModelError, SettingsError
from llmrg.evaluation.metrics import mean_of, rank_of_target
from llmrg.recbole_adapter.ranking import rank_targets
from llmrg.recbole_adapter.trainer import PrefixTrainer
from llmrg.recbole_adapter.training import Prepared, fit, held_out, prepare


def _prepared(data: PlantedData, *, keep_seen: bool, epochs: int = 1) -> Prepared:
    overrides = data.overrides("SASRec", graphs=False)
    ours = {**overrides.get("llmrg", {}), "evaluation": {"keep_seen": keep_seen}}
    return prepare("SASRec", "planted", overrides={**overrides, "epochs": epochs, "llmrg": ours})


def test_both_ranks_are_those_of_the_whole_score_table(planted: PlantedData) -> None:
    prepared = _prepared(planted, keep_seen=True)
    model = prepared.new_model()
    users, ranks = rank_targets(model, prepared.test)
    part = held_out(prepared, "test")
    assert users == part.user_ids
    for row in range(0, len(users), 17):
        history = part.histories[row]
        window = history[-model.max_seq_length :]
        sequence = torch.zeros(1, model.max_seq_length, dtype=torch.long)
        sequence[0, : len(window)] = torch.from_numpy(window)
        with torch.no_grad():
            state = model.forward(sequence, torch.tensor([len(window)]))
            scores = (state @ model.item_embedding.weight.T).double().numpy()
        scores[0, 0] = -np.inf
        target = part.targets[row : row + 1]
        assert ranks.kept[row] == rank_of_target(scores, target)[0]
        scores[0, history] = -np.inf
        assert ranks.left_out[row] == rank_of_target(scores, target)[0]


@pytest.mark.parametrize("keep_seen", [True, False])
def test_training_is_validated_under_the_protocol_of_the_settings(
    planted: PlantedData, keep_seen: bool
) -> None:
    prepared = _prepared(planted, keep_seen=keep_seen, epochs=2)
    trained = fit(prepared, prepared.new_model())
    ranks = rank_targets(trained.model, prepared.valid)[1]
    assert prepared.config["valid_metric"].lower() == "ndcg@10"
    assert trained.best_score == pytest.approx(mean_of("ndcg@10", ranks.of(keep_seen)), abs=1e-4)
    assert mean_of("ndcg@10", ranks.of(keep_seen)) != mean_of("ndcg@10", ranks.of(not keep_seen))


@pytest.mark.parametrize("mode", ["uni100", {"valid": "uni100", "test": "full"}])
def test_a_sample_of_items_to_rank_is_refused(planted: PlantedData, mode: Any) -> None:
    overrides = planted.overrides("SASRec", graphs=False)
    protocol = {"group_by": "user", "order": "TO", "split": {"LS": "valid_and_test"}, "mode": mode}
    with pytest.raises(SettingsError, match="mode 'uni100' ranks a sample"):
        prepare("SASRec", "planted", overrides={**overrides, "eval_args": protocol})


def test_in_recboles_own_run_a_sample_is_refused_where_seen_items_are_left_out(planted: PlantedData) -> None:
    prepared = _prepared(planted, keep_seen=False)
    prepared.config["eval_args"]["mode"] = {
        "valid": "uni100",
        "test": "uni100",
    }  # as RecBole's own quick start would
    with pytest.raises(SettingsError, match="ranks a sample"):
        PrefixTrainer(prepared.config, prepared.new_model())


def test_nothing_to_evaluate_is_nothing_as_in_recbole(planted: PlantedData) -> None:
    prepared = _prepared(planted, keep_seen=False)
    assert PrefixTrainer(prepared.config, prepared.new_model()).evaluate(None, load_best_model=False) is None


def test_training_that_diverges_is_one_error(planted: PlantedData) -> None:
    overrides = {**planted.overrides("SASRec", graphs=False), "learning_rate": 1e9}
    prepared = prepare("SASRec", "planted", overrides=overrides)
    with pytest.raises(ModelError, match=r"diverged.*lower the learning rate"):
        fit(prepared, prepared.new_model())
