"""CL4SRec and DuoRec: SASRec when their term is off, and augmentations that do what their papers say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from planted_data import PATHS, PlantedData
from torch.nn import functional

from llmrg.errors import SettingsError
from llmrg.recbole_adapter.models.cl4srec import crop, mask, reorder
from llmrg.recbole_adapter.models.contrastive import nt_xent
from llmrg.recbole_adapter.models.duorec import SameTarget
from llmrg.recbole_adapter.prefix_training import PrefixWindows, prefix_loss
from llmrg.recbole_adapter.training import Prepared, fit, prepare

OURS = ("CL4SRec", "DuoRec")
SEQUENCES = torch.tensor(
    [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 0, 0, 0, 0, 0], [21] + 9 * [0]]
)
LENGTHS = torch.tensor([10, 5, 1])


def _prepared(data: PlantedData, name: str, **changes: Any) -> Prepared:
    overrides = data.overrides(name, graphs=name.endswith("LLMRG"), **changes.pop("llmrg", {}))
    return prepare(name, "planted", overrides={**overrides, "epochs": 2, **changes})


def _uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", OURS)
def test_without_their_term_they_are_sasrec_bit_for_bit(planted: PlantedData, name: str, path: str) -> None:
    runs = []
    for model_name, changes in (("SASRec", {}), (name, {"lmd": 0.0})):
        prepared = _prepared(planted, model_name, llmrg={"training": {"path": path}}, **changes)
        model = prepared.new_model()
        runs.append(([epoch.loss for epoch in fit(prepared, model).curve], model.state_dict()))
    assert runs[0][0] == runs[1][0]
    for key, value in runs[0][1].items():
        assert torch.equal(runs[1][1][key], value), key


@pytest.mark.parametrize("name", OURS)
def test_the_loss_is_the_next_item_loss_plus_the_weighted_term(planted: PlantedData, name: str) -> None:
    quiet = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    prepared = _prepared(planted, name, **quiet)
    model = prepared.new_model()
    rows = prepared.train.dataset.inter_feat
    losses = []
    for weight in (0.0, 0.1, 0.2):
        model.lmd = weight
        model.generator.manual_seed(1)
        losses.append(float(model.calculate_loss(rows).detach()))
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)
    plain = _prepared(planted, "SASRec", **quiet).new_model()
    plain.load_state_dict({key: model.state_dict()[key] for key in plain.state_dict()})
    assert losses[0] == float(plain.calculate_loss(rows).detach())


@pytest.mark.parametrize("name", OURS)
def test_both_paths_train_with_the_term_and_draw_from_the_models_own_generator(
    planted: PlantedData, name: str
) -> None:
    prepared = _prepared(planted, name)
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    batch = windows.batch(windows.users[:8])
    figures = []
    for _ in range(2):
        model = prepared.new_model().eval()  # no dropout: all that is random is the model's own
        torch.manual_seed(0)
        before = torch.random.get_rng_state()
        loss = prefix_loss(model, batch)
        assert torch.equal(torch.random.get_rng_state(), before)
        figures.append(float(loss.detach()))
        again = float(prefix_loss(model, batch).detach())
        loss.backward()
    assert figures[0] == figures[1]
    assert again != figures[0]
    if name == "CL4SRec":
        assert model.mask_vector.grad.abs().sum() > 0


@pytest.mark.parametrize("name", OURS)
def test_on_the_prefix_path_the_term_is_that_of_each_windows_newest_row(
    planted: PlantedData, name: str
) -> None:
    prepared = _prepared(planted, name)
    model = prepared.new_model().eval()
    rows = prepared.train.dataset.inter_feat
    newest = rows[torch.nonzero(rows["prefix_length"] == rows["prefix_length"].max()).squeeze(-1)]
    windows = PrefixWindows.from_config(prepared.config, prepared.train.dataset)
    batch = windows.batch(windows.users)
    width = newest["item_id_list"].shape[1]  # as wide as RecBole's rows, so that both draw the same numbers
    window, position = (
        batch.state_index // batch.item_seq.shape[1],
        batch.state_index % batch.item_seq.shape[1],
    )
    batch = replace(
        batch,
        item_seq=functional.pad(batch.item_seq, (0, width - batch.item_seq.shape[1])),
        state_index=window * width + position,
    )
    terms = []
    for loss in (lambda: model.calculate_loss(newest), lambda: prefix_loss(model, batch)):
        values = []
        for weight in (0.0, 1.0):
            model.lmd = weight
            model.generator.manual_seed(3)
            values.append(float(loss().detach()))
        terms.append(values[1] - values[0])
    assert len(newest) == len(batch.item_seq)
    assert terms[1] == pytest.approx(terms[0], rel=1e-4)


def test_a_view_is_changed_by_one_operation_alone(planted: PlantedData) -> None:
    """With a crop that keeps all and a shuffle of nothing, a view is the sequence itself or all masks."""
    prepared = _prepared(planted, "CL4SRec", eta=1.0, gamma=1.0, beta=0.0)
    model = prepared.new_model().eval()
    rows = prepared.train.dataset.inter_feat
    sequences, lengths = rows["item_id_list"], rows["item_length"]
    with torch.no_grad():
        view = model._view(sequences, lengths)
        plain = model.forward(sequences, lengths)
        with model.item_embedding.register_forward_hook(lambda _, __, out: model.mask_vector.expand_as(out)):
            all_masks = model.forward(sequences, lengths)
    as_it_is = torch.isclose(view, plain, atol=1e-6).all(1)
    masked = torch.isclose(view, all_masks, atol=1e-6).all(1)
    assert (as_it_is ^ masked).all()
    assert masked.float().mean().item() == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("name", OURS)
def test_the_term_trains_the_encoder_and_leaves_the_graph_branch_alone(
    planted: PlantedData, name: str
) -> None:
    prepared = _prepared(planted, name + "LLMRG")
    model = prepared.new_model().eval()
    torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    rows = prepared.train.dataset.inter_feat
    gradients = []
    for weight in (0.0, 1.0):
        model.lmd = weight
        model.zero_grad()
        model.calculate_loss(rows).backward()
        gradients.append(
            {key: value.grad.clone() for key, value in model.named_parameters() if value.grad is not None}
        )
    for key in ("fusion.gate", "pointer.beta", "reasoning_encoder.layer.weight"):
        torch.testing.assert_close(gradients[1][key], gradients[0][key])
    key = "trm_encoder.layer.0.feed_forward.dense_1.weight"
    assert not torch.allclose(gradients[1][key], gradients[0][key])


@pytest.mark.parametrize("changes", [{"lmd": -1}, {"tau": 0}, {"sim": "angle"}, {"eta": 1.5}])
def test_impossible_settings_are_refused(planted: PlantedData, changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        _prepared(planted, "CL4SRec", **changes).new_model()


def test_the_contrast_is_the_published_formula() -> None:
    first, second = _uniform(3, 4), _uniform(3, 4, seed=1)
    states = [*first, *second]
    total = 0.0
    for i, state in enumerate(states):
        exponents = [float(state @ other) / 0.5 for other in states]
        positive = exponents[(i + 3) % 6]
        total -= positive - math.log(sum(math.exp(e) for j, e in enumerate(exponents) if j != i))
    assert float(nt_xent(first, second, temperature=0.5)) == pytest.approx(total / 6, rel=1e-5)
    unit = [functional.normalize(view, dim=-1) for view in (first, second)]
    torch.testing.assert_close(
        nt_xent(first, second, temperature=0.5, cosine=True), nt_xent(*unit, temperature=0.5)
    )


@pytest.mark.parametrize("seed", range(5))
def test_crop_keeps_a_contiguous_share(seed: int) -> None:
    cropped, kept = crop(SEQUENCES, LENGTHS, 0.6, _uniform(3, seed=seed))
    assert kept.tolist() == [6, 3, 1]
    for row, own, length in zip(cropped.tolist(), SEQUENCES.tolist(), kept.tolist(), strict=True):
        begin = own.index(row[0])
        assert row == own[begin : begin + length] + [0] * (10 - length)
        assert 0 not in row[:length]


@pytest.mark.parametrize("seed", range(5))
def test_mask_covers_a_share_of_the_items_and_no_padding(seed: int) -> None:
    masked = mask(LENGTHS, 0.4, _uniform(3, 10, seed=seed))
    assert masked.sum(1).tolist() == [4, 2, 0]
    assert not (masked & (SEQUENCES == 0)).any()


@pytest.mark.parametrize("seed", range(5))
def test_reorder_shuffles_a_contiguous_share_and_nothing_else(seed: int) -> None:
    shuffled = reorder(SEQUENCES, LENGTHS, 0.6, _uniform(3, seed=seed), _uniform(3, 10, seed=seed + 50))
    for row, own, length in zip(shuffled.tolist(), SEQUENCES.tolist(), (6, 3, 0), strict=True):
        assert sorted(row) == sorted(own)
        moved = [place for place in range(10) if row[place] != own[place]]
        assert not moved or moved[-1] - moved[0] < length


def test_every_place_can_be_cropped_and_masked() -> None:
    begins = {int(crop(SEQUENCES, LENGTHS, 0.6, _uniform(3, seed=seed))[0][0, 0]) for seed in range(60)}
    assert begins == {1, 2, 3, 4, 5}
    masked = torch.stack([mask(LENGTHS, 0.4, _uniform(3, 10, seed=seed))[0] for seed in range(60)])
    assert masked.any(0).all()


def test_the_second_view_of_duorec_leads_to_the_same_item_and_is_another_where_there_is_one(
    planted: PlantedData,
) -> None:
    prepared = _prepared(planted, "DuoRec")
    rows = prepared.train.dataset.inter_feat
    sequences, targets = rows["item_id_list"], rows["item_id"]
    by_target = SameTarget(sequences, rows["item_length"], targets, num_items=prepared.dataset.item_num)
    leads_to: dict[int, set[tuple[int, ...]]] = {}
    for sequence, target in zip(sequences.tolist(), targets.tolist(), strict=True):
        leads_to.setdefault(target, set()).add(tuple(sequence))
    for seed in range(3):
        drawn, lengths = by_target.draw(sequences, targets, _uniform(len(targets), seed=seed))
        assert torch.equal(lengths, (drawn > 0).sum(1))
        for own, other, target in zip(sequences.tolist(), drawn.tolist(), targets.tolist(), strict=True):
            assert tuple(other) in leads_to[target]
            assert own != other or len(leads_to[target]) == 1
