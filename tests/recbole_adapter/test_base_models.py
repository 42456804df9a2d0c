"""What is particular about single base models, and which are refused with what reason."""

from __future__ import annotations

import random
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_data import PlantedData
from torch import nn

import llmrg
from llmrg.errors import DataError, ModelError
from llmrg.recbole_adapter.base_models import ENHANCED_BASES, REFUSED, traits_of
from llmrg.recbole_adapter.configuration import build_config
from llmrg.recbole_adapter.enhanced import enhance
from llmrg.recbole_adapter.training import fit, prepare


def _opened(data: PlantedData, name: str, **changes: Any) -> tuple[Any, Any]:
    prepared = prepare(name, "planted", overrides={**data.overrides(name), **changes})
    model = prepared.new_model().eval()
    nn.init.normal_(model.fusion.gate, generator=torch.Generator().manual_seed(0))
    return prepared, model


def _spoil(model: Any, chosen: Any) -> None:
    for view in (model.graphs.reasoning, model.graphs.divergent):
        hit = chosen(np.asarray(view.arrays.node_position))
        view.item[hit] = view.item[hit] % 59 + 1


def _masked_loss(prepared: Any, model: Any, position: int, users: slice = slice(None)) -> torch.Tensor:
    """BERT4Rec's loss over the newest training row of each user, with one mask at ``position``."""
    rows = prepared.train.dataset.inter_feat
    rows = rows[torch.nonzero(rows["prefix_length"] == 9).squeeze(-1)[users]]
    one = torch.full((len(rows), 1), position)
    rows[model.MASK_INDEX] = torch.cat([torch.zeros_like(one), one], 1)
    true = rows["item_id_list"][:, position : position + 1]
    rows[model.POS_ITEMS] = torch.cat([torch.zeros_like(one), true], 1)
    rows[model.NEG_ITEMS] = torch.ones_like(rows[model.POS_ITEMS])
    rows[model.MASK_ITEM_SEQ] = rows["item_id_list"].scatter(1, one, model.mask_token)
    with torch.no_grad():
        return model.calculate_loss(rows)


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
@pytest.mark.parametrize("position", [2, 5])
def test_a_masked_position_reads_the_graph_as_of_the_item_it_must_predict(
    planted: PlantedData, position: int, loss_type: str
) -> None:
    """Law 1: BERT4Rec itself looks behind the mask, the graph must not."""
    prepared, model = _opened(planted, "BERT4RecLLMRG", loss_type=loss_type)
    before = _masked_loss(prepared, model, position)
    _spoil(model, lambda at: at >= position)
    assert torch.equal(_masked_loss(prepared, model, position), before)
    _spoil(model, lambda at: at == position - 1)
    assert not torch.equal(_masked_loss(prepared, model, position), before)


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_each_masked_position_gets_its_own_graph_and_pointer(planted: PlantedData, loss_type: str) -> None:
    prepared, model = _opened(planted, "BERT4RecLLMRG", loss_type=loss_type)
    model.pointer.beta.data.fill_(3.0)
    alone = [_masked_loss(prepared, model, 5, slice(user, user + 1)) for user in range(8)]
    together = _masked_loss(prepared, model, 5, slice(8))
    assert torch.stack(alone).std() > 0
    torch.testing.assert_close(together, torch.stack(alone).mean())
    model.pointer.beta.data.fill_(0.0)
    without = [_masked_loss(prepared, model, 5, slice(user, user + 1)) for user in range(8)]
    moved = [abs(one - other) > 1e-3 for one, other in zip(alone, without, strict=True)]
    assert all(moved) if loss_type == "CE" else any(moved)  # a pair moves only where one of it is imagined


def test_graph_nodes_share_the_table_that_hgn_scores_with(planted: PlantedData) -> None:
    prepared, model = _opened(planted, "HGNLLMRG")
    rows = prepared.test._dataset.inter_feat[0:1]
    own = set(rows["item_id_list"].flatten().tolist())
    others = [item for item in range(1, prepared.dataset.item_num) if item not in own]
    with torch.no_grad():
        before = model.full_sort_predict(rows)
        model.item_embedding.weight[others] += 1.0  # read of the user's own items alone
        assert torch.equal(model.full_sort_predict(rows), before)
        state = model.item_embedding_for_prediction.weight
        imagined = set(model.graphs.divergent.item.tolist()) - own
        state[sorted(imagined)] += 1.0
        assert not torch.allclose(model.full_sort_predict(rows)[:, sorted(own)], before[:, sorted(own)])


def test_the_pointer_of_a_masked_position_raises_the_imagined_items_alone(planted: PlantedData) -> None:
    prepared, model = _opened(planted, "BERT4RecLLMRG")
    rows = prepared.test._dataset.inter_feat
    with torch.no_grad():
        with_pointer = model.full_sort_predict(rows)
        model.pointer.beta.fill_(0.0)
        difference = with_pointer - model.full_sort_predict(rows)
    imagined = set(model.graphs.divergent.item.tolist())
    assert (difference >= -1e-6).all()
    raised = torch.nonzero(difference > 1e-4)[:, 1].tolist()
    assert raised
    assert set(raised) <= imagined
    assert "output_bias" not in vars(model)


def test_the_states_of_core_keep_their_length(planted: PlantedData) -> None:
    prepared, model = _opened(planted, "CORELLMRG")
    rows = prepared.test._dataset.inter_feat
    with model._reading(rows, model._rows_of(rows)), torch.no_grad():
        fused = model.forward(rows["item_id_list"])
        plain = model.forward(rows["item_id_list"])  # a second pass over the same rows is not fused
    assert not torch.allclose(fused, plain)
    torch.testing.assert_close(fused.norm(dim=-1), torch.ones(len(fused)))


@pytest.mark.parametrize("contrast", ["un", "su", "us", "us_x"])
def test_the_contrastive_part_of_fearec_trains_with_and_without_graphs(
    planted: PlantedData, contrast: str
) -> None:
    losses = []
    for name, llmrg_settings in (("FEARec", {}), ("FEARecLLMRG", {"control": "empty"}), ("FEARecLLMRG", {})):
        overrides = planted.overrides(
            name, graphs=name != "FEARec", training={"max_users": 12}, **llmrg_settings
        )
        more = {"contrast": contrast, "tau": 1.0, "sim": "dot", "epochs": 1}
        prepared = prepare(name, "planted", overrides={**overrides, **more})
        random.seed(0)
        losses.append(fit(prepared, prepared.new_model()).curve[0].loss)
    assert losses[0] == losses[1]
    assert np.isfinite(losses).all()
    assert losses[2] != losses[0]


def test_item_features_are_loaded_because_a_model_selects_them() -> None:
    columns = build_config("FDSA", "ml-100k")["load_col"]
    assert columns["item"] == ["item_id", "class"]
    assert "item" not in build_config("SASRec", "ml-100k")["load_col"]


def test_a_feature_that_the_items_do_not_have_is_named(planted: PlantedData) -> None:
    overrides = {**planted.overrides("FDSA"), "selected_features": ["class"]}
    with pytest.raises(DataError, match=r"\['class'\].*it has \['title'\].*selected_features"):
        build_config("FDSA", "planted", overrides=overrides)


@pytest.mark.parametrize("name", ["BPR", "LightGCN"])
def test_general_recommenders_are_refused_with_the_reason(name: str) -> None:
    from recbole.utils import get_model

    with pytest.raises(ModelError, match="unordered pairs"):
        enhance(get_model(name))


def test_every_refused_model_is_one_of_recboles_and_has_no_enhanced_form() -> None:
    from recbole.utils import get_model

    assert not set(REFUSED) & set(ENHANCED_BASES)
    for name, reason in REFUSED.items():
        if version("recbole") == "1.2.0" and name.endswith("CPR"):  # which came with 1.2.1
            continue
        with pytest.raises(ModelError) as caught:
            enhance(get_model(name))
        assert reason in str(caught.value)


def test_a_loss_that_the_pointer_cannot_join_is_refused_unless_there_is_no_pointer(
    planted: PlantedData,
) -> None:
    overrides = {**planted.overrides("SINE"), "loss_type": "NLL"}
    with pytest.raises(ModelError, match="NLLLoss; set loss_type: CE"):
        prepare("SINELLMRG", "planted", overrides=overrides).new_model()
    overrides["llmrg"] = {**overrides["llmrg"], "encoder": {"pointer": False}}
    prepare("SINELLMRG", "planted", overrides=overrides).new_model()


def _own_model() -> type[Any]:
    from recbole.model.abstract_recommender import SequentialRecommender

    class MeanOfItems(SequentialRecommender):  # type: ignore[misc]
        """The mean of a sequence's item vectors."""

        def __init__(self, config: Any, dataset: Any) -> None:
            super().__init__(config, dataset)
            self.item_embedding = nn.Embedding(self.n_items, config["mean_width"], padding_idx=0)
            self.loss_fct = nn.CrossEntropyLoss()

        def forward(self, item_seq: torch.Tensor) -> torch.Tensor:
            return self.item_embedding(item_seq).sum(1) / (item_seq > 0).sum(1, keepdim=True)

        def calculate_loss(self, interaction: Any) -> torch.Tensor:
            scores = self.full_sort_predict_of(interaction)
            return self.loss_fct(scores, interaction[self.POS_ITEM_ID])

        def full_sort_predict_of(self, interaction: Any) -> torch.Tensor:
            return self.forward(interaction[self.ITEM_SEQ]) @ self.item_embedding.weight.T

        def full_sort_predict(self, interaction: Any) -> torch.Tensor:
            return self.full_sort_predict_of(interaction)

        def predict(self, interaction: Any) -> torch.Tensor:
            return self.full_sort_predict_of(interaction).gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    return MeanOfItems


def test_a_model_of_ones_own_is_registered_with_its_defaults_and_trained(
    planted: PlantedData, tmp_path: Path
) -> None:
    own = _own_model()
    assert not traits_of(own).causal
    assert llmrg.register(own, defaults={"mean_width": 8, "loss_type": "CE"})[-1] == "MeanOfItemsLLMRG"
    overrides = {**planted.overrides("SASRec"), "epochs": 1}
    for name in ("hidden_size", "inner_size", "n_layers"):
        del overrides[name]
    for width in (8, 12):
        changed = {} if width == 8 else {"mean_width": width}
        prepared = prepare("MeanOfItemsLLMRG", "planted", overrides={**overrides, **changed})
        model = prepared.new_model()
        assert model.item_embedding.embedding_dim == width
        assert np.isfinite(fit(prepared, model).curve[0].loss)


def test_a_model_of_ones_own_may_not_take_a_name_that_recbole_knows() -> None:
    other = _own_model()
    other.__name__ = "SASRec"
    with pytest.raises(ModelError, match="rename"):
        llmrg.register(other)


def test_a_forward_that_gives_something_else_than_one_state_a_row_is_refused(planted: PlantedData) -> None:
    class Wide(_own_model()):  # type: ignore[misc]
        def forward(self, item_seq: torch.Tensor) -> torch.Tensor:
            return super().forward(item_seq).unsqueeze(1)

    prepared = prepare("SASRecLLMRG", "planted", overrides=planted.overrides("SASRec"))
    prepared.config["mean_width"] = 8
    model = enhance(Wide)(prepared.config, prepared.train.dataset)
    with pytest.raises(ModelError, match="expected its forward to give one state a row"):
        model.full_sort_predict(prepared.test._dataset.inter_feat)
