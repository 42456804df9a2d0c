"""The verbs that train: what they print, what they leave behind, and that they agree with each other."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NAME, QUICK, USERS, Command, told_in_one_line

from llmrg.evaluation.metrics import METRICS
from llmrg.evaluation.report import read_report
from llmrg.graph.arrays import load_arrays
from llmrg.recbole_adapter import training

SMALL = (
    *("--set", "hidden_size=16", "--set", "inner_size=16", "--set", "n_layers=1", "--set", "n_heads=1"),
    *("--set", "MAX_ITEM_LIST_LENGTH=12"),
    *("--epochs", "2", *QUICK),
)


def test_compare_makes_graphs_trains_every_arm_and_says_where_the_report_lies(
    llmrg: Command, room: Path
) -> None:
    line = ("compare", "SASRec", NAME, *SMALL, "--arms", "base,enhanced,empty", "--processes", "1")
    shown = llmrg(*line, "--out", "runs/one", "--json")
    assert shown.code == 0, shown.err
    document = shown.document
    assert len(shown.out.splitlines()) == 1
    assert set(document["metrics"][NAME]["SASRec"]) == {"base", "enhanced", "empty"}
    assert document["metrics"][NAME]["SASRec"]["base"] == document["metrics"][NAME]["SASRec"]["empty"]
    assert document["generation"][NAME]["done"] == USERS
    assert "3 runs" in shown.err
    assert f"SASRec/enhanced on {NAME}, seed 2020: 2 of 2" in shown.err
    assert {path.name for path in (room / "runs" / "one").iterdir()} == {
        *("config.json", "report.html", "report.json", "report.md", "ranks.npz", "figures")
    }
    config = json.loads((room / "runs" / "one" / "config.json").read_text())
    assert (config["overrides"]["epochs"], config["seeds"]) == (2, [2020])
    report = read_report(room / "runs" / "one")
    assert report.environment.command.startswith(f"llmrg compare SASRec {NAME} ")
    assert report.costs

    again = llmrg("compare", "SASRec", NAME, *SMALL, "--arms", "enhanced,neighbours", "--processes", "1")
    assert again.code == 0, again.err
    assert (room / "llmrg-data" / NAME / "arrays-neighbours").is_dir()
    assert "reused" in again.err
    last = again.out.splitlines()[-1]
    assert last.startswith("report: runs/")
    html = Path(last.removeprefix("report: "))
    assert html.is_file()
    first_cost, second_cost = report.costs, read_report(html.parent).costs
    assert second_cost == first_cost  # what the graphs cost is told also where they were reused


def test_compare_needs_no_graphs_for_the_base_alone(llmrg: Command, room: Path) -> None:
    shown = llmrg("compare", "SASRec", NAME, *SMALL, "--arms", "base", "--processes", "1", "--json")
    assert shown.code == 0, shown.err
    assert shown.document["generation"] == {}
    assert not (room / "llmrg-data").exists()


def test_train_prints_the_curve_and_the_figures_and_saves_what_it_trained(
    llmrg: Command, graphs: Path, room: Path
) -> None:
    shown = llmrg("train", "SASRecLLMRG", NAME, *SMALL, "--seed", "7", "--out", "kept", "--json")
    assert shown.code == 0, shown.err
    document = shown.document
    assert "reused" in shown.err
    assert (document["model"], document["dataset"], document["seed"]) == ("SASRecLLMRG", NAME, 7)
    assert (document["epochs"], len(document["curve"]), document["users"]) == (2, 2, USERS)
    assert 1 <= document["best_epoch"] <= 2
    assert set(document["metrics"]) == set(METRICS)
    assert document["seconds_per_epoch"] > 0
    assert document["parameters"] > 0
    assert (room / "kept" / "weights.safetensors").is_file()


def test_train_and_compare_agree_on_the_same_run(llmrg: Command) -> None:
    trained = llmrg("train", "GRU4Rec", NAME, "--epochs", "1", *QUICK, "--max-users", "12", "--json")
    assert trained.code == 0, trained.err
    assert trained.document["users"] == 12
    line = ("compare", "GRU4Rec", NAME, "--epochs", "1", *QUICK, "--max-users", "12", "--arms", "base")
    compared = llmrg(*line, "--processes", "1", "--json")
    assert compared.code == 0, compared.err
    found = compared.document["metrics"][NAME]["GRU4Rec"]["base"]
    assert found == pytest.approx(trained.document["metrics"])


def test_train_shows_people_a_curve_and_a_table(llmrg: Command) -> None:
    shown = llmrg("train", "SASRec", NAME, *SMALL)
    assert shown.code == 0, shown.err
    assert "chosen" in shown.out
    assert "NDCG" in shown.out
    assert f"test, {USERS} users" in shown.out


def test_train_reads_the_graphs_the_settings_name(llmrg: Command, graphs: Path) -> None:
    where = f"llmrg.graphs={graphs / 'arrays'}"
    shown = llmrg("train", "SASRecLLMRG", NAME, *SMALL, "--set", where, "--json")
    assert shown.code == 0, shown.err
    assert "reasoning about" not in shown.err


@pytest.mark.parametrize("verb", ["train", "compare"])
def test_an_out_that_cannot_be_written_is_refused_before_anything_is_made(
    llmrg: Command, room: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (room / "file").write_text("in the way")
    line = (verb, "SASRec" if verb == "compare" else "SASRecLLMRG", NAME, *SMALL)
    told_in_one_line(llmrg(*line, "--out", "file"), "--out: expected a folder")
    told_in_one_line(llmrg(*line, "--out", "file/inner/kept"), "--out: cannot write into file/inner/kept")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    told_in_one_line(llmrg(*line, "--out", "kept"), "--out: cannot write into kept: Read-only file system")
    assert not (room / "llmrg-data").exists()


def test_a_base_model_is_saved_whatever_graphs_a_shared_config_names(llmrg: Command, room: Path) -> None:
    (room / "mine.yaml").write_text("llmrg: {graphs: nowhere/arrays}")
    shown = llmrg("train", "SASRec", NAME, *SMALL, "--config", "mine.yaml", "--out", "kept", "--json")
    assert shown.code == 0, shown.err
    assert json.loads((room / "kept" / "checkpoint.json").read_text())["graphs"] is None


def test_what_was_trained_is_saved_before_it_is_tested(
    llmrg: Command, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(training, "test_ranks", full)
    shown = llmrg("train", "SASRec", NAME, *SMALL, "--out", "kept")
    assert shown.code == 1
    assert (room / "kept" / "checkpoint.json").is_file()


def test_the_control_unverified_is_trained_with_graphs_that_hold_what_was_rejected(
    llmrg: Command, graphs: Path, room: Path
) -> None:
    control = ("--set", "llmrg.control=unverified")
    line = ("train", "SASRecLLMRG", NAME, *SMALL, *control)
    shown = llmrg(*line, "--out", "kept", "--json")
    assert shown.code == 0, shown.err
    document = json.loads((room / "kept" / "checkpoint.json").read_text())
    beside = room / graphs.parent / NAME / "arrays-unverified"
    assert document["settings"]["llmrg"]["graphs"] == str(beside)
    assert len(load_arrays(beside).node_kind) > len(load_arrays(graphs / "arrays").node_kind)
    told_in_one_line(
        llmrg(*line, "--set", f"llmrg.graphs={graphs / 'arrays'}"), "control=unverified", "arrays-unverified"
    )
    assert llmrg(*line, "--set", f"llmrg.graphs={beside}").code == 0
