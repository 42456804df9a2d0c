"""The shipped RecBole configs: every line says its type and meaning, every default is the real one."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmrg.recbole_adapter.base_models import ENHANCED_BASES
from llmrg.resources import resource_folder
from llmrg.settings import LlmrgSettings, Section

CONFIGS = resource_folder("recbole_configs")
OURS = ("CL4SRec", "DuoRec")
MODELS = tuple(name for name in ENHANCED_BASES if name not in OURS)
DATASETS = ("ml-100k", "ml-1m", "amazon-beauty", "sequential")
LINE = re.compile(r"^\s*[\w-]+:( .*)?\s# \([a-z]+( or [a-z]+)*\) \S")


def load(path: Path) -> dict[str, Any]:
    """Yaml as RecBole reads it: ``1e-12`` is a number."""
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {key: float(v) if re.fullmatch(r"\d+e-?\d+", str(v)) else v for key, v in values.items()}


def properties() -> Path:
    spec = importlib.util.find_spec("recbole")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "properties"


def leaves(values: dict[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        found.update(leaves(value, (*above, key)) if isinstance(value, dict) else {(*above, key): value})
    return found


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_line_of_a_config_says_its_type_and_its_meaning(path: Path) -> None:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert [line for line in lines if not LINE.match(line)] == []


def test_graph_yaml_states_every_setting_at_its_default() -> None:
    document = load(CONFIGS / "graph.yaml")
    assert list(document) == ["llmrg"]
    assert leaves(document["llmrg"]) == leaves(LlmrgSettings().model_dump(mode="json"))
    assert LlmrgSettings.parse(document["llmrg"]) == LlmrgSettings()


def test_graph_yaml_says_what_the_settings_say_of_themselves() -> None:
    text = (CONFIGS / "graph.yaml").read_text(encoding="utf-8")
    for name, field in LlmrgSettings.model_fields.items():
        default = field.default
        fields = type(default).model_fields if isinstance(default, Section) else {name: field}
        for key, setting in fields.items():
            said = f") {setting.description}\n" in text
            assert said, f"{key}: expected graph.yaml to say {setting.description!r}, as settings.py does"


@pytest.mark.parametrize("model", MODELS)
def test_model_configs_are_recboles_own_defaults_spelled_out(model: str) -> None:
    assert load(CONFIGS / f"{model}.yaml") == load(properties() / "model" / f"{model}.yaml")


@pytest.mark.parametrize("model", OURS)
def test_configs_of_our_own_models_are_sasrecs_and_the_contrastive_term(model: str) -> None:
    ours, theirs = load(CONFIGS / f"{model}.yaml"), load(properties() / "model" / "SASRec.yaml")
    assert {name: ours[name] for name in theirs} == theirs
    assert {"lmd", "tau", "sim"} <= set(ours) - set(theirs) <= {"lmd", "tau", "sim", "eta", "gamma", "beta"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_dataset_configs_name_only_settings_that_recbole_knows(dataset: str) -> None:
    known = {*load(properties() / "overall.yaml"), *load(properties() / "dataset" / "sample.yaml")}
    assert set(load(CONFIGS / f"{dataset}.yaml")) <= known


@pytest.mark.parametrize("dataset", DATASETS)
def test_dataset_configs_share_one_protocol(dataset: str) -> None:
    ours, first = load(CONFIGS / f"{dataset}.yaml"), load(CONFIGS / f"{DATASETS[0]}.yaml")
    own = {"user_inter_num_interval", "item_inter_num_interval"}
    assert {k: v for k, v in ours.items() if k not in own} == {k: v for k, v in first.items() if k not in own}
    assert ours["eval_args"]["mode"] == "full"
    assert ours["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert ours["train_neg_sample_args"] is None
