"""``llmrg compare`` beyond the first run: resuming, all arms, several data sets, a search, a split by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.cli.comparison_step import SPLITS, Choice
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.evaluation.report import read_report
from llmrg.experiment import ARMS

SMALL = (
    *("--set", "hidden_size=16", "--set", "inner_size=16", "--set", "n_layers=1", "--set", "n_heads=1"),
    *("--set", "MAX_ITEM_LIST_LENGTH=12", "--epochs", "1", *QUICK, "--processes", "1", "--threads", "1"),
)


def test_a_plan_comes_first_and_what_is_finished_is_not_trained_again(llmrg: Command, graphs: Path) -> None:
    line = ("compare", "SASRec", NAME, *SMALL, "--arms", "base,enhanced")
    first = llmrg(*line, "--json")
    assert first.code == 0, first.err
    plan = next(words for words in first.err.splitlines() if words.startswith("plan: "))
    assert "2 runs (1 model × 2 arms × 1 seed; SASRec on planted: base, enhanced)" in plan
    assert plan.endswith("at most 1 epoch each; first the graphs that are missing, by the embedded reasoner")
    assert "2 to train, 1 at a time with 1 thread each: about " in first.err
    assert first.err.index("plan: ") < first.err.index("reused") < first.err.index("SASRec/base on planted")
    again = llmrg(*line, "--json")
    assert "everything is trained already" in again.err
    assert again.err.count("finished earlier: test NDCG@10") == 2
    assert "loss" not in again.err
    assert again.document["metrics"] == first.document["metrics"]
    other = llmrg(*line, "--finished", "elsewhere", "--json")
    assert "finished earlier" not in other.err
    assert other.document["metrics"] == first.document["metrics"]


def test_all_arms_from_the_command_line(llmrg: Command, graphs: Path) -> None:
    shown = llmrg("compare", "SASRec", NAME, *SMALL, "--arms", "all", "--out", "report", "--json")
    assert shown.code == 0, shown.err
    trained = shown.document["metrics"][NAME]["SASRec"]
    assert set(trained) == set(ARMS)
    assert trained["empty"] == trained["base"]
    report = read_report(Path("report"))
    size = {cost.arm: cost.parameters for cost in report.training}
    assert size["wider"] >= size["enhanced"] > size["base"]
    assert set(report.environment.fingerprints) == {"graphs", "neighbours", "unverified"}
    assert {cost.dataset for cost in report.costs} == {NAME}
    assert report.groups
    # the planted times are places in an order: no row is made of them, and the report says why
    assert any("No row of time-decayed popularity" in note for note in report.environment.notes)


def test_two_data_sets_stand_in_one_report(llmrg: Command, graphs: Path, data_path: Path) -> None:
    planted = planted_themes(num_users=20, num_items=24, num_themes=4, length=8, signal=1.0, seed=9)
    write_atomic_files(data_path, "second", planted.sequences, catalog=planted.catalog)
    line = ("compare", "SASRec", f"{NAME},second", *SMALL, "--arms", "base,enhanced", "--out", "report")
    shown = llmrg(*line, "--json")
    assert shown.code == 0, shown.err
    assert set(shown.document["metrics"]) == set(shown.document["generation"]) == {NAME, "second"}
    assert "4 runs (1 model × 2 data sets × 2 arms × 1 seed" in shown.err
    report = read_report(Path("report"))
    assert {run.dataset for run in report.runs} == {NAME, "second"}
    assert "graphs of second" in report.environment.fingerprints
    told_in_one_line(llmrg(*line, "--folder", "one"), "--folder", "one data set")


def test_a_search_is_planned_logged_and_resumed(llmrg: Command, graphs: Path) -> None:
    line = ("compare", "SASRec", NAME, *SMALL, "--arms", "base,enhanced", "--trials", "2", "--out", "report")
    first = llmrg(*line, "--json")
    assert first.code == 0, first.err
    assert "after 2 trials each of base and enhanced" in first.err
    assert "6 to train" in first.err
    assert first.err.count("done: validation NDCG@10") == 4
    trials = read_report(Path("report")).trials
    assert [(trial.arm, trial.number) for trial in trials] == [
        *(("base", 0), ("base", 1), ("enhanced", 0), ("enhanced", 1))
    ]
    again = llmrg(*line, "--json")
    assert "everything is trained already" in again.err
    assert again.err.count("finished earlier: ") == 6
    # settings that a search has still to choose are found in no archive, whatever was trained without a search
    plain = [part for part in line if part not in ("--trials", "2")]
    assert llmrg(*plain, "--finished", "fresh", "--json").code == 0
    searching = llmrg(*line, "--finished", "fresh", "--json").err
    assert "6 to train" in searching
    assert "finished earlier, 6" not in searching
    assert read_report(Path("report")).trials == trials
    told_in_one_line(llmrg("compare", "SASRec", NAME, "--arms", "base", "--trials", "2"), "--trials")


def test_a_global_time_needs_a_clock(llmrg: Command, data_path: Path) -> None:
    line = ("--split", "global-time", *SMALL, "--arms")
    refused = llmrg("compare", "SASRec", NAME, *line, "base,enhanced")
    told_in_one_line(refused, "leave-one-out")
    told_in_one_line(llmrg("compare", "SASRec", NAME, "--split", "by-moon"), "by-moon", "global-time")
    rng = np.random.default_rng(1)
    planted = planted_themes(num_users=40, num_items=24, num_themes=4, length=9, signal=1.0, seed=9)
    times = {user: np.sort(rng.integers(0, 90_000, 9)).tolist() for user in planted.sequences}
    write_atomic_files(data_path, "clocked", planted.sequences, catalog=planted.catalog, times=times)
    shown = llmrg("compare", "SASRec", "clocked", *line, "base,enhanced,empty", "--out", "report", "--json")
    assert shown.code == 0, shown.err
    assert shown.document["protocol"][0].startswith("Global time")
    assert Path("llmrg-data/clocked-global-time/arrays").is_dir()
    report = read_report(Path("report"))
    assert report.environment.protocol[0].startswith("Global time")
    assert report.identities[0].users_differing == 0
    assert "DecayedPopularity" in {run.model for run in report.runs}


def test_places_that_cannot_be_written_are_refused_before_anything_slow(
    llmrg: Command, graphs: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for line in (("train", "SASRec"), ("compare", "SASRec")):
        shown = llmrg(*line, NAME, *SMALL[:-4], "--out", str(file))
        told_in_one_line(shown, "expected a folder")
        assert "training" not in shown.err
    store = next(Path("llmrg-data").rglob("graphs.sqlite"))
    before = store.read_bytes()
    told_in_one_line(llmrg("export", NAME, str(store)), "is not an export")
    told_in_one_line(llmrg("export", NAME, str(file)), "is not an export")
    told_in_one_line(llmrg("view", NAME, "u1", "--html", str(store)), "is not a page of HTML")
    assert store.read_bytes() == before


def test_the_split_is_the_settings_own_unless_one_is_named(
    llmrg: Command, data_path: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "late.yaml"
    settings.write_text(f"eval_args: {SPLITS['global-time']}\n")
    line = ("compare", "SASRec", NAME, *SMALL, "--arms", "base", "--config", str(settings), "--json")
    told_in_one_line(llmrg(*line), "not a clock")
    shown = llmrg(*line, "--split", "leave-one-out", "--out", "report")
    assert shown.code == 0, shown.err
    assert shown.document["protocol"][0].startswith("Leave-one-out")


@pytest.mark.parametrize(
    ("setting", "words"),
    [("valid_metric=MRR@10", "by NDCG@10, found MRR@10"), ("eval_step=0", "never validates")],
)
def test_epochs_are_chosen_by_what_reports_say(
    llmrg: Command, data_path: Path, setting: str, words: str
) -> None:
    told_in_one_line(llmrg("compare", "SASRec", NAME, *SMALL, "--arms", "base", "--set", setting), words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("doctor --probe-memory planted", ("--model NAME",)),
        ("doctor --probe-memory planted --base-url http://localhost:1/v1", ("--model NAME",)),
        ("compare SASRec planted --arms all,foo", ("unknown setting 'foo'", "known: all")),
        ("compare SASRec planted --split leave-one-out --set eval_args={}", ("--split", "eval_args")),
        ("compare SASRec planted --arms base --set llmrg.control=shuffled", ("--arms",)),
        ("compare SASRec planted --arms base --set llmrg.graphs=/nowhere", ("--folder",)),
        ("train SASRec planted --folder mine", ("--folder and --processes", "SASRec reads none")),
        ("train SASRec planted --processes 7", ("--folder and --processes", "SASRec reads none")),
        ("train SASRecLLMRG planted --set llmrg.graphs=there --folder mine", ("--folder", "llmrg.graphs")),
        ("compare SASRec planted --arms base,wider --folder mine", ("--folder", "base, wider")),
        ("train SASRecLLMRG planted --set llmrg.graphs=there --processes 2", ("--processes", "llmrg.graphs")),
        ("generate planted --set val_interval=3", ("filter the atomic files",)),
        ("extend planted --set lerning_rate=3", ("'lerning_rate'", "--set")),
        ("generate ml-100k --data-path nowhere", ("nowhere/ml-100k/ml-100k.inter",)),
        ("train SASRec ml-100k --set data_path=nowhere", ("nowhere/ml-100k/ml-100k.inter",)),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(llmrg: Command, line: str, words: tuple[str, ...]) -> None:
    told_in_one_line(llmrg(*line.split()), *words)


def test_all_arms_are_all_whatever_is_named_beside_them() -> None:
    chosen = Choice.of(("SASRec",), (NAME,), ("base", "all"), (1,), 0)
    assert chosen.arms == tuple(ARMS)


def test_a_folder_of_finished_runs_that_cannot_be_is_refused_before_graphs_are_made(
    llmrg: Command, room: Path
) -> None:
    (room / "file").write_text("in the way")
    refused = llmrg("compare", "SASRec", NAME, *SMALL, "--finished", "file")
    told_in_one_line(refused, "--finished: cannot write into file: File exists")
    assert not (room / "llmrg-data").exists()


def test_the_doctor_probes_a_models_memory(
    llmrg: Command, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmrg.data.atomic_files import read_dataset
    from llmrg.reasoners.endpoint import Completion, CompletionRequest

    titles = {item.item_id: item.title for item in read_dataset(data_path, NAME).catalog.values()}

    class WellRead:
        host = "nowhere"

        def __init__(self, settings: object) -> None:
            self.settings = settings

        async def __aenter__(self) -> WellRead:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def complete(self, request: CompletionRequest) -> Completion:
            asked = request.body["messages"][-1]["content"]
            assert request.body["model"] == "some-model"
            item_id = asked.rsplit(" ", 1)[1].rstrip(".") if "item with id" in asked else ""
            return Completion(titles.get(item_id, "?"))

    monkeypatch.setattr("llmrg.reasoners.openai_endpoint.OpenAIEndpoint", WellRead)
    shown = llmrg("doctor", "--probe-memory", NAME, "--model", "some-model", "--questions", "12", "--json")
    assert shown.code == 0, shown.err
    assert "asking some-model at nowhere: 12 titles by id" in shown.err
    assert (shown.document["titles"]["right"], shown.document["titles"]["control"]) == (12, 0)
    assert shown.document["remembered"]
    assert "memorised part of planted" in shown.document["sentences"][-1]
