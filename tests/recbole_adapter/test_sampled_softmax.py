"""Softmax over a sample of the catalogue (llmrg.training.sampled_softmax)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
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
    everything = CandidateSampler(windows.target_counts(), 10_000).draw(
        batch.target, batch.user, torch.Generator()
    )
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


def test_a_candidate_weighs_as_much_as_it_is_rare_whoever_asks(planted: PlantedData) -> None:
    """Over many batches that hold a user, each item weighs 1 in the user's rows on average: the sum is that of all."""
    _, _, windows, _ = _batch(planted, "SASRec")
    counts = windows.target_counts()
    sampler = CandidateSampler(counts, 10)
    generator = torch.Generator().manual_seed(5)
    someone, *others = windows.users
    weight = torch.zeros(len(counts))
    draws = 1500
    for _ in range(draws):
        chosen = torch.randperm(len(others), generator=generator)[:7].tolist()
        batch = windows.batch(np.array([someone, *(others[place] for place in chosen)]))
        found = sampler.draw(batch.target, batch.user, generator)
        row = int(found.user[0])  # the batch begins with someone's rows
        assert int(batch.user[0]) == int(windows.dataset.history_user[someone])
        weight[found.items] += torch.where(found.own[row], 0.0, found.correction).exp()
    mean = weight / draws
    own = torch.zeros(len(counts), dtype=torch.bool)
    own[windows.batch(np.array([someone])).target] = True
    assert float(mean[0]) == 1
    assert bool((mean[own] == 1).all())
    others_mean = mean[1:][~own[1:]]
    assert float(others_mean.mean()) == pytest.approx(1, abs=0.1)
    assert float(others_mean.std()) < 0.2


def test_few_candidates_estimate_the_loss_over_all_items(planted: PlantedData) -> None:
    """With scores that differ, over batches of users drawn anew."""
    _, model, windows, whole = _batch(planted, "SASRec")
    torch.nn.init.normal_(model.item_embedding.weight, std=0.2, generator=torch.Generator().manual_seed(2))
    sampler = CandidateSampler(windows.target_counts(), 20)
    generator = torch.Generator().manual_seed(5)
    sums = {"corrected": 0.0, "bare": 0.0}
    targets = 0
    with torch.no_grad():
        exact = float(prefix_loss(model, whole))
        for _ in range(100):
            chosen = torch.randperm(len(windows.users), generator=generator)[:5].numpy()
            batch = windows.batch(windows.users[chosen])
            found = sampler.draw(batch.target, batch.user, generator)
            bare = replace(found, correction=torch.zeros(len(found.items)))
            targets += len(batch)
            for name, candidates in (("corrected", found), ("bare", bare)):
                sums[name] += float(prefix_loss(model, batch, candidates=candidates)) * len(batch)
    assert sums["corrected"] / targets == pytest.approx(exact, rel=0.02)
    assert sums["bare"] / targets < exact * 0.95


@pytest.mark.parametrize("base", ["CL4SRec", "DuoRec"])
def test_the_contrastive_term_is_none_of_its_business(planted: PlantedData, base: str) -> None:
    overrides = {**planted.overrides(base), **NO_DROPOUT[base], "lmd": 0.1}
    prepared = prepare(base, "planted", overrides=overrides)
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    batch = windows.batch(windows.users)
    sampler = CandidateSampler(windows.target_counts(), 10_000)
    losses = []
    for candidates in (None, sampler.draw(batch.target, batch.user, torch.Generator())):
        model = prepared.new_model().train()  # draws its views anew, from the same seed
        losses.append(float(prefix_loss(model, batch, candidates=candidates).detach()))
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_words_in_the_item_table_are_scored_too(planted: PlantedData) -> None:
    overrides = planted.overrides("SASRec", encoder={"text_in_items": True}) | NO_DROPOUT["SASRec"]
    prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
    model = prepared.new_model().train()
    project = model.item_embedding.parametrizations.weight[0].project
    torch.nn.init.normal_(project, generator=torch.Generator().manual_seed(3))
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    batch = windows.batch(windows.users)
    found = CandidateSampler(windows.target_counts(), 10_000).draw(
        batch.target, batch.user, torch.Generator()
    )
    losses = [float(prefix_loss(model, batch, candidates=each).detach()) for each in (None, found)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_a_loss_that_fails_leaves_the_model_as_it_was(
    planted: PlantedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, windows, batch = _batch(planted, "SASRec")
    table, loss = model.item_embedding, model.loss_fct
    found = CandidateSampler(windows.target_counts(), 5).draw(batch.target, batch.user, torch.Generator())

    def fails(interaction: Any) -> torch.Tensor:
        raise RuntimeError("on the way")

    monkeypatch.setattr(model, "calculate_loss", fails)
    with pytest.raises(RuntimeError, match="on the way"):
        prefix_loss(model, batch, candidates=found)
    assert model.item_embedding is table
    assert model.loss_fct is loss


def test_every_target_is_a_candidate_and_the_rest_is_drawn_without_repetition(planted: PlantedData) -> None:
    _, _, windows, batch = _batch(planted, "SASRec")
    candidates = CandidateSampler(windows.target_counts(), 7).draw(
        batch.target, batch.user, torch.Generator()
    )
    assert set(batch.target.tolist()) <= set(candidates.items.tolist())
    assert len(candidates.items) <= 1 + len(batch.target.unique()) + 7
    assert torch.equal(candidates.column[candidates.items], torch.arange(len(candidates.items)))
    assert int(candidates.items[0]) == 0
    assert float(candidates.correction[0]) == 0
    assert bool((candidates.correction >= 0).all())
    assert bool(candidates.own[candidates.user, candidates.column[batch.target]].all())


def test_counts_are_of_the_targets_that_are_trained(planted: PlantedData) -> None:
    _, _, windows, batch = _batch(planted, "SASRec")
    counts = windows.target_counts()
    assert int(counts.sum()) == len(batch)
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
