"""A model out of its checkpoint alone: the same scores as in full ranking, and where they come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_data import SMALL, PlantedData

from llmrg.errors import DataError, FingerprintError, ModelError, StoreError
from llmrg.graph.arrays import GraphArrays, load_arrays
from llmrg.graph.controls import keep_nodes
from llmrg.graph.growth import graph_of_one
from llmrg.recbole_adapter.base_models import ENHANCED_BASES
from llmrg.recbole_adapter.checkpoint import load_checkpoint, load_model, save_checkpoint
from llmrg.recbole_adapter.scoring import Scorer
from llmrg.recbole_adapter.training import prepare


def opened(model: Any) -> Any:
    """A model whose graph branch says something, as if it had been trained."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        readouts = (model.reasoning_readout, model.divergent_readout)
        biases = [each.bias for each in readouts if hasattr(each, "bias")]
        for parameter in (*model.fusion.parameters(), *biases):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model.eval()


def saved(planted: PlantedData, folder: Path, base: str = "SASRec", **llmrg: Any) -> tuple[Any, Any, Path]:
    overrides = planted.overrides(base, **llmrg)
    prepared = prepare(f"{base}LLMRG", "planted", overrides=overrides)
    model = opened(prepared.new_model())
    return prepared, model, save_checkpoint(folder / base, model, prepared.config, prepared.train.dataset)


@pytest.fixture(scope="module")
def checkpoint(planted: PlantedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(planted, tmp_path_factory.mktemp("kept"))[2]


@pytest.fixture
def scorer(checkpoint: Path) -> Scorer:
    return Scorer(load_model(checkpoint))


def one(planted: PlantedData, user: str) -> GraphArrays:
    arrays = load_arrays(planted.arrays)
    return graph_of_one(arrays, int(arrays.rows_of([user])[0]))


@pytest.mark.parametrize("base", ENHANCED_BASES)
def test_a_known_user_gets_the_scores_of_full_ranking(
    planted: PlantedData, tmp_path: Path, base: str
) -> None:
    prepared, model, folder = saved(planted, tmp_path, base)
    rows = prepared.test._dataset.inter_feat
    with torch.no_grad():
        ranked = model.full_sort_predict(rows.to(model.device)).view(len(rows), -1).numpy()
    scorer = Scorer(load_model(folder))
    for row in (0, 7):
        user = str(prepared.dataset.field2id_token["user_id"][int(rows["user_id"][row])])
        history = planted.themes.sequences[user][:-1]
        found = scorer.scores(user, history, one(planted, user))
        np.testing.assert_allclose(found[1:], ranked[row, 1:], rtol=2e-4, atol=2e-5)
        assert not np.allclose(found[1:], scorer.scores(user, history)[1:], atol=1e-4)


def test_nothing_of_the_data_set_is_needed(planted: PlantedData, checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    document = json.loads((copy / "checkpoint.json").read_text())
    document["settings"]["data_path"] = str(tmp_path / "nowhere")
    document["settings"]["llmrg"]["graphs"] = str(tmp_path / "nowhere either")
    (copy / "checkpoint.json").write_text(json.dumps(document))
    there, gone = Scorer(load_model(checkpoint)), Scorer(load_model(copy))
    assert np.array_equal(there.scores(None, ["i1", "i2"]), gone.scores(None, ["i1", "i2"]))
    assert gone.vocabulary.titles[gone.vocabulary.item_numbers["i1"]] == planted.themes.catalog["i1"].title


def test_a_user_the_model_never_saw_is_an_average_user(planted: PlantedData, tmp_path: Path) -> None:
    _, model, folder = saved(planted, tmp_path, "HGN")
    scorer = Scorer(load_model(folder))
    mean = model.user_embedding.weight[1:].mean(0)
    assert torch.allclose(scorer.model.user_embedding.weight[0], mean)
    assert np.array_equal(scorer.scores(None, ["i1", "i2"]), scorer.scores("nobody", ["i1", "i2"]))
    assert not np.array_equal(scorer.scores(None, ["i1", "i2"]), scorer.scores("u1", ["i1", "i2"]))


def test_a_long_history_counts_with_its_newest_items(scorer: Scorer) -> None:
    items = [f"i{k % 50}" for k in range(45)]
    assert np.array_equal(scorer.scores(None, items), scorer.scores(None, items[-scorer.longest :]))


def test_unknown_items_and_empty_histories_are_one_error(scorer: Scorer) -> None:
    with pytest.raises(DataError, match="empty"):
        scorer.scores(None, [])
    with pytest.raises(DataError, match=r"2 of the items: 'i1x', 'zz' .*did you mean 'i1'"):
        scorer.scores(None, ["i1x", "i1", "zz", "zz"])


def test_the_support_of_nodes_is_what_the_score_loses_without_them(
    planted: PlantedData, scorer: Scorer
) -> None:
    rng = np.random.default_rng(1)
    checked = 0
    for user in ("u1", "u2", "u3", "u4"):
        arrays, history = one(planted, user), planted.themes.sequences[user][:-1]
        for item in ("i3", history[-1]):
            found = scorer.attribution(user, history, arrays, item)
            number = scorer.vocabulary.item_numbers[item]
            full = scorer.scores(user, history, arrays)[number]
            assert found.score == pytest.approx(float(full), abs=1e-5)
            for view in (found.divergent, ~found.divergent):
                assert found.weight[view].sum() == pytest.approx(1.0, abs=1e-4) or not view.any()
            lone = np.ones(len(found.weight), dtype=bool)
            lone[arrays.edge_source] = False  # whose message nobody gets, so that only the read-out notices
            for _ in range(3):
                nodes = lone & (rng.random(len(lone)) < 0.5)
                without = scorer.scores(user, history, keep_nodes(arrays, ~nodes))[number]
                # the loss of a state is linear in what is read, up to rounding
                assert found.support(nodes) == pytest.approx(float(full - without), abs=2e-4)
                checked += bool(nodes.any() and abs(full - without) > 1e-3)
    assert checked > 3


def test_the_support_of_nodes_that_are_summed_is_their_part_of_the_sum(
    planted: PlantedData, tmp_path: Path
) -> None:
    """SR-GNN's read-out: what one node loses nobody inherits; the node that asks is another matter."""
    scorer = Scorer(load_model(saved(planted, tmp_path, encoder={"readout": "last_node"})[2]))
    checked = 0
    for user in ("u1", "u2", "u3", "u4"):
        arrays, history = one(planted, user), planted.themes.sequences[user][:-1]
        found = scorer.attribution(user, history, arrays, "i3")
        number = scorer.vocabulary.item_numbers["i3"]
        nodes = np.asarray(arrays.node_position) < len(history) - 3  # those that ask are newer
        nodes[arrays.edge_source] = False
        without = scorer.scores(user, history, keep_nodes(arrays, ~nodes))[number]
        lost = float(scorer.scores(user, history, arrays)[number] - without)
        assert found.support(nodes) == pytest.approx(lost, abs=2e-4)
        checked += abs(lost) > 1e-3
    assert checked > 2


class _Guarded(torch.autograd.Function):
    """What cuDNN does with a recurrent layer out of training: forward goes, backward is refused."""

    @staticmethod
    def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(_: Any, *gradients: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cudnn RNN backward can only be called in training mode")


def test_attribution_goes_no_further_back_than_what_was_read(planted: PlantedData, tmp_path: Path) -> None:
    scorer = Scorer(load_model(saved(planted, tmp_path, "GRU4Rec")[2]))
    arrays, history = one(planted, "u1"), planted.themes.sequences["u1"][:-1]
    plain = scorer.attribution("u1", history, arrays, "i3")
    guarded: list[bool] = []

    def guard(_: Any, __: Any, given: tuple[torch.Tensor, torch.Tensor]) -> Any:
        guarded.append(given[0].requires_grad)
        return (_Guarded.apply(given[0]), given[1])

    scorer.model.gru_layers.register_forward_hook(guard)
    found = scorer.attribution("u1", history, arrays, "i3")
    assert guarded == [True]
    assert np.abs(found.pull).sum() > 0
    assert np.array_equal(found.pull, plain.pull)
    assert np.array_equal(found.drawn, plain.drawn)


def test_attribution_leaves_the_model_as_it_was(planted: PlantedData, scorer: Scorer) -> None:
    arrays, history = one(planted, "u1"), planted.themes.sequences["u1"][:-1]
    before = scorer.scores("u1", history, arrays)
    scorer.attribution("u1", history, arrays, "i3")
    assert np.array_equal(before, scorer.scores("u1", history, arrays))
    assert all(parameter.grad is None for parameter in scorer.model.parameters())


def test_controls_that_mix_users_up_are_not_for_recommending(planted: PlantedData, tmp_path: Path) -> None:
    _, _, folder = saved(planted, tmp_path, control="shuffled")
    with pytest.raises(ModelError, match="shuffled"):
        Scorer(load_model(folder))


def test_graphs_that_were_made_again_and_parts_of_another_checkpoint_are_refused(
    planted: PlantedData, checkpoint: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    document = json.loads((copy / "checkpoint.json").read_text())
    document["graphs"]["origin"] = "b2:others"
    (copy / "checkpoint.json").write_text(json.dumps(document))
    with pytest.raises(FingerprintError, match="train again"):
        load_checkpoint(copy)
    words = json.loads((copy / "vocabulary.json").read_text())
    words["users"] = words["users"][:-1]
    (copy / "vocabulary.json").write_text(json.dumps(words))
    with pytest.raises(StoreError, match="another checkpoint"):
        load_model(copy)
    (copy / "vocabulary.json").unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        load_model(copy)


def test_every_small_model_is_covered() -> None:
    assert set(ENHANCED_BASES) == set(SMALL)
