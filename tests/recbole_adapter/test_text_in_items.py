"""Words in the item table: the base until it has some, one sum for all who read it, kept with the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from planted_data import BASES, PlantedData

from llmrg.graph.arrays import load_arrays
from llmrg.recbole_adapter.training import Prepared, fit, prepare
from llmrg.recbole_adapter.training import test_ranks as ranks_of

WORDS = {"text_in_items": True}


def _prepared(data: PlantedData, name: str, **llmrg: Any) -> Prepared:
    overrides = data.overrides(name, graphs=name.endswith("LLMRG"), **llmrg)
    return prepare(name, "planted", overrides={**overrides, "epochs": 2})


def _added(model: Any) -> Any:
    return getattr(model, model.traits.item_table).parametrizations.weight[0]


@pytest.mark.parametrize("base", BASES)
def test_without_graphs_there_are_no_words_and_the_model_is_its_base_bit_for_bit(
    planted: PlantedData, base: str
) -> None:
    plain = _prepared(planted, base)
    worded = _prepared(planted, base + "LLMRG", control="empty", encoder=WORDS)
    outcomes = []
    for prepared in (plain, worded):
        model = prepared.new_model()
        losses = [epoch.loss for epoch in fit(prepared, model).curve]
        outcomes.append((losses, ranks_of(prepared, model)[1].tolist()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("base", BASES)
def test_a_fresh_model_has_the_item_table_of_its_base_and_training_adds_words_to_it(
    planted: PlantedData, base: str
) -> None:
    prepared = _prepared(planted, base + "LLMRG", encoder=WORDS)
    model = prepared.new_model()
    table = getattr(model, model.traits.item_table)
    assert torch.equal(table.weight, table.parametrizations.weight.original)
    fit(prepared, model)
    added = _added(model)
    difference = (table.weight - table.parametrizations.weight.original).detach()
    torch.testing.assert_close(difference, (added.texts @ added.project).detach(), atol=1e-5, rtol=1e-4)
    assert difference.abs().max() > 1e-4


def test_the_words_of_an_item_are_those_of_its_nodes(planted: PlantedData) -> None:
    prepared = _prepared(planted, "SASRecLLMRG", encoder=WORDS)
    texts = _added(prepared.new_model()).texts
    arrays = load_arrays(planted.arrays)
    ids = {str(token): at for at, token in enumerate(prepared.dataset.field2id_token["item_id"])}
    checked = 0
    for item, text in zip(arrays.node_item, arrays.node_text, strict=True):
        if item >= 0 and text >= 0:
            vector = torch.from_numpy(arrays.text_vectors[text].astype("float32"))
            assert torch.equal(texts[ids[str(arrays.item_ids[item])]], vector)
            checked += 1
    assert checked > 0
    assert not texts[0].any(), "padding has no words"


def test_a_state_dict_brings_the_words_along(planted: PlantedData) -> None:
    model = _prepared(planted, "SASRecLLMRG", encoder=WORDS).new_model()
    torch.nn.init.normal_(_added(model).project)
    bare = _prepared(planted, "SASRecLLMRG", control="empty", encoder=WORDS).new_model()
    bare.load_state_dict(model.state_dict())
    assert torch.equal(bare.item_embedding.weight, model.item_embedding.weight)
