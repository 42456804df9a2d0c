"""Every arm changes what it says, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_data import NAME, REJECTED, SMALL, Study

from llmrg.errors import ModelError, SettingsError
from llmrg.evaluation.sentences import CREDITS
from llmrg.experiment import ARMS, compare
from llmrg.experiment.arms import folder_of, merged
from llmrg.experiment.comparison import Design, Source
from llmrg.experiment.runs import Run
from llmrg.graph.arrays import load_arrays
from llmrg.graph.schema import NodeKind
from llmrg.recbole_adapter.training import num_parameters, prepare
from llmrg.recbole_adapter.widening import widen

IMAGINED = list(NodeKind).index(NodeKind.IMAGINED_ITEM)


def run_of(study: Study, arm: str, model: str = "SASRec") -> Run:
    overrides = study.overrides()
    if model != "SASRec":
        overrides = {name: value for name, value in overrides.items() if name not in SMALL}
    design = Design((model,), (Source(NAME, study.arrays),), (arm,), overrides=overrides)
    (run,) = design.runs()
    return run


def model_of(run: Run) -> Any:
    return prepare(run.recbole_model, run.dataset, overrides=run.settings).new_model()


def imagined(model: Any) -> int:
    return int((np.asarray(model.graphs.divergent.arrays.node_kind) == IMAGINED).sum())


def test_arms_are_the_base_or_the_enhanced_model_but_for_what_they_name(study: Study) -> None:
    base, enhanced = run_of(study, "base").settings, run_of(study, "enhanced").settings
    ours = enhanced.pop("llmrg")
    assert base.pop("llmrg") == {"text": ours["text"]}
    assert base == enhanced
    changed = {
        name: {
            key: value
            for key, value in run_of(study, name).settings["llmrg"].items()
            if ours.get(key) != value
        }
        for name in ARMS
        if ARMS[name].control is not None
    }
    beside = {"neighbours": "arrays-neighbours", "unverified": "arrays-unverified"}
    folder = {name: {"graphs": str(study.arrays.parent / place)} for name, place in beside.items()}
    assert changed == {
        "enhanced": {},
        "empty": {"control": "empty"},
        "sequence": {"control": "sequence"},
        "text": {"control": "text"},
        "shuffled": {"control": "shuffled"},
        "rewired": {"control": "rewired"},
        "unverified": {"control": "unverified", **folder["unverified"]},
        "no-divergent": {"control": "no-divergent"},
        "neighbours": folder["neighbours"],
        "no-pointer": {"encoder": {"pointer": False}},
    }


@pytest.mark.parametrize("arm", ["base", "wider"])
def test_arms_without_our_wrapper_read_no_graphs(study: Study, arm: str) -> None:
    run = run_of(study, arm)
    assert (run.recbole_model, run.graphs) == ("SASRec", None)
    assert "graphs" not in run.settings["llmrg"]


def test_the_unverified_arm_reads_what_was_rejected_and_no_verdict(study: Study) -> None:
    kept = load_arrays(study.arrays)
    assert kept.node_score[kept.node_kind == IMAGINED].min() > REJECTED
    plain, unverified = model_of(run_of(study, "enhanced")), model_of(run_of(study, "unverified"))
    assert imagined(unverified) > imagined(plain) > 0
    for view in (unverified.graphs.reasoning, unverified.graphs.divergent):
        assert (np.asarray(view.arrays.node_score) == 1).all()


def test_the_arm_without_divergence_reads_no_imagined_item_and_every_reason(study: Study) -> None:
    plain, changed = model_of(run_of(study, "enhanced")), model_of(run_of(study, "no-divergent"))
    assert imagined(plain) > imagined(changed) == 0
    assert len(plain.graphs.reasoning) == len(changed.graphs.reasoning)


def test_the_arm_without_a_pointer_has_only_its_parameters_less(study: Study) -> None:
    plain, changed = model_of(run_of(study, "enhanced")), model_of(run_of(study, "no-pointer"))
    missing = {name.partition(".")[0] for name in {*plain.state_dict()} - {*changed.state_dict()}}
    assert missing == {"pointer"}
    assert {*changed.state_dict()} < {*plain.state_dict()}
    assert changed.graphs is not None


@pytest.mark.parametrize(
    ("model", "width"),
    [
        ("SASRec", "inner_size"),
        ("GRU4Rec", "hidden_size"),
        ("BERT4Rec", "inner_size"),
        ("STAMP", "embedding_size"),
    ],
)
def test_the_wider_arm_is_the_base_grown_to_the_size_of_the_enhanced_model(
    study: Study, model: str, width: str
) -> None:
    run = run_of(study, "wider", model)
    base = prepare(model, NAME, overrides=run.settings)
    wider = widen(base, model, NAME, overrides=run.settings)
    target = num_parameters(model_of(run_of(study, "enhanced", model)))
    found = num_parameters(wider.new_model())
    assert found >= target > num_parameters(base.new_model())
    before, after = base.config.final_config_dict, wider.config.final_config_dict
    assert {key for key in before if before[key] != after[key]} == {width}
    narrower = {**run.settings, width: after[width] - 1}
    assert num_parameters(prepare(model, NAME, overrides=narrower).new_model()) < target
    assert type(wider.new_model()) is type(base.new_model())


def test_the_wider_arm_of_a_search_is_as_large_as_the_enhanced_arm_that_won(study: Study) -> None:
    chosen = {"n_layers": 1, "llmrg": {"encoder": {"width": 64}}}
    winners = {(NAME, "SASRec", "base"): {"inner_size": 96}, (NAME, "SASRec", "enhanced"): chosen}
    design = Design(
        ("SASRec",), (Source(NAME, study.arrays),), ("wider", "enhanced"), overrides=study.overrides()
    )
    wider, enhanced = design.runs(winners)
    assert wider.overrides["inner_size"] == 96
    base = prepare("SASRec", NAME, overrides=wider.settings)
    grown = widen(base, "SASRec", NAME, overrides=wider.settings, size_of=wider.size_of)
    target = num_parameters(model_of(enhanced))
    assert target <= num_parameters(grown.new_model()) < target + 200
    assert design.runs()[0].size_of is None


def test_a_model_without_a_width_cannot_be_made_wider(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrg.recbole_adapter.widening.WIDTHS", ("n_layers_of_another_model",))
    base = prepare("SASRec", NAME, overrides=study.overrides())
    with pytest.raises(ModelError, match="leave the arm 'wider' out"):
        widen(base, "SASRec", NAME, overrides=study.overrides())


def test_every_control_says_what_a_gain_over_the_base_is_worth_without_it() -> None:
    assert set(CREDITS) == set(ARMS) - {"base", "enhanced", "empty"}


def test_settings_are_merged_by_section() -> None:
    given = {"epochs": 1, "llmrg": {"encoder": {"width": 8}, "graphs": "a"}}
    assert merged(given, {"encoder": {"pointer": False}, "graphs": "b"}) == {
        "epochs": 1,
        "llmrg": {"encoder": {"width": 8, "pointer": False}, "graphs": "b"},
    }
    assert given["llmrg"] == {"encoder": {"width": 8}, "graphs": "a"}


def test_an_arm_that_reads_graphs_is_refused_without_any(study: Study) -> None:
    assert folder_of("wider", Path("x")) is None
    with pytest.raises(SettingsError, match="'rewired' reads graphs"):
        compare(["SASRec"], NAME, None, arms=("base", "rewired"), overrides=study.overrides())
    with pytest.raises(SettingsError, match="did you mean 'rewired'"):
        compare(["SASRec"], NAME, study.arrays, arms=("rewird",), overrides=study.overrides())
