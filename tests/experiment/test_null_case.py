"""Where nothing is to be gained, the report says so; where something is, it says that."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_data import NAME, make_study

from llmrg.evaluation.results import ComparisonReport
from llmrg.experiment import compare


def report_of(folder: Path, signal: float) -> ComparisonReport:
    study = make_study(folder, users=250, items=80, length=12, themes=8, signal=signal)
    schedule = {"stopping_step": 6, "learning_rate": 0.01}
    return compare(
        ["SASRec"],
        NAME,
        study.arrays,
        arms=("base", "enhanced", "shuffled"),
        overrides=study.overrides(epochs=12, **schedule),
        processes=1,
        threads=1,
    )


@pytest.mark.slow
def test_on_graphs_drawn_without_looking_at_the_user_nothing_is_gained(tmp_path: Path) -> None:
    found = report_of(tmp_path, signal=0.0)
    assert "nothing is shown to be gained by the graphs" in " ".join(found.sentences)
    assert not any(" beats base" in sentence for sentence in found.sentences)
    assert not any(pair.verdict == "wins" for pair in found.comparisons)


@pytest.mark.slow
def test_the_same_comparison_finds_what_is_planted(tmp_path: Path) -> None:
    found = report_of(tmp_path, signal=1.0)
    assert "enhanced beats base by" in found.sentences[0]
    assert "shuffled by" in found.sentences[0]
    assert not any("nothing is shown" in sentence for sentence in found.sentences)
    assert {row.group for row in found.groups} >= {"short histories"}
