"""What every enhanced model must do, whatever its base: one suite over all of them.

A base model joins by its name in ``ENHANCED_BASES``, with small settings in ``planted_data.SMALL``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from enhanced_toy import (
    EPOCHS,
    Toy,
    companions_change_nothing,
    later_nodes_change_nothing,
    loss_of,
    permute_nodes,
    rows_of,
    same_rows,
    scores_of,
    train_rows,
)
from planted_data import SMALL

from llmrg.graph.arrays import load_arrays
from llmrg.recbole_adapter.base_models import CAUSAL_MODELS, ENHANCED_BASES
from llmrg.recbole_adapter.prefix_states import every_position
from llmrg.recbole_adapter.training import fit
from llmrg.recbole_adapter.training import test_ranks as ranks_of

every_base = pytest.mark.parametrize("base", ENHANCED_BASES)
BOTH = [(base, "expanded") for base in ENHANCED_BASES] + [
    (base, "prefix") for base in ENHANCED_BASES if base in CAUSAL_MODELS
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize(("base", "path"), BOTH)
def test_with_empty_graphs_two_epochs_are_the_bases_bit_for_bit(toy: Toy, base: str, path: str) -> None:
    seen = []
    for name, control in ((base, "none"), (base + "LLMRG", "empty")):
        prepared = toy.prepare(name, llmrg={"training": {"path": path}, "control": control})
        model = prepared.new_model()
        trained = fit(prepared, model)
        seen.append(([epoch.loss for epoch in trained.curve], ranks_of(prepared, model)[1], model))
    assert len(seen[0][0]) == EPOCHS
    assert seen[0][0] == seen[1][0]
    np.testing.assert_array_equal(seen[0][1], seen[1][1])
    enhanced = dict(seen[1][2].named_parameters())
    for name, value in seen[0][2].named_parameters():
        assert torch.equal(enhanced[name], value), name


@pytest.mark.parametrize(("base", "path"), BOTH)
def test_it_trains_with_its_graphs(toy: Toy, base: str, path: str) -> None:
    prepared = toy.prepare(base + "LLMRG", llmrg={"training": {"path": path}})
    model = prepared.new_model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    losses = [epoch.loss for epoch in fit(prepared, model).curve]
    assert len(losses) == EPOCHS
    assert np.isfinite(losses).all()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {"fusion.gate", "pointer.beta", "divergent_readout.query.weight"} <= moved


@every_base
def test_a_shut_gate_and_pointer_leave_loss_and_scores_bit_for_bit(toy: Toy, base: str) -> None:
    plain = toy.prepared(base)
    prepared = toy.prepared(base + "LLMRG")
    base_model, model = plain.new_model(), prepared.new_model()
    torch.nn.init.zeros_(model.pointer.beta)
    rows = train_rows(prepared)
    for train in (True, False):
        assert torch.equal(loss_of(model.train(train), rows), loss_of(base_model.train(train), rows))
    held_out = rows_of(prepared.test)
    assert torch.equal(scores_of(model, held_out), scores_of(base_model, held_out))
    with torch.no_grad():
        assert torch.equal(model.predict(held_out), base_model.predict(held_out))


@every_base
def test_an_open_gate_and_the_pointer_each_change_loss_and_scores(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    rows, held_out = train_rows(prepared), rows_of(prepared.test)
    gate = model.fusion.gate.detach().clone()
    figures = []
    for gate_on, pointer_on in ((False, False), (True, False), (False, True)):
        with torch.no_grad():
            model.fusion.gate.copy_(gate * gate_on)
            model.pointer.beta.fill_(float(pointer_on))
        figures.append((loss_of(model, rows), scores_of(model, held_out)))
    for loss, scores in figures[1:]:
        assert not torch.equal(loss, figures[0][0])
        assert not torch.equal(scores, figures[0][1])


@every_base
def test_an_unknown_user_is_served_by_the_base(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    rows = rows_of(prepared.test)
    model.graphs.row_of_user[int(rows["user_id"][0])] = -1
    scores = scores_of(model, rows)
    model.graphs = None
    plain = scores_of(model, rows)
    assert torch.equal(scores[0], plain[0])
    assert not torch.equal(scores[1], plain[1])


@every_base
def test_permuted_nodes_change_nothing(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    rows, held_out = train_rows(prepared), rows_of(prepared.test)
    before = loss_of(model, rows), scores_of(model, held_out)
    arrays = load_arrays(toy.data.arrays)
    permuted = permute_nodes(arrays, np.random.default_rng(1))
    assert not np.array_equal(permuted.node_kind, arrays.node_kind)
    model.attach_graphs(permuted, prepared.train.dataset)
    torch.testing.assert_close(loss_of(model, rows), before[0])
    torch.testing.assert_close(scores_of(model, held_out), before[1])


@every_base
def test_batch_companions_change_nothing(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    companions_change_nothing(model, rows_of(prepared.test))


@every_base
def test_nodes_at_or_after_the_target_change_neither_loss_nor_scores(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    later_nodes_change_nothing(model, train_rows(prepared), read_from=2)


@every_base
def test_predict_agrees_with_full_sort(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    rows = rows_of(prepared.test)
    if base == "CORE":  # RecBole's predict leaves the candidate's vector as long as it is
        with torch.no_grad():
            model.item_embedding.weight[1:] = torch.nn.functional.normalize(model.item_embedding.weight[1:])
    if base == "SHAN":  # RecBole's full_sort_predict reads the sequence that is padded at the right
        rows[model.INVERSE_ITEM_SEQ] = rows[model.ITEM_SEQ]
    with torch.no_grad():
        single = model.predict(rows)
    full = scores_of(model, rows).gather(1, rows["item_id"].unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(single, full)


@every_base
def test_a_state_dict_round_trip_restores_the_scores(toy: Toy, base: str) -> None:
    prepared, model = toy.opened(base)
    rows = rows_of(prepared.test)
    other = prepared.new_model().eval()
    assert not torch.equal(scores_of(other, rows), scores_of(model, rows))
    other.load_state_dict(model.state_dict())
    assert torch.equal(scores_of(other, rows), scores_of(model, rows))


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
@every_base
def test_the_gradient_reaches_every_part_of_the_graph_branch(toy: Toy, base: str, loss_type: str) -> None:
    if loss_type == "BPR" and base == "CORE":
        pytest.skip("CORE trains on cross-entropy alone")
    sampling = {"distribution": "uniform", "sample_num": 1} if loss_type == "BPR" else None
    prepared = toy.prepare(base + "LLMRG", loss_type=loss_type, train_neg_sample_args=sampling)
    model = prepared.new_model()
    torch.nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    rows = train_rows(prepared)
    rows["neg_item_id"] = torch.randint(1, 30, (len(rows),), generator=torch.Generator().manual_seed(1))
    model.train().calculate_loss(rows).backward()
    parts = ("node_features", "reasoning_", "divergent_", "fusion", "pointer")
    ours = [(name, value.grad) for name, value in model.named_parameters() if name.startswith(parts)]
    assert len(ours) > 15
    for name, gradient in ours:
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
    for part in (
        "node_features.text.weight",
        "reasoning_encoder.layer.weight",
        "divergent_encoder.layer.weight",
        "fusion.gate",
        "pointer.beta",
    ):
        assert dict(ours)[part].abs().sum() > 0, part


@every_base
def test_a_model_takes_the_prefix_path_exactly_where_its_states_allow_it(toy: Toy, base: str) -> None:
    """Numerically: what a long window gives at a position against what the prefix alone gives."""
    prepared = toy.prepared(base)
    model = prepared.new_model().eval()
    rows = rows_of(prepared.train)
    longest = same_rows(rows, 6)
    assert states_are_those_of_prefixes(model, longest) == (base in CAUSAL_MODELS)


def states_are_those_of_prefixes(model: Any, rows: Any) -> bool:
    """Whether the state at every position of ``rows`` is the one of its prefix on its own."""
    item_seq, width = rows[model.ITEM_SEQ], rows[model.ITEM_SEQ].shape[1]
    length = int(rows[model.ITEM_SEQ_LEN][0])
    for position in range(length):
        prefix = torch.where(torch.arange(width) <= position, item_seq, 0)
        index = torch.arange(len(item_seq)) * width + position
        try:
            with torch.no_grad():
                alone = model.forward(prefix, torch.full((len(prefix),), position + 1))
                with every_position(model, index):
                    inside = model.forward(item_seq, rows[model.ITEM_SEQ_LEN])
        except (
            TypeError,
            RuntimeError,
            IndexError,
        ):  # its forward takes other things, or mixes positions and rows
            return False
        if alone.shape != inside.shape or not torch.allclose(
            alone, inside, atol=1e-4 * float(alone.abs().max())
        ):
            return False
    return True


def test_every_base_has_small_settings() -> None:
    assert set(SMALL) == set(ENHANCED_BASES)
