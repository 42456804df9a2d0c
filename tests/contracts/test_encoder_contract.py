"""What every graph network must do with every fusion and read-out, on one base model: the laws, whatever is chosen."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from enhanced_toy import (
    Toy,
    companions_change_nothing,
    later_nodes_change_nothing,
    loss_of,
    permute_nodes,
    rows_of,
    scores_of,
    train_rows,
)
from planted_data import NO_DROPOUT

from llmrg.encoder.fusion import FUSIONS
from llmrg.encoder.networks import NETWORKS
from llmrg.encoder.readout import READOUTS
from llmrg.graph.arrays import load_arrays
from llmrg.recbole_adapter.checkpoint import load_checkpoint, save_checkpoint
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH
from llmrg.recbole_adapter.prefix_training import PrefixWindows, prefix_loss
from llmrg.recbole_adapter.training import Prepared, fit, prepare

BASE = "SASRec"
CHOICES: list[dict[str, Any]] = [
    *({"network": network, "fusion": fusion} for network, fusion in itertools.product(NETWORKS, FUSIONS)),
    *({"network": network, "readout": "last_node"} for network in NETWORKS),
    *({"network": network, "shared": True, "steps": 2} for network in NETWORKS),
    {"network": "srgnn", "readout": "last_node", "fusion": "concat", "pointer": False},  # the paper's
]
every_choice = pytest.mark.parametrize(
    "choice", CHOICES, ids=lambda choice: "-".join(f"{key}={value}" for key, value in choice.items())
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def prepared_with(toy: Toy, choice: dict[str, Any], **changes: Any) -> Prepared:
    return toy.prepare(BASE + "LLMRG", llmrg={"encoder": {"horizon": 4, **choice}}, **changes)


def opened(prepared: Prepared) -> Any:
    """A model whose graph matters: the fusion open, no dropout."""
    model = prepared.new_model().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if hasattr(model.fusion, "gate"):
            model.fusion.gate.copy_(torch.randn(model.fusion.gate.shape, generator=generator))
        else:
            model.fusion.linear.weight.normal_(std=0.3, generator=generator)
    return model


@every_choice
def test_shut_at_the_start_it_is_the_base_bit_for_bit(toy: Toy, choice: dict[str, Any]) -> None:
    base_model = toy.prepared(BASE).new_model()
    prepared = prepared_with(toy, choice)
    model = prepared.new_model()
    if model.pointer is not None:
        torch.nn.init.zeros_(model.pointer.beta)
    rows, held_out = train_rows(prepared), rows_of(prepared.test)
    for train in (True, False):
        assert torch.equal(loss_of(model.train(train), rows), loss_of(base_model.train(train), rows))
    assert torch.equal(scores_of(model, held_out), scores_of(base_model, held_out))
    assert not torch.equal(scores_of(opened(prepared), held_out), scores_of(base_model, held_out))


@every_choice
def test_permuted_nodes_change_nothing(toy: Toy, choice: dict[str, Any]) -> None:
    prepared = prepared_with(toy, choice)
    model = opened(prepared)
    rows = rows_of(prepared.test)
    before = scores_of(model, rows)
    permuted = permute_nodes(load_arrays(toy.data.arrays), np.random.default_rng(1))
    model.attach_graphs(permuted, prepared.train.dataset)
    torch.testing.assert_close(scores_of(model, rows), before)


@every_choice
def test_batch_companions_change_nothing(toy: Toy, choice: dict[str, Any]) -> None:
    prepared = prepared_with(toy, choice)
    model = opened(prepared)
    companions_change_nothing(model, rows_of(prepared.test))


@every_choice
def test_nodes_at_or_after_the_target_change_neither_loss_nor_scores(
    toy: Toy, choice: dict[str, Any]
) -> None:
    prepared = prepared_with(toy, choice)
    model = opened(prepared)
    later_nodes_change_nothing(model, train_rows(prepared), read_from=3)


@every_choice
def test_both_paths_give_the_same_loss_and_gradient(toy: Toy, choice: dict[str, Any]) -> None:
    prepared = prepared_with(toy, choice, **NO_DROPOUT[BASE])
    model = opened(prepared).train()
    rows = prepared.train.dataset.inter_feat
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    batch = windows.batch(windows.users)
    assert len(batch) == len(rows)
    assert int(batch.prefix_length.max()) == int(rows[PREFIX_LENGTH].max())
    found = []
    for loss in (model.calculate_loss(rows), prefix_loss(model, batch)):
        model.zero_grad()
        loss.backward()
        found.append(
            {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
        )
        found[-1]["loss"] = loss.detach()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-5, rtol=1e-3, msg=name)


@every_choice
def test_the_gradient_reaches_every_part_of_the_graph_branch(toy: Toy, choice: dict[str, Any]) -> None:
    prepared = prepared_with(toy, choice)
    model = opened(prepared).train()
    model.calculate_loss(train_rows(prepared)).backward()
    parts = ("node_features", "reasoning_", "divergent_", "fusion", "pointer")
    ours = {name: value.grad for name, value in model.named_parameters() if name.startswith(parts)}
    for name, gradient in ours.items():
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
    reached = {name.split(".")[0] for name, gradient in ours.items() if gradient.abs().sum() > 0}
    expected = {name.split(".")[0] for name in ours}
    assert reached == expected
    assert {
        "node_features",
        "reasoning_encoder",
        "reasoning_readout",
        "divergent_readout",
        "fusion",
    } <= reached
    assert ("divergent_encoder" in reached) == (not choice.get("shared"))


@every_choice
def test_a_checkpoint_round_trip_restores_the_scores(
    toy: Toy, choice: dict[str, Any], tmp_path: Path
) -> None:
    prepared = prepared_with(toy, choice)
    model = opened(prepared)
    rows = rows_of(prepared.test)
    save_checkpoint(tmp_path, model, prepared.config, prepared.train.dataset)
    loaded = load_checkpoint(tmp_path)[2].eval()
    assert torch.equal(scores_of(loaded, rows), scores_of(model, rows))


@pytest.mark.parametrize("path", ["prefix", "expanded"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_trains_and_moves_its_network(toy: Toy, network: str, path: str) -> None:
    choice = {"network": network, "readout": "last_node", "fusion": "norm_matched"}
    prepared = toy.prepare(BASE + "LLMRG", llmrg={"training": {"path": path}, "encoder": choice})
    model = prepared.new_model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    assert np.isfinite([epoch.loss for epoch in fit(prepared, model).curve]).all()
    moved = {
        name.split(".")[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])
    }
    assert {"fusion", "reasoning_encoder", "divergent_encoder", "divergent_readout"} <= moved


def test_the_shipped_preset_is_the_papers_arrangement(toy: Toy) -> None:
    overrides = toy.data.overrides(BASE)
    model = prepare(BASE + "LLMRG", "planted", config_files=["paper"], overrides=overrides).new_model()
    assert model.reasoning_encoder is not model.divergent_encoder
    for name in ("reasoning", "divergent"):
        assert type(getattr(model, f"{name}_encoder")) is NETWORKS["srgnn"]
        assert type(getattr(model, f"{name}_readout")) is READOUTS["last_node"]
    assert type(model.fusion) is FUSIONS["concat"]
    assert model.pointer is None
