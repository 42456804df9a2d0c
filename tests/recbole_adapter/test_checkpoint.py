"""What a checkpoint says of graphs and data, and where it finds them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_data import PlantedData

from llmrg.data.synthetic import write_atomic_files
from llmrg.errors import DataError, FingerprintError
from llmrg.graph.arrays import load_arrays
from llmrg.recbole_adapter.checkpoint import load_checkpoint, load_model, save_checkpoint
from llmrg.recbole_adapter.training import prepare


def saved(planted: PlantedData, folder: Path, graphs: Path | None = None, **changes: Any) -> Path:
    overrides = {**planted.overrides("SASRec", graphs=False), **changes}
    overrides["llmrg"]["graphs"] = None if graphs is None else str(graphs)
    prepared = prepare("SASRec", "planted", overrides=overrides)
    return save_checkpoint(folder, prepared.new_model(), prepared.config, prepared.train.dataset)


def test_graphs_that_a_shared_configuration_names_are_nothing_to_a_base_model(
    planted: PlantedData, tmp_path: Path
) -> None:
    folder = saved(planted, tmp_path / "mine", tmp_path / "nowhere")
    document = json.loads((folder / "checkpoint.json").read_text())
    assert (document["graphs"], document["settings"]["llmrg"]["graphs"]) == (None, None)
    load_checkpoint(folder)
    document["settings"]["llmrg"]["graphs"] = str(tmp_path / "nowhere")  # as saved before
    (folder / "checkpoint.json").write_text(json.dumps(document))
    load_checkpoint(folder)
    assert load_model(folder).origin == ""


def test_the_origin_is_that_of_the_graphs_the_model_was_bound_to(
    planted: PlantedData, tmp_path: Path
) -> None:
    arrays = Path(shutil.copytree(planted.arrays, tmp_path / "arrays"))
    overrides = planted.overrides("SASRec", graphs=False, control="sequence")
    overrides["llmrg"]["graphs"] = str(arrays)
    prepared = prepare("SASRecLLMRG", "planted", overrides=overrides)
    model, bound = prepared.new_model(), load_arrays(arrays)
    manifest = json.loads((arrays / "manifest.json").read_text())
    manifest["facts"] |= {"origin": "b2:made again", "fingerprint": "b2:made again"}
    (arrays / "manifest.json").write_text(json.dumps(manifest))
    assert load_arrays(arrays).origin != bound.origin
    folder = save_checkpoint(tmp_path / "mine", model, prepared.config, prepared.train.dataset)
    document = json.loads((folder / "checkpoint.json").read_text())
    assert document["graphs"] == {"fingerprint": bound.fingerprint, "origin": bound.origin}
    with pytest.raises(FingerprintError, match="made again since"):
        load_checkpoint(folder)
    shutil.rmtree(arrays)
    again = save_checkpoint(tmp_path / "again", model, prepared.config, prepared.train.dataset)
    assert load_model(again).origin == bound.origin
    llmrg = {"graphs": str(planted.arrays), "training": {"path": "expanded"}}
    config, _, restored = load_checkpoint(again, overrides={"llmrg": llmrg, "epochs": 7})
    assert (config["epochs"], config["llmrg"]["training"]["path"]) == (7, "expanded")
    assert config["llmrg"]["control"] == "sequence"
    for name, value in model.state_dict().items():
        assert torch.equal(restored.state_dict()[name], value), name


def test_data_are_found_again_from_another_folder_and_after_they_moved(
    planted: PlantedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(planted.data_path, tmp_path / "here" / "data"))
    monkeypatch.delenv("LLMRG_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    folder = saved(planted, tmp_path / "mine", data_path="data")
    monkeypatch.chdir(tmp_path)
    load_checkpoint(folder)
    data.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="data_path"):
        load_checkpoint(folder)
    load_checkpoint(folder, overrides={"data_path": str(tmp_path / "moved")})
    monkeypatch.setenv("LLMRG_DATA", str(tmp_path / "moved"))
    load_checkpoint(folder)


def test_data_of_other_users_are_refused(planted: PlantedData, tmp_path: Path) -> None:
    folder = saved(planted, tmp_path / "mine")
    renamed = {f"x{user}": items for user, items in planted.themes.sequences.items()}
    write_atomic_files(tmp_path / "data", "planted", renamed, catalog=planted.themes.catalog)
    with pytest.raises(FingerprintError, match="other users"):
        load_checkpoint(folder, overrides={"data_path": str(tmp_path / "data")})
