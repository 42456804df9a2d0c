"""The search: the same budget and the same draws for both arms, and never a look at the test part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from study_data import NAME, Study, make_study

import llmrg.experiment.search as search_room
from llmrg.data.synthetic import planted_themes
from llmrg.errors import DivergedError
from llmrg.evaluation.report import render_markdown
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.comparison import Design, Source, carry_out
from llmrg.experiment.processes import Finished
from llmrg.experiment.runs import RunProgress, run_one
from llmrg.experiment.search import GRAPH_ONLY, SHARED, plan_trials, search, trial_settings

TRIALS = 3


def design(study: Study, arms: tuple[str, ...] = ("base", "enhanced", "empty", "shuffled")) -> Design:
    sources = (Source(NAME, study.arrays),)
    return Design(("SASRec",), sources, arms, (5,), overrides=study.overrides(), processes=1, threads=1)


@pytest.fixture(scope="module")
def searched(study: Study, tmp_path_factory: pytest.TempPathFactory):
    archive = RunArchive(tmp_path_factory.mktemp("trials"))
    return (*search(design(study), TRIALS, archive=archive), archive)


def test_both_arms_have_as_many_trials_and_share_their_draws(study: Study) -> None:
    planned = plan_trials(design(study), TRIALS)
    by_arm = {arm: [(run, s) for run, s in planned if run.arm == arm] for arm in ("base", "enhanced")}
    assert len(by_arm["base"]) == len(by_arm["enhanced"]) == TRIALS
    for (base, plain), (enhanced, more) in zip(by_arm["base"], by_arm["enhanced"], strict=True):
        assert {name: value for name, value in more.items() if name != "llmrg"} == plain
        assert base.seed == enhanced.seed == 5
        assert base.part == enhanced.part == "valid"
        assert set(plain) <= set(SHARED)
    assert by_arm["base"][0][1] == by_arm["enhanced"][0][1] == {}
    assert set(by_arm["enhanced"][1][1]["llmrg"]["encoder"]) == set(GRAPH_ONLY)
    assert "num_layers" not in by_arm["base"][1][1]  # a setting of GRU4Rec


def test_draws_depend_on_seed_number_and_name_and_on_no_other_setting() -> None:
    few = trial_settings(4, "base", ["learning_rate"], seed=1)
    many = trial_settings(4, "base", list(SHARED), seed=1)
    assert few["learning_rate"] == many["learning_rate"]
    drawn = {
        trial_settings(number, "base", ["learning_rate"], seed=1)["learning_rate"] for number in range(1, 60)
    }
    assert drawn == set(SHARED["learning_rate"])
    assert trial_settings(4, "base", list(SHARED), seed=2) != many


def test_a_trial_that_diverges_loses_and_ends_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(search_room.SHARED, "learning_rate", (1e9,))
    kept = RunArchive(tmp_path / "kept")
    winners, trials = search(design(study), 2, archive=kept)
    assert [(t.arm, t.number, t.epochs > 0, t.chosen) for t in trials] == [
        ("base", 0, True, True),
        ("base", 1, False, False),
        ("enhanced", 0, True, True),
        ("enhanced", 1, False, False),
    ]
    assert [t.score for t in trials if t.number == 1] == [0, 0]
    assert all(settings == {} for settings in winners.values())
    assert search(design(study), 2, archive=kept) == (winners, trials)  # nothing is tried twice
    runs = replace(design(study), overrides=study.overrides() | {"learning_rate": 1e9}).runs()
    with pytest.raises(DivergedError, match="lower the learning rate"):  # what is reported may not
        run_one(runs[0])


def test_the_best_trial_on_validation_wins(searched) -> None:
    winners, trials, _ = searched
    assert len(trials) == 2 * TRIALS
    for arm in ("base", "enhanced"):
        own = [trial for trial in trials if trial.arm == arm]
        (chosen,) = [trial for trial in own if trial.chosen]
        assert chosen.score == max(trial.score for trial in own)
        assert [trial.number for trial in own] == [0, 1, 2]
    assert set(winners) == {(NAME, "SASRec", "base"), (NAME, "SASRec", "enhanced")}


def test_trials_are_found_again(study: Study, searched) -> None:
    winners, trials, archive = searched

    def refuse(progress: RunProgress) -> None:
        raise AssertionError(progress.run)

    ended: list[Finished] = []
    again = search(design(study), TRIALS, archive=archive, progress=refuse, finished=ended.append)
    assert again == (winners, trials)
    assert all(entry.reused for entry in ended)


def test_other_test_targets_change_no_trial(study: Study, searched, tmp_path: Path) -> None:
    planted = planted_themes(num_users=40, num_items=40, num_themes=4, length=10, signal=1.0, seed=4)
    swapped, late = dict(planted.sequences), list(planted.sequences)[20:]
    earlier = {item for user in list(swapped)[:20] for item in swapped[user]}
    assert len(earlier) == 40  # RecBole numbers items as they come: the numbers must stay
    for user, giver in zip(late, [*late[1:], late[0]], strict=True):
        swapped[user] = (*swapped[user][:-1], planted.sequences[giver][-1])
    assert swapped != dict(planted.sequences)
    other = make_study(tmp_path, sequences=swapped)
    _, trials = search(design(other), TRIALS)
    assert [trial.score for trial in trials] == pytest.approx([trial.score for trial in searched[1]])


def test_winners_reach_the_arms_they_belong_to_and_the_report(study: Study, searched) -> None:
    _, trials, archive = searched
    base, enhanced = {"learning_rate": 0.002}, {"learning_rate": 0.003, "llmrg": {"encoder": {"width": 64}}}
    winners = {(NAME, "SASRec", "base"): base, (NAME, "SASRec", "enhanced"): enhanced}
    runs = {run.arm: run for run in design(study).runs(winners)}
    rates = {arm: run.settings["learning_rate"] for arm, run in runs.items()}
    assert rates == {"base": 0.002, "empty": 0.002, "enhanced": 0.003, "shuffled": 0.003}
    assert runs["shuffled"].settings["llmrg"]["encoder"] == {"width": 64}
    assert "encoder" not in runs["empty"].settings["llmrg"]

    report = carry_out(
        replace(design(study), arms=("base", "empty")), winners=winners, trials=trials, archive=archive
    )
    assert report.identities[0].users_differing == 0
    assert report.trials == trials
    words = render_markdown(report)
    assert "judged on validation" in words
    assert "the same number of trials" in words
    chosen = next(trial for trial in trials if trial.number == 1)
    assert f"learning\\_rate={chosen.settings['learning_rate']}" in words
