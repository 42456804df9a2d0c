"""Law 3 and the contract of every enhanced model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted_data import BASES, PATHS, PlantedData, plant

from llmrg.encoder import graph_encoder
from llmrg.encoder.graph_batch import GraphView, Rows
from llmrg.errors import FingerprintError, ModelError, SettingsError
from llmrg.graph.arrays import load_arrays
from llmrg.graph.controls import apply_control, keep_nodes
from llmrg.recbole_adapter.enhanced import enhance
from llmrg.recbole_adapter.training import Prepared, fit, prepare
from llmrg.recbole_adapter.training import test_ranks as ranks_of

EPOCHS = 3


def _trained(
    data: PlantedData, name: str, path: str, **llmrg: Any
) -> tuple[Any, list[float], dict[str, float]]:
    overrides = data.overrides(name, graphs=name.endswith("LLMRG"), training={"path": path}, **llmrg)
    overrides["epochs"] = EPOCHS
    prepared = prepare(name, "planted", overrides=overrides)
    model = prepared.new_model()
    trained = fit(prepared, model)
    users, ranks = ranks_of(prepared, model)
    return model, [epoch.loss for epoch in trained.curve], dict(zip(users, ranks, strict=True))


def _open(model: Any) -> Any:
    """An enhanced model whose graph matters: gate open, pointer on."""
    torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    return model


def _enhanced(data: PlantedData, base: str, **llmrg: Any) -> tuple[Prepared, Any]:
    prepared = prepare(base + "LLMRG", "planted", overrides=data.overrides(base, **llmrg))
    return prepared, _open(prepared.new_model()).eval()


def _scores(model: Any, rows: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.full_sort_predict(rows)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("base", BASES)
def test_with_empty_graphs_the_enhanced_model_is_its_base_bit_for_bit(
    planted: PlantedData, base: str, path: str
) -> None:
    plain, plain_losses, plain_ranks = _trained(planted, base, path)
    model, losses, ranks = _trained(planted, base + "LLMRG", path, control="empty")
    assert losses == plain_losses
    assert ranks == plain_ranks
    weights = dict(model.named_parameters())
    for name, value in plain.named_parameters():
        assert torch.equal(weights[name], value), name


@pytest.mark.parametrize("fusion", ["gated", "concat"])
@pytest.mark.parametrize("base", BASES)
def test_a_shut_gate_and_pointer_leave_the_base_scores_bit_for_bit(
    planted: PlantedData, base: str, fusion: str
) -> None:
    plain = prepare(base, "planted", overrides=planted.overrides(base, graphs=False))
    prepared = prepare(
        base + "LLMRG", "planted", overrides=planted.overrides(base, encoder={"fusion": fusion})
    )
    model = prepared.new_model().eval()
    torch.nn.init.zeros_(model.pointer.beta)
    rows = prepared.test._dataset.inter_feat
    base_scores = _scores(plain.new_model().eval(), rows)
    if fusion == "gated":
        assert torch.equal(_scores(model, rows), base_scores)
    else:  # the identity of a product, not of a sum: equal up to its rounding
        torch.testing.assert_close(_scores(model, rows), base_scores, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_an_open_gate_changes_the_scores(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.test._dataset.inter_feat
    before = _scores(model, rows)
    model.graphs = None
    assert not torch.equal(before, _scores(model, rows))


@pytest.mark.parametrize("base", BASES)
def test_a_user_without_a_graph_is_served_by_the_base(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.test._dataset.inter_feat
    model.graphs.row_of_user[int(rows["user_id"][0])] = -1
    scores = _scores(model, rows)
    model.graphs = None
    plain = _scores(model, rows)
    assert torch.equal(scores[0], plain[0])
    assert not torch.equal(scores[1], plain[1])


@pytest.mark.parametrize("base", BASES)
def test_batch_companions_change_nothing(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.test._dataset.inter_feat
    together = _scores(model, rows)
    for start in range(0, 12, 3):
        torch.testing.assert_close(_scores(model, rows[start : start + 3]), together[start : start + 3])


@pytest.mark.parametrize("base", BASES)
def test_nodes_at_or_after_the_target_change_no_score(planted: PlantedData, base: str) -> None:
    """Law 1, exactly: whatever lies at a later position might as well be anything else."""
    prepared, model = _enhanced(planted, base)
    rows = prepared.train.dataset.inter_feat
    early = rows[torch.nonzero(rows["prefix_length"] == 5).squeeze(-1)]
    before = _scores(model, early)
    for view in (model.graphs.reasoning, model.graphs.divergent):
        later = np.asarray(view.arrays.node_position) >= 5
        assert later.any()
        view.item[later] = 7
        view.arrays = type(view.arrays)(
            **{**vars(view.arrays), "node_text": np.where(later, 0, view.arrays.node_text)}
        )
    assert torch.equal(_scores(model, early), before)


@pytest.mark.parametrize("base", BASES)
def test_a_graph_without_its_later_nodes_gives_the_same_scores(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.train.dataset.inter_feat
    early = rows[torch.nonzero(rows["prefix_length"] == 5).squeeze(-1)]
    whole = _scores(model, early)
    arrays = load_arrays(planted.arrays)
    model.attach_graphs(keep_nodes(arrays, np.asarray(arrays.node_position) < 5), prepared.train.dataset)
    assert torch.equal(_scores(model, early), whole)


@pytest.mark.parametrize("base", BASES)
def test_predict_agrees_with_full_sort(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.test._dataset.inter_feat
    with torch.no_grad():
        single = model.predict(rows)
    full = _scores(model, rows).gather(1, rows["item_id"].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(single, full)


@pytest.mark.parametrize("base", BASES)
def test_the_gradient_reaches_every_part_of_the_graph_branch(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    model.train()
    model.calculate_loss(prepared.train.dataset.inter_feat).backward()
    ours = [
        (name, value)
        for name, value in model.named_parameters()
        if name.split(".")[0] not in dict(enhance_free(base).named_children())
    ]
    assert len(ours) > 15
    for name, value in ours:
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
    for part in (
        "node_features.text.weight",
        "divergent_encoder.layer.weight",
        "fusion.gate",
        "pointer.beta",
    ):
        assert dict(ours)[part].grad.abs().sum() > 0, part


def enhance_free(base: str) -> torch.nn.Module:
    """A module with the base model's own children only."""
    names = {
        "SASRec": ("item_embedding", "position_embedding", "trm_encoder", "LayerNorm", "dropout", "loss_fct")
    }
    names["GRU4Rec"] = ("item_embedding", "emb_dropout", "gru_layers", "dense", "loss_fct")
    holder = torch.nn.Module()
    for name in names[base]:
        holder.add_module(name, torch.nn.Identity())
    return holder


@pytest.mark.parametrize("base", BASES)
def test_a_state_dict_round_trip_restores_the_scores(planted: PlantedData, base: str) -> None:
    prepared, model = _enhanced(planted, base)
    rows = prepared.test._dataset.inter_feat
    other = prepared.new_model().eval()
    assert not torch.equal(_scores(other, rows), _scores(model, rows))
    other.load_state_dict(model.state_dict())
    assert torch.equal(_scores(other, rows), _scores(model, rows))


def test_enhance_gives_one_class_and_refuses_what_it_cannot_enhance() -> None:
    from recbole.model.general_recommender import BPR
    from recbole.model.sequential_recommender import SASRec

    assert enhance(SASRec) is enhance(SASRec)
    assert enhance(SASRec).__name__ == "SASRecLLMRG"
    for wrong in (BPR, enhance(SASRec), "SASRec"):
        with pytest.raises(ModelError):
            enhance(wrong)


def test_graphs_of_another_data_set_are_refused(planted: PlantedData, tmp_path: Any) -> None:
    other = plant(tmp_path, num_users=40, seed=4)
    overrides = planted.overrides("SASRec", graphs=False)
    overrides["llmrg"]["graphs"] = str(other.arrays)
    prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
    with pytest.raises(FingerprintError, match="40 of 40 users differ"):
        prepared.new_model()


def test_graphs_with_text_vectors_of_another_width_are_refused_by_both_widths(planted: PlantedData) -> None:
    overrides = planted.overrides("SASRec", text={"components": 12, "encoder": "hashing"})
    prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
    with pytest.raises(FingerprintError, match=r"have 16 components, and llmrg\.text\.components is 12"):
        prepared.new_model()


@pytest.mark.parametrize("network", ["gated", "srgnn"])
def test_many_texts_are_projected_for_the_nodes_of_a_batch_alone_with_the_same_loss_and_gradient(
    planted: PlantedData, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, model = _enhanced(planted, "SASRec", encoder={"network": network})
    rows = prepared.train.dataset.inter_feat[:6]
    asked: list[int] = []
    model.node_features.text.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    found = []
    for many in (1 << 16, 0):
        monkeypatch.setattr(graph_encoder, "MANY_TEXTS", many)
        model.zero_grad()
        loss = model.calculate_loss(rows)
        loss.backward()
        found.append({name: each.grad.clone() for name, each in model.named_parameters()})
        found[-1]["loss"] = loss.detach()
    whole, *views = asked
    assert whole == len(model.graphs.texts)
    assert len(views) == 2
    assert max(views) < whole
    assert found[0]["node_features.text.weight"].abs().sum() > 0
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_a_batch_that_masks_nothing_reads_nothing(planted: PlantedData) -> None:
    prepared, model = _enhanced(planted, "BERT4Rec")
    rows = prepared.train.transform(prepared.train.dataset, prepared.train.dataset.inter_feat[:4])
    rows[model.MASK_INDEX] = torch.zeros_like(rows[model.MASK_INDEX])
    with torch.no_grad():
        loss = model.calculate_loss(rows)
        model.graphs = None
        plain = model.calculate_loss(rows)
    torch.testing.assert_close(loss, plain, equal_nan=True)  # BERT4Rec's own: a mean over no position


def test_graphs_whose_users_are_unknown_are_refused(planted: PlantedData) -> None:
    prepared = prepare("SASRecLLMRG", "planted", overrides=planted.overrides("SASRec", graphs=False))
    model = prepared.new_model()
    arrays = load_arrays(planted.arrays)
    strangers = type(arrays)(**{**vars(arrays), "user_ids": np.char.add("x", arrays.user_ids)})
    with pytest.raises(FingerprintError, match="none of its users"):
        model.attach_graphs(strangers, prepared.train.dataset)


def test_graphs_of_more_users_than_the_data_set_has_are_fine(planted: PlantedData) -> None:
    overrides = planted.overrides("SASRec", training={"max_users": 20})
    model = prepare("SASRecLLMRG", "planted", overrides=overrides).new_model()
    assert (model.graphs.row_of_user >= 0).sum() == 20


def test_recboles_own_dataset_is_refused_with_the_remedy(planted: PlantedData) -> None:
    from recbole.data.dataset import SequentialDataset

    prepared = prepare("SASRecLLMRG", "planted", overrides=planted.overrides("SASRec"))
    with pytest.raises(ModelError, match="register"):
        prepared.config.model_class(prepared.config, SequentialDataset(prepared.config))


@pytest.mark.parametrize("control", ["empty", "shuffled", "sequence", "text"])
def test_every_control_can_be_read(planted: PlantedData, control: str) -> None:
    _, model = _enhanced(planted, "SASRec", control=control)
    expected = apply_control(load_arrays(planted.arrays), control, seed=2020)
    assert len(model.graphs.reasoning) <= len(expected.node_kind)


def test_a_split_that_trains_on_later_rows_is_refused(planted: PlantedData) -> None:
    def settings(order: str) -> dict[str, Any]:
        split = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": order, "group_by": "user", "mode": "full"}
        return {**planted.overrides("SASRec"), "eval_args": split}

    for name in ("SASRec", "SASRecLLMRG"):
        for order in ("RO", "TO"):
            with pytest.raises(SettingsError, match=r"leave-one-out.*order TO and group_by none"):
                prepare(name, "planted", overrides=settings(order))


@pytest.mark.parametrize("base", BASES)
def test_rows_before_the_oldest_node_cost_nothing_and_change_nothing(
    planted: PlantedData, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, model = _enhanced(planted, base)
    arrays = load_arrays(planted.arrays)
    young = keep_nodes(
        arrays, np.asarray(arrays.node_position) >= 4
    )  # as where only newer items are reasoned about
    model.attach_graphs(young, prepared.train.dataset)
    rows = next(iter(prepared.train))[:256]
    asked: list[int] = []
    inner = GraphView.batch

    def watched(view: GraphView, graphs: Any, of: Rows, graph: Any, **bounds: Any) -> Any:
        asked.append(len(of))
        return inner(view, graphs, of, graph, **bounds)

    monkeypatch.setattr(GraphView, "batch", watched)
    found = _scores(model, rows)
    late = int((rows["prefix_length"] > 4).sum())
    assert 0 < late < len(rows)
    assert 0 < asked[1] <= asked[0] == late
    monkeypatch.setattr(GraphView, "begun", lambda view, graphs, of: np.ones(len(of), dtype=bool))
    torch.testing.assert_close(found, _scores(model, rows), atol=1e-5, rtol=1e-5)
    assert asked[2:] == [len(rows)] * 2
