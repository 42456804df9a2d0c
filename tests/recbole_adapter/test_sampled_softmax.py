"""Softmax over a sample of the catalogue (llmrg.training.sampled_softmax)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from planted_data import NO_DROPOUT, PlantedData

from llmrg.errors import SettingsError
from llmrg.recbole_adapter.base_models import CAUSAL_MODELS
from llmrg.recbole_adapter.prefix_training import PrefixBatch, PrefixWindows, prefix_loss
from llmrg.recbole_adapter.sampled_softmax import CandidateSampler
from llmrg.recbole_adapter.trainer import PrefixTrainer
from llmrg.recbole_adapter.training import Prepared, fit, prepare
from llmrg.recbole_adapter.training import test_ranks as ranks_of


def _batch(data: PlantedData, name: str) -> tuple[Prepared, Any, PrefixWindows, PrefixBatch]:
    overrides = {**data.overrides(name), **NO_DROPOUT[name.removesuffix("LLMRG")]}
    prepared = prepare(name, "planted", overrides=overrides)
    model = prepared.new_model().train()
    if name.endswith("LLMRG"):  # an open gate, or the graph would not matter
        torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    return prepared, model, windows, windows.batch(windows.users)


@pytest.mark.parametrize("suffix", ["", "LLMRG"])
@pytest.mark.parametrize("base", sorted(CAUSAL_MODELS))
def test_with_the_whole_catalogue_drawn_it_is_the_loss_over_all_items(
    planted: PlantedData, base: str, suffix: str
) -> None:
    _, model, windows, batch = _batch(planted, base + suffix)
    everything = CandidateSampler(windows.target_counts(), 10_000).draw(batch.target, torch.Generator())
    state = set(model.state_dict())
    gradients = []
    losses = []
    for candidates in (None, everything):
        model.zero_grad()
        loss = prefix_loss(model, batch, candidates=candidates)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert set(model.state_dict()) == state  # the item table is in its place again
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_few_candidates_estimate_the_loss_over_all_items(planted: PlantedData) -> None:
    _, model, windows, _ = _batch(planted, "SASRec")
    batch = windows.batch(windows.users[:2])  # few targets: most of the catalogue is not among them
    sampler = CandidateSampler(windows.target_counts(), 20)
    generator = torch.Generator().manual_seed(5)
    drawn = [sampler.draw(batch.target, generator) for _ in range(200)]
    assert max(len(candidates.items) for candidates in drawn) < len(windows.target_counts()) * 0.8
    bare = [replace(candidates, correction=torch.zeros(len(candidates.items))) for candidates in drawn]
    with torch.no_grad():
        exact = float(prefix_loss(model, batch))
        corrected, uncorrected = (
            sum(float(prefix_loss(model, batch, candidates=candidates)) for candidates in each) / len(each)
            for each in (drawn, bare)
        )
    assert corrected == pytest.approx(exact, rel=0.03)
    assert uncorrected < exact * 0.95


def test_every_target_is_a_candidate_and_the_rest_is_drawn_without_repetition(planted: PlantedData) -> None:
    _, _, windows, batch = _batch(planted, "SASRec")
    candidates = CandidateSampler(windows.target_counts(), 7).draw(batch.target, torch.Generator())
    assert set(batch.target.tolist()) <= set(candidates.items.tolist())
    assert len(candidates.items) <= 1 + len(batch.target.unique()) + 7
    assert torch.equal(candidates.column[candidates.items], torch.arange(len(candidates.items)))
    assert int(candidates.items[0]) == 0
    assert float(candidates.correction[0]) == 0
    assert bool((candidates.correction >= 0).all())


def test_counts_are_of_the_targets_that_are_trained(planted: PlantedData) -> None:
    _, _, windows, batch = _batch(planted, "SASRec")
    counts = windows.target_counts()
    assert int(counts.sum()) == windows.num_targets
    assert torch.equal(counts, torch.bincount(batch.target, minlength=len(counts)))


def test_it_learns_what_the_whole_catalogue_teaches_and_without_graphs_it_is_its_base(
    planted: PlantedData,
) -> None:
    reached = {}
    for name, control in (("SASRec", "none"), ("SASRecLLMRG", "empty")):
        overrides = planted.overrides(
            name, graphs=name != "SASRec", training={"sampled_softmax": 10}, control=control
        )
        prepared = prepare(name, "planted", overrides=overrides | {"epochs": 8})
        trained = fit(prepared, prepared.new_model())
        reached[name] = trained.curve[-1].loss, ranks_of(prepared, trained.model)[1].tolist()
        assert trained.curve[-1].loss < trained.curve[0].loss
    assert reached["SASRec"] == reached["SASRecLLMRG"]


@pytest.mark.parametrize(
    ("name", "settings", "training"),
    [
        ("BERT4Rec", {}, {}),
        ("SASRec", {}, {"path": "expanded"}),
        (
            "SASRec",
            {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}},
            {},
        ),
    ],
)
def test_where_it_does_not_apply_it_is_refused(
    planted: PlantedData, name: str, settings: dict[str, Any], training: dict[str, Any]
) -> None:
    overrides = planted.overrides(name, graphs=False, training={"sampled_softmax": 10, **training})
    prepared = prepare(name, "planted", overrides=overrides | settings)
    with pytest.raises(SettingsError, match="sampled_softmax"):
        PrefixTrainer(prepared.config, prepared.new_model())
