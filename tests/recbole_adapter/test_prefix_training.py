"""Law 2: every prefix in one pass, with the loss of RecBole's expanded rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_data import BASES, NO_DROPOUT, PlantedData, plant

from llmrg.errors import ModelError
from llmrg.recbole_adapter import ranking
from llmrg.recbole_adapter.base_models import CAUSAL_MODELS, check_causal
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH, train_targets
from llmrg.recbole_adapter.prefix_states import every_position
from llmrg.recbole_adapter.prefix_training import PrefixWindows, prefix_loss
from llmrg.recbole_adapter.trainer import PrefixTrainer
from llmrg.recbole_adapter.training import Prepared, fit, prepare


def _windows(prepared: Prepared, batch_size: int = 10_000, overlap: float = 0.5) -> PrefixWindows:
    data = prepared.train.dataset
    window = int(prepared.config["MAX_ITEM_LIST_LENGTH"])
    return PrefixWindows(data, train_targets(data), window=window, overlap=overlap, batch_size=batch_size)


@pytest.mark.parametrize("suffix", ["", "LLMRG"])
@pytest.mark.parametrize("base", sorted(CAUSAL_MODELS))
@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_both_paths_give_the_same_loss_for_the_same_weights(
    planted: PlantedData, base: str, suffix: str, loss_type: str
) -> None:
    overrides = {**planted.overrides(base), **NO_DROPOUT[base], "loss_type": loss_type}
    if loss_type == "BPR":
        overrides["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}
    prepared = prepare(base + suffix, "planted", overrides=overrides)
    model = prepared.new_model().train()
    if suffix:  # an open gate, or the graph would not matter
        torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    rows = prepared.train.dataset.inter_feat
    negatives = torch.randint(1, 60, (len(rows),), generator=torch.Generator().manual_seed(1))
    windows = _windows(prepared)
    batch = windows.batch(windows.users)
    order = {
        (int(u), int(p)): i for i, (u, p) in enumerate(zip(rows["user_id"], rows[PREFIX_LENGTH], strict=True))
    }
    place = [order[int(u), int(p)] for u, p in zip(batch.user, batch.prefix_length, strict=True)]
    rows.interaction["neg_item_id"] = negatives
    expanded = model.calculate_loss(rows)
    parallel = prefix_loss(model, batch, negatives=negatives[place])
    assert sorted(place) == list(range(len(rows)))
    assert float(parallel.detach()) == pytest.approx(float(expanded.detach()), abs=1e-5)
    gradients = []
    for loss in (expanded, parallel):
        model.zero_grad()
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_every_target_of_a_long_history_is_trained_once_an_epoch(
    long_histories: PlantedData, overlap: float
) -> None:
    prepared = prepare("SASRec", "planted", overrides=long_histories.overrides("SASRec"))
    windows = _windows(prepared, batch_size=50, overlap=overlap)
    for epoch in range(3):
        visited = []
        for batch in windows.batches(torch.Generator().manual_seed(epoch)):
            visited += list(zip(batch.user.tolist(), batch.prefix_length.tolist(), strict=True))
            data = prepared.dataset
            for window, state, target, prefix in zip(
                batch.window, batch.state_index, batch.target, batch.prefix_length, strict=True
            ):
                row, position = divmod(int(state), batch.item_seq.shape[1])
                assert row == int(window)
                user = int(np.searchsorted(data.history_user, int(batch.user[batch.window == window][0])))
                items = data.items_of(user)
                assert items[int(prefix)] == int(target)
                seen = batch.item_seq[row, : position + 1].tolist()
                assert seen == items[int(prefix) - len(seen) : int(prefix)].tolist()
                assert len(seen) >= min(int(prefix), int(20 * overlap))
        rows = prepared.train.dataset.inter_feat
        expected = sorted(zip(rows["user_id"].tolist(), rows[PREFIX_LENGTH].tolist(), strict=True))
        assert sorted(visited) == expected


def test_a_batch_holds_windows_of_like_length(planted: PlantedData) -> None:
    data = prepare("SASRec", "planted", overrides=planted.overrides("SASRec")).train.dataset
    longest = int(train_targets(data).min())
    lengths = 2 + np.arange(len(data.history_user)) % (longest - 1)
    windows = PrefixWindows(data, lengths, window=longest, overlap=0.5, batch_size=3 * longest)
    dealt = list(windows.batches(torch.Generator().manual_seed(7)))
    cells = sum(batch.item_seq.numel() for batch in dealt)
    targets = int((lengths - 1).sum())
    assert sum(len(batch) for batch in dealt) == targets
    assert targets / windows.batch(windows.users).item_seq.numel() < 0.65, "lengths must differ"
    assert targets / cells > 0.8


def test_a_canary_in_the_held_out_part_reaches_no_training_row(tmp_path: Path) -> None:
    """Law 1: neither the test target nor the validation target is an input or a target of training."""
    themes = plant(tmp_path / "themes").themes
    sequences = {
        user: (*items[:-2], "validation-canary", "test-canary") for user, items in themes.sequences.items()
    }
    data = plant(tmp_path / "canaries", sequences=sequences)
    prepared = prepare("SASRec", "planted", overrides=data.overrides("SASRec", graphs=False))
    windows = _windows(prepared)
    tokens = prepared.dataset.field2id_token["item_id"]
    batch = windows.batch(windows.users)
    rows = prepared.train.dataset.inter_feat
    trained_on = {
        str(tokens[int(item)]) for item in torch.cat([batch.item_seq.reshape(-1), batch.target]).unique()
    }
    expanded = torch.cat([rows["item_id_list"].reshape(-1), rows["item_id"]]).unique()
    assert not any("canary" in item for item in trained_on | {str(tokens[int(item)]) for item in expanded})
    assert not any("canary" in str(tokens[i]) for items in prepared.train_sequences() for i in items)
    histories = prepared.histories()
    assert all("test-canary" not in history.item_ids for history in histories)
    assert all("validation-canary" not in history.train_item_ids for history in histories)
    assert any("validation-canary" in history.item_ids for history in histories)


def test_the_prefix_length_is_absolute_where_recbole_cuts_the_window(long_histories: PlantedData) -> None:
    prepared = prepare("SASRec", "planted", overrides=long_histories.overrides("SASRec"))
    rows = prepared.test._dataset.inter_feat
    assert rows["item_length"].max() == 20
    assert set(rows[PREFIX_LENGTH].tolist()) == {69}


@pytest.mark.parametrize("base", BASES)
def test_later_items_of_a_window_change_no_earlier_state(planted: PlantedData, base: str) -> None:
    """What makes a model causal, on the base models the prefix path admits."""
    prepared = prepare(base, "planted", overrides=planted.overrides(base))
    model = prepared.new_model().eval()
    windows = _windows(prepared)
    batch = windows.batch(windows.users[:5])
    states = {}
    for name, changed in (("as is", batch.item_seq), ("changed", batch.item_seq.clone())):
        if name == "changed":
            changed[:, 6:] = (changed[:, 6:] % 59) + 1
        kept = torch.arange(5)[:, None] * changed.shape[1] + torch.arange(6)
        with every_position(model, kept.reshape(-1)), torch.no_grad():
            states[name] = model.forward(changed, batch.item_length)
    assert torch.equal(states["as is"], states["changed"])


def test_a_model_that_is_not_known_to_be_causal_is_refused_or_trained_row_by_row(
    planted: PlantedData,
) -> None:
    def trainer(name: str, path: str) -> PrefixTrainer:
        overrides = planted.overrides(name, graphs=False, training={"path": path})
        prepared = prepare(name, "planted", overrides=overrides)
        return PrefixTrainer(prepared.config, prepared.new_model())

    with pytest.raises(ModelError, match=r"STAMP is not known to be causal.*path: expanded"):
        trainer("STAMP", "prefix")
    assert trainer("STAMP", "auto").expanded
    assert not trainer("SASRec", "auto").expanded
    assert trainer("SASRec", "expanded").expanded


@pytest.mark.parametrize("path", ["auto", "prefix"])
def test_one_of_several_processes_trains_recboles_rows(
    planted: PlantedData, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole.trainer import trainer as host

    prepared = prepare("SASRec", "planted", overrides=planted.overrides("SASRec", training={"path": path}))
    model = prepared.new_model()
    prepared.config["single_spec"] = False
    monkeypatch.setattr(host, "DistributedDataParallel", lambda model, device_ids: model)
    if path == "auto":
        assert PrefixTrainer(prepared.config, model).expanded
    else:
        with pytest.raises(ModelError, match="several processes"):
            PrefixTrainer(prepared.config, model)


def test_a_class_of_ones_own_may_say_that_it_is_causal() -> None:
    class Mine:
        causal = True

    class Other:
        pass

    check_causal(Mine)
    with pytest.raises(ModelError, match="Other"):
        check_causal(Other)


@pytest.mark.parametrize("path", ["prefix", "expanded"])
def test_training_is_repeatable_for_a_seed(planted: PlantedData, path: str) -> None:
    losses = []
    for _ in range(2):
        overrides = planted.overrides("SASRec", training={"path": path})
        prepared = prepare("SASRecLLMRG", "planted", overrides={**overrides, "epochs": 2})
        losses.append([epoch.loss for epoch in fit(prepared, prepared.new_model()).curve])
    assert losses[0] == losses[1]


def test_importing_recbole_models_leaves_no_anomaly_detection_in_our_epochs(planted: PlantedData) -> None:
    seen = []
    prepared = prepare("SASRec", "planted", overrides={**planted.overrides("SASRec"), "epochs": 1})
    model = prepared.new_model()
    original = model.calculate_loss

    def watched(interaction: object) -> torch.Tensor:
        seen.append(torch.is_anomaly_enabled())
        return original(interaction)

    model.calculate_loss = watched
    fit(prepared, model)
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("suffix", ["", "LLMRG"])
@pytest.mark.parametrize("base", sorted(CAUSAL_MODELS))
def test_scores_without_most_of_the_padding_are_those_of_recboles_rows(
    long_histories: PlantedData, base: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(base + suffix, "planted", overrides=long_histories.overrides(base))
    model = prepared.new_model().eval()
    if suffix:
        torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    rows = prepared.train.dataset.inter_feat[:50]  # prefixes of 1, 2, 3 ... items, in a window of 20
    monkeypatch.setattr(ranking, "CHUNK", 8)
    widths = set()
    whole = model.full_sort_predict

    def seen(interaction: Any) -> torch.Tensor:
        widths.add(interaction[model.ITEM_SEQ].shape[1])
        return whole(interaction)

    with torch.no_grad():
        expected = whole(rows).view(len(rows), -1)
        monkeypatch.setattr(model, "full_sort_predict", seen)
        torch.testing.assert_close(ranking.scores_of_all(model, rows), expected, atol=1e-5, rtol=1e-4)
    assert min(widths) == 8
    assert max(widths) == 20
