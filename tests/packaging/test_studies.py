"""The studies: settings that are accepted, commands that parse, results made with them, figures that cannot drift."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from readme_blocks import blocks_of

from llmrg.cli.app import app
from llmrg.cli.comparison_step import Choice, split_overrides
from llmrg.cli.options import gather_overrides, split_numbers, split_words
from llmrg.config_files import read_yaml
from llmrg.data.atomic_files import read_dataset
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.evaluation.comparison import Procedure, RunResult, build_report
from llmrg.evaluation.report import write_report
from llmrg.recbole_adapter.configuration import build_config
from llmrg.recbole_adapter.training import HeldOut, enhanced_name

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "examples" / "studies"
NAMES = sorted(path.parent.name for path in STUDIES.glob("*/study.yaml"))
RUN = [name for name in NAMES if (STUDIES / name / "results" / "report.json").is_file()]
LINE = re.compile(r"^\s*[\w-]+:( .*)?\s# \([a-z]+( or [a-z]+)*\) \S")


def script(path: Path) -> ModuleType:
    """A script of the studies, loaded under a name that nothing else has."""
    name = f"study_script_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


table = script(STUDIES / "table.py")
cross_check = script(STUDIES / "cross_check.py")
stock_recbole = script(STUDIES / "stock_recbole.py")
make_data = script(STUDIES / "null" / "make_data.py")


def parsed(name: str) -> dict[str, Any]:
    """The options of the one ``llmrg compare`` in a study's README, as the command line reads them."""
    blocks = blocks_of((STUDIES / name / "README.md").read_text(encoding="utf-8"))
    commands = [words for block in blocks for words in block.commands]
    assert [words[:2] for words in commands] == [["llmrg", "compare"]]
    command: Any = typer.main.get_command(app)
    with command.commands["compare"].make_context("compare", commands[0][2:]) as context:
        return dict(context.params)


def chosen(name: str) -> Choice:
    given = parsed(name)
    return Choice.of(
        split_words(given["models"], "MODEL"),
        split_words(given["datasets"], "DATASET"),
        split_words(given["arms"], "--arms"),
        split_numbers(given["seeds"], "--seeds"),
        given["trials"],
    )


def test_every_study_is_in_the_overview() -> None:
    assert sorted(table.NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_line_of_a_study_says_its_type_and_its_meaning(name: str) -> None:
    lines = (STUDIES / name / "study.yaml").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#") and not LINE.match(line)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_command_names_the_study_and_can_be_run(name: str) -> None:
    given, choice = parsed(name), chosen(name)
    assert [str(path) for path in given["config"]] == [f"examples/studies/{name}/study.yaml"]
    assert str(given["out"]) == f"examples/studies/{name}/results"
    assert {"base", "enhanced", "neighbours", "shuffled"} <= set(choice.arms)
    assert len(choice.seeds) >= 5
    for dataset in choice.datasets:
        for model in choice.models:
            for form in (model, enhanced_name(model)):
                built = build_config(
                    form, dataset, config_files=[ROOT / path for path in given["config"]], needs_data=False
                )
                values = read_yaml(STUDIES / name / "study.yaml")
                assert {key: built[key] for key in values if key != "llmrg"} == {
                    key: value for key, value in values.items() if key != "llmrg"
                }


@pytest.mark.parametrize("name", RUN)
def test_results_were_made_with_the_settings_and_the_command_beside_them(name: str) -> None:
    given = parsed(name)
    overrides = split_overrides(
        given["split"],
        gather_overrides(
            given["set_"],
            data_path=given["data_path"],
            max_users=given["max_users"],
            epochs=given["epochs"],
        ),
    )
    settings = {f"examples/studies/{name}/study.yaml": read_yaml(STUDIES / name / "study.yaml")}
    expected = {**chosen(name).document(), "config_files": settings, "overrides": overrides}
    found = json.loads((STUDIES / name / "results" / "config.json").read_text(encoding="utf-8"))
    expected = json.loads(json.dumps(expected, default=str))
    part = {name: (found.pop(name), expected.pop(name)) for name in ("arms", "seeds")}
    assert found == expected
    for run, wanted in part.values():
        assert set(run) <= set(wanted)
    whole = all(run == wanted for run, wanted in part.values())
    text = (STUDIES / name / "README.md").read_text(encoding="utf-8")
    assert whole or "\n**So far**" in text, (
        "results of fewer arms or seeds than the command names must say so"
    )


@pytest.mark.parametrize(
    "path", sorted(p for p in STUDIES.glob("*/*/config.json") if p.parent.name != "results"), ids=str
)
def test_further_results_were_made_with_the_settings_of_the_study(path: Path) -> None:
    name = path.parents[1].name
    settings = {f"examples/studies/{name}/study.yaml": read_yaml(STUDIES / name / "study.yaml")}
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["config_files"] == json.loads(json.dumps(settings, default=str))
    assert found["overrides"] == {}
    assert found["datasets"] == [name]


def test_the_figures_of_every_readme_are_those_of_the_results() -> None:
    for path, block in table.blocks().items():
        text = path.read_text(encoding="utf-8")
        assert text == table.with_block(text, block), (
            f"run: python examples/studies/table.py --write ({path})"
        )


@pytest.mark.parametrize("name", RUN)
def test_the_figures_of_a_study_are_there(name: str) -> None:
    text = (STUDIES / name / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert pictures
    assert [link for link in pictures if not (STUDIES / name / link).is_file()] == []


def test_every_drawn_figure_is_that_of_the_report_beside_it() -> None:
    drawn = table.drawings()
    assert [str(path) for path, text in drawn.items() if path.read_text(encoding="utf-8") != text] == []
    assert sorted(drawn) == sorted(STUDIES.glob("*/*/figures/*.svg"))


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*/results/cross_check.json")), ids=str)
def test_a_cross_check_that_is_kept_was_no_quick_try(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["dataset"] == path.parents[1].name
    assert found["settings"]["max_users"] is None


@pytest.mark.skipif("null" not in RUN, reason="the null case has not been run yet")
def test_the_null_case_reports_no_gain() -> None:
    report = table.read_results(STUDIES / "null")
    assert any("nothing is shown to be gained by the graphs" in sentence for sentence in report.sentences)


def test_a_block_holds_the_figures_of_the_report(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    users = tuple(f"u{place}" for place in range(300))
    ranks = generator.integers(1, 50, 300).astype(float)
    better = np.ceil(ranks / 3)
    runs = [
        RunResult(
            arm, "SASRec", "toy", seed, users, given, True, better, seconds=36.0, epochs=3, best_epoch=2
        )
        for seed in (1, 2)
        for arm, given in (("base", ranks), ("enhanced", better), ("shuffled", ranks + 1))
    ]
    report = build_report(runs, procedure=Procedure(resamples=200, permutations=2000))
    assert table.study_block(tmp_path) == table.NO_RUN
    write_report(report, tmp_path / "results")
    other = {"implementation": "Other SASRec", "runs": [{"hr@10": 0.25, "ndcg@10": 0.125}]}
    for left_out in (True, False):  # the report keeps seen items
        found = {**other, "settings": {"leave_out_seen": left_out}}
        (tmp_path / "results" / "cross_check.json").write_text(json.dumps(found))
        if left_out:
            with pytest.raises(SystemExit, match="treats seen items otherwise"):
                table.study_block(tmp_path)
    alone = [replace(run, model="DuoRec") for run in runs if run.arm == "base"]
    write_report(build_report(alone), tmp_path / "other-bases")
    block = table.study_block(tmp_path)
    assert (
        f"| DuoRec | base | 2 | {report.row('toy', 'SASRec', 'base', 'hr@10').mean:.4f} ± 0.0000 |" in block
    )
    for arm in ("base", "enhanced", "shuffled"):
        assert f"| SASRec | {arm} | 2 | " in block
        assert f"{report.row('toy', 'SASRec', arm, 'ndcg@10').mean:.4f} ± 0.0000" in block
    assert "wins |" in block
    assert "| after Holm | NDCG@10, seen items left out |" in block
    elsewhere = report.row("toy", "SASRec", "enhanced", "ndcg@10").mean
    assert block.count(f" | {elsewhere:.4f} |") >= 3  # all arms rank alike there
    assert "| Other SASRec | independent base | 1 | 0.2500 | 0.1250 |  |  |" in block
    assert "6 runs with 3 min 36 s of training in sum" in block
    assert "](results/figures/gains.svg)" in block
    assert "TODO" not in block


def test_a_readme_without_markers_is_refused() -> None:
    filled = table.with_block(f"before\n{table.START}\nold\n{table.END}\nafter\n", "new")
    assert filled == f"before\n{table.START}\n\nnew\n\n{table.END}\nafter\n"
    with pytest.raises(SystemExit, match="expected the lines"):
        table.with_block("nothing here", "new")


def test_the_cross_check_counts_hits_by_their_place_in_the_list() -> None:
    shown = pd.DataFrame(
        {"user_id": ["a", "a", "b", "b"], "item_id": [7, 8, 7, 9], "rank": [1, 2, 1, 2], "score": 0.0}
    )
    part = HeldOut(["a", "b", "c", "d"], [], np.array([7, 9, 7, 8]), np.zeros(4))
    found = cross_check.metrics_of(shown, part)  # a: place 1, b: place 2, c and d: no list
    assert found["hr@10"] == 2 / 4
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 4)


def test_the_cross_check_hands_over_our_split_in_order(tmp_path: Path) -> None:
    toy = planted_themes(num_users=20, num_items=30, num_themes=3, length=8, signal=1.0, seed=1)
    write_atomic_files(tmp_path, "toy", toy.sequences, catalog=toy.catalog)
    split = cross_check.read_split("toy", tmp_path, None)
    assert len(split.train) == 20 * 6  # all but the validation and the test target
    before = {user: list(rows["item_id"]) for user, rows in split.train.groupby("user_id")}
    assert split.train.groupby("user_id")["datetime"].is_monotonic_increasing.all()
    for part, extra in ((split.valid, 0), (split.test, 1)):
        for user, history in zip(part.user_ids, part.histories, strict=True):
            assert list(history)[: len(history) - extra] == before[user]


def test_recboles_own_evaluation_and_ours_agree_on_a_model_that_recbole_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = planted_themes(num_users=40, num_items=30, num_themes=3, length=8, signal=1.0, seed=1)
    write_atomic_files(tmp_path, "toy", toy.sequences, catalog=toy.catalog)
    out = tmp_path / "stock.json"
    words = ["stock_recbole.py", "toy", "--data-path", str(tmp_path), "--set", "epochs=3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*words, "--set", "hidden_size=16", "--minutes", "0"])
    monkeypatch.chdir(tmp_path)
    stock_recbole.main()
    assert "time was up" in capsys.readouterr().out
    (run,) = json.loads(out.read_text())["runs"]
    assert run["epochs"] == run["best_epoch"] == len(run["validation"]) == 1
    kept, left_out = run["ranked by llmrg, seen kept"], run["ranked by llmrg, seen left out"]
    for metric in ("hr@10", "ndcg@10"):
        assert run[metric] == pytest.approx(kept[metric], abs=5.1e-5)  # RecBole rounds to four places
        assert left_out[metric] > kept[metric] > 0
    assert not list(tmp_path.glob("log*"))


@pytest.fixture
def dealt(tmp_path: Path) -> Path:
    toy = planted_themes(num_users=40, num_items=30, num_themes=3, length=12, signal=1.0, seed=1)
    write_atomic_files(tmp_path, "toy", toy.sequences, catalog=toy.catalog)
    for folder, seed in (("one", 1), ("again", 1), ("two", 2)):
        make_data.write_null(tmp_path / folder, source="toy", data_path=tmp_path, seed=seed, name="null")
    return tmp_path


def rows_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def test_dealing_anew_keeps_every_margin_and_nothing_else(dealt: Path) -> None:
    before, after = rows_of(dealt / "toy" / "toy.inter"), rows_of(dealt / "one" / "null" / "null.inter")
    assert [(user, time) for user, _, time in before] == [(user, time) for user, _, time in after]
    assert Counter(item for _, item, _ in before) == Counter(item for _, item, _ in after)
    kept = np.mean([one[1] == other[1] for one, other in zip(before, after, strict=True)])
    shares = np.array(list(Counter(item for _, item, _ in before).values())) / len(before)
    assert kept < (shares**2).sum() + 0.05  # what chance keeps


def test_dealing_anew_follows_its_seed_and_is_read_as_a_data_set(dealt: Path) -> None:
    one, again, two = (
        (dealt / folder / "null" / "null.inter").read_bytes() for folder in ("one", "again", "two")
    )
    assert one == again != two
    assert len(read_dataset(dealt / "one", "null").histories) == 40
