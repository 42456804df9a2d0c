"""RecBole's rough edges: config keys, argv, look-ups, side effects, checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_data import PlantedData, plant

from llmrg.data.synthetic import write_atomic_files
from llmrg.errors import DataError, FingerprintError, LlmrgError, ModelError, SettingsError, StoreError
from llmrg.job.reading import DATA_KEYS, SEPARATORS, read_job
from llmrg.recbole_adapter.checkpoint import load_checkpoint, save_checkpoint
from llmrg.recbole_adapter.configuration import _known_keys, build_config
from llmrg.recbole_adapter.registration import register
from llmrg.recbole_adapter.trainer import PrefixTrainer
from llmrg.recbole_adapter.training import fit, prepare


@pytest.mark.parametrize(
    ("overrides", "nearest"),
    [
        ({"epoch": 3}, "epochs"),
        ({"hidden_dropout": 0.1}, "hidden_dropout_prob"),
        ({"llmrg": {"encoder": {"widht": 8}}}, "width"),
        ({"llmrg": {"encodr": {}}}, "encoder"),
        ({"llmrg": {"training": {"path": "sideways"}}}, None),
        ({"llmrg": ["encoder"]}, None),
    ],
)
def test_a_setting_nobody_consumes_is_refused_with_the_nearest_name(
    overrides: Any, nearest: str | None
) -> None:
    with pytest.raises(SettingsError) as caught:
        build_config("SASRec", "ml-100k", overrides=overrides)
    assert caught.value.nearest == nearest
    assert "\n" not in str(caught.value)


def test_a_key_of_another_model_is_refused() -> None:
    with pytest.raises(SettingsError, match="num_layers"):
        build_config("SASRec", "ml-100k", overrides={"num_layers": 2})
    build_config("GRU4Rec", "ml-100k", overrides={"num_layers": 2})


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "BERT4Rec", "FDSA", "CORE", "BPR", "FM", "KGAT"])
def test_no_key_of_recboles_is_taken_for_a_misspelt_one_of_the_graph_job(
    planted: PlantedData, model: str
) -> None:
    others = _known_keys(model, "ml-100k") - {*DATA_KEYS, *SEPARATORS, "llmrg"}
    assert len(others) > 50
    read_job("planted", overrides={**dict.fromkeys(others), "data_path": str(planted.data_path)})


def test_what_recbole_itself_refuses_is_one_settings_error() -> None:
    with pytest.raises(SettingsError, match="RecBole refuses"):
        build_config("SASRec", "ml-100k", overrides={"metrics": ["Clicks"]})


def test_an_unknown_model_and_an_absent_data_set_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="SASRek"):
        build_config("SASRek", "ml-100k")
    with pytest.raises(DataError, match="data_path"):
        build_config("SASRec", "nowhere", overrides={"data_path": str(tmp_path)})
    # not that of RecBole's wheel: this folder was named
    with pytest.raises(DataError, match=r"ml-100k\.inter"):
        build_config("SASRec", "ml-100k", overrides={"data_path": str(tmp_path)})


def test_the_enhanced_name_keeps_its_base_defaults_and_the_programs_arguments_stay_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["prog", "--learning_rate=9", "--nonsense"])
    config = build_config("SASRecLLMRG", "ml-100k", overrides={"hidden_size": 32})
    assert (config["n_layers"], config["hidden_size"], config["learning_rate"]) == (2, 32, 0.001)
    assert sys.argv == ["prog", "--learning_rate=9", "--nonsense"]


def test_files_and_overrides_merge_section_by_section(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rate: 1e-2\nllmrg:\n  encoder: {width: 8, horizon: 7}\n")
    config = build_config(
        "SASRecLLMRG", "ml-100k", config_files=[path], overrides={"llmrg": {"encoder": {"width": 16}}}
    )
    assert config["learning_rate"] == 0.01
    assert config["llmrg"]["encoder"]["width"] == 16
    assert config["llmrg"]["encoder"]["horizon"] == 7


def test_a_shipped_config_goes_by_its_name_unless_a_file_of_that_name_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert build_config("SASRec", "ml-100k", config_files=["paper"])["llmrg"]["encoder"]["network"] == "srgnn"
    (tmp_path / "paper").write_text("llmrg: {encoder: {network: gatv2}}")
    assert build_config("SASRec", "ml-100k", config_files=["paper"])["llmrg"]["encoder"]["network"] == "gatv2"
    with pytest.raises(SettingsError, match=r"config file papers cannot be read"):
        build_config("SASRec", "ml-100k", config_files=["papers"])


@pytest.mark.parametrize("text", ["a: [", "- a", "\x00"])
def test_a_broken_config_file_is_one_error_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        build_config("SASRec", "ml-100k", config_files=[path])


def test_registered_names_resolve_through_recboles_own_look_ups(planted: PlantedData) -> None:
    names = register()
    assert register() == names
    from recbole.data import create_dataset
    from recbole.utils import ModelType, get_model, get_trainer

    for name in names:
        assert get_model(name).__name__ == name
        assert get_trainer(ModelType.SEQUENTIAL, name).__name__ == "PrefixTrainer"
        config = build_config(name, "planted", overrides=planted.overrides(name))
        assert type(create_dataset(config)).__name__ == "PrefixDataset"


def test_training_leaves_no_files_behind(planted: PlantedData, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    prepared = prepare("SASRecLLMRG", "planted", overrides={**planted.overrides("SASRec"), "epochs": 1})
    fit(prepared, prepared.new_model())
    assert list(tmp_path.iterdir()) == []


def _broken(tmp_path: Path, lines: list[str]) -> dict[str, Any]:
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "planted.inter").write_text("\n".join(lines))
    return {"data_path": str(tmp_path), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}


@pytest.mark.parametrize(
    "lines",
    [
        ["user_id:token\titem_id:token", "a\tb"],
        ["user_id:token\titem_id:token\ttimestamp:float", "a\tb\tsoon"],
        ["user_id\titem_id\ttimestamp", "a\tb\t1"],
        [],
    ],
)
def test_a_broken_atomic_file_is_one_of_our_errors(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(LlmrgError):
        prepare("SASRec", "planted", overrides=_broken(tmp_path, lines))


def test_histories_of_one_and_two_items_train_and_rank_without_harm(
    planted: PlantedData, tmp_path: Path
) -> None:
    sequences = dict(planted.themes.sequences)
    sequences["u0"], sequences["u1"], sequences["u2"] = ("i1",), ("i1", "i2"), ("i1", "i2", "i3")
    write_atomic_files(tmp_path, "planted", sequences)
    overrides = {**planted.overrides("SASRec", graphs=False), "data_path": str(tmp_path), "epochs": 1}
    prepared = prepare("SASRec", "planted", overrides=overrides)
    fit(prepared, prepared.new_model())
    known = {history.user_id: (len(history), history.train_length) for history in prepared.histories()}
    assert [known[user] for user in ("u0", "u1", "u2", "u3")] == [(1, 1), (2, 2), (2, 2), (11, 10)]


@pytest.fixture
def trained(planted: PlantedData) -> tuple[Any, Any]:
    prepared = prepare("SASRecLLMRG", "planted", overrides={**planted.overrides("SASRec"), "epochs": 1})
    return prepared, fit(prepared, prepared.new_model()).model.eval()


def test_a_checkpoint_restores_the_model_without_pickle(trained: tuple[Any, Any], tmp_path: Path) -> None:
    prepared, model = trained
    folder = save_checkpoint(tmp_path / "mine", model, prepared.config, prepared.dataset)
    names = ["checkpoint.json", "vocabulary.json", "weights.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    _, loaders, restored = load_checkpoint(folder)
    rows = loaders[2]._dataset.inter_feat
    with torch.no_grad():
        assert torch.equal(restored.eval().full_sort_predict(rows), model.full_sort_predict(rows))


def test_a_checkpoint_finds_its_graphs_from_another_working_directory(
    planted: PlantedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted.arrays.parent)
    overrides = planted.overrides("SASRec", graphs=False)
    overrides["llmrg"]["graphs"] = planted.arrays.name
    prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
    folder = save_checkpoint(tmp_path / "mine", prepared.new_model(), prepared.config, prepared.dataset)
    monkeypatch.chdir(tmp_path)
    _, _, restored = load_checkpoint(folder)
    assert (restored.graphs.row_of_user >= 0).sum() == len(planted.themes.sequences)


def test_a_damaged_or_foreign_checkpoint_is_refused(trained: tuple[Any, Any], tmp_path: Path) -> None:
    prepared, model = trained
    folder = save_checkpoint(tmp_path / "mine", model, prepared.config, prepared.dataset)
    document = json.loads((folder / "checkpoint.json").read_text())
    with pytest.raises(StoreError, match="cannot be read"):
        load_checkpoint(tmp_path / "nowhere")
    (folder / "checkpoint.json").write_text(json.dumps({**document, "format": 99}))
    with pytest.raises(StoreError, match="format"):
        load_checkpoint(folder)
    for name in ("model", "dataset", "items", "users", "graphs", "settings", "files"):
        for edited in ({key: value for key, value in document.items() if key != name}, {**document, name: 7}):
            (folder / "checkpoint.json").write_text(json.dumps(edited))
            with pytest.raises(StoreError, match=f"no sound '{name}'"):
                load_checkpoint(folder)
    (folder / "checkpoint.json").write_text(json.dumps({**document, "settings": {}}))
    with pytest.raises(StoreError, match="no settings of llmrg"):
        load_checkpoint(folder)
    other = plant(tmp_path / "other", num_items=50, seed=9)
    settings = {**document["settings"], "data_path": str(other.data_path)}
    (folder / "checkpoint.json").write_text(json.dumps({**document, "settings": settings}))
    with pytest.raises(FingerprintError, match="other items"):
        load_checkpoint(folder)
    settings = {**document["settings"], "hidden_size": 8}
    (folder / "checkpoint.json").write_text(json.dumps({**document, "settings": settings}))
    with pytest.raises(StoreError, match="does not fit"):
        load_checkpoint(folder)
    (folder / "checkpoint.json").write_text(json.dumps(document))
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    with pytest.raises(StoreError, match=r"weights\.safetensors is damaged, or belongs to another"):
        load_checkpoint(folder)
    weights.write_bytes(whole[:-3])
    with pytest.raises(StoreError, match=r"cannot be read: weights\.safetensors"):
        load_checkpoint(folder)
    weights.write_bytes(b"not weights")
    with pytest.raises(StoreError, match="cannot be read"):
        load_checkpoint(folder)


POPULAR = {"distribution": "popularity", "sample_num": 1}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            {"metrics": ["NDCG", "GiniIndex"], "valid_metric": "GiniIndex@10"},
            "more is better, found GiniIndex@10",
        ),
        ({"valid_metric": "NDCG@7"}, "expected one of metrics at one of topk .*ndcg@10.*NDCG@7"),
        ({"topk": []}, "topk: expected whole numbers"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"MAX_ITEM_LIST_LENGTH": 0}, "MAX_ITEM_LIST_LENGTH: expected 1 or more"),
        ({"eval_args": "full"}, "eval_args: expected names and values"),
        ({"n_heads": 0}, "RecBole cannot build SASRec"),
        ({"hidden_size": 63}, "RecBole cannot build SASRec"),
        ({"topk": [10, 100_000]}, "too few for topk"),
        ({"user_inter_num_interval": "[0,2]"}, "feat is empty"),
        ({"loss_type": "BPR", "train_neg_sample_args": POPULAR}, "even negative"),
        ({"enable_amp": True}, "enable_amp: .*path: expanded"),
    ],
)
def test_settings_that_recbole_stumbles_over_are_one_error(
    planted: PlantedData, setting: dict[str, Any], words: str
) -> None:
    overrides = {**planted.overrides("SASRec", graphs=False), **setting}

    def train() -> None:
        prepared = prepare("SASRec", "planted", overrides=overrides)
        fit(prepared, prepared.new_model())

    with pytest.raises((DataError, ModelError, SettingsError), match=words):
        train()


def test_epochs_between_validations_are_counted(planted: PlantedData) -> None:
    overrides = {**planted.overrides("SASRec", graphs=False), "epochs": 4, "eval_step": 3}
    prepared = prepare("SASRec", "planted", overrides=overrides)
    trained = fit(prepared, prepared.new_model())
    assert (trained.epochs, len(trained.curve), trained.best_epoch) == (4, 1, 2)
    prepared = prepare("SASRec", "planted", overrides={**overrides, "eval_step": 0})
    trained = fit(prepared, prepared.new_model())
    assert (trained.epochs, trained.curve, trained.seconds_per_epoch) == (4, (), 0.0)


def test_an_ml_100k_of_ones_own_is_read_and_not_the_one_of_the_wheel(
    planted: PlantedData, tmp_path: Path
) -> None:
    source = Path(planted.overrides("SASRec", graphs=False)["data_path"]) / "planted"
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    for part in ("inter", "item"):
        (folder / f"ml-100k.{part}").write_bytes((source / f"planted.{part}").read_bytes())
    overrides = {**planted.overrides("SASRec", graphs=False), "data_path": str(tmp_path)}
    own = prepare(
        "SASRec",
        "ml-100k",
        overrides={**overrides, "user_inter_num_interval": None, "item_inter_num_interval": None},
    )
    other = prepare("SASRec", "planted", overrides=planted.overrides("SASRec", graphs=False))
    assert len(own.train.dataset) == len(other.train.dataset)
    assert own.dataset.item_num == other.dataset.item_num


@pytest.mark.parametrize("model", ["FPMC", "TransRec"])
def test_models_that_learn_from_negatives_are_given_some(planted: PlantedData, model: str) -> None:
    given = planted.overrides("SASRec", graphs=False)
    overrides = {name: given[name] for name in ("data_path", "load_col", "train_neg_sample_args", "llmrg")}
    prepared = prepare(model, "planted", overrides={**overrides, "epochs": 1, "embedding_size": 8})
    assert fit(prepared, prepared.new_model()).epochs == 1


@pytest.mark.parametrize("model", ["DIN", "DIEN"])
def test_models_that_learn_from_labels_are_refused_with_the_reason(model: str) -> None:
    with pytest.raises(ModelError, match=f"{model} is pointwise.*label.*negatives"):
        build_config(model, "ml-100k")


def test_half_precision_is_refused_for_enhanced_models_on_both_paths_before_anything_slow(
    planted: PlantedData,
) -> None:
    for path in ("prefix", "expanded"):
        overrides = planted.overrides("SASRec", training={"path": path})
        with pytest.raises(SettingsError, match=r"enable_amp: SASRecLLMRG .* leave enable_amp out"):
            build_config("SASRecLLMRG", "planted", overrides={**overrides, "enable_amp": True})
        prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
        prepared.config["enable_amp"] = True  # as RecBole's own Config may
        with pytest.raises(SettingsError, match=r"leave enable_amp out"):
            PrefixTrainer(prepared.config, prepared.new_model())
    overrides = planted.overrides("SASRec", graphs=False, training={"path": "expanded"})
    build_config("SASRec", "planted", overrides={**overrides, "enable_amp": True})


@pytest.mark.parametrize("model", ["BPR", "Pop", "LightGCN"])
def test_models_that_read_no_order_are_refused(model: str) -> None:
    with pytest.raises(ModelError, match="no sequential recommender"):
        build_config(model, "ml-100k")
