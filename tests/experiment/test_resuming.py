"""Finished runs are never trained again, and nothing about how runs were carried out shows in the figures."""

from __future__ import annotations

import errno
import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from study_data import NAME, Study

from llmrg.errors import FingerprintError, ModelError
from llmrg.evaluation.results import ComparisonReport
from llmrg.experiment import compare, processes
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.comparison import Design, Source
from llmrg.experiment.forecast import forecast
from llmrg.experiment.processes import Finished
from llmrg.experiment.runs import Run, RunProgress

ARMS = ("base", "enhanced", "shuffled")


class PlugPulledError(Exception):
    """Somebody pulled the plug."""


def comparison(study: Study, archive: Path | None, **more: Any) -> ComparisonReport:
    settings = {"arms": ARMS, "seeds": (1, 2), "processes": 1, "threads": 1, "baselines": False, **more}
    return compare(["SASRec"], NAME, study.arrays, overrides=study.overrides(), archive=archive, **settings)


def ranks(report: ComparisonReport) -> list[list[float]]:
    return [run.ranks.tolist() for run in report.runs]


@pytest.fixture(scope="module")
def whole(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[ComparisonReport, Path]:
    """The whole comparison in one go, and its archive."""
    archive = tmp_path_factory.mktemp("whole")
    return comparison(study, archive), archive


def test_a_report_says_what_its_models_were_trained_on(whole: tuple[ComparisonReport, Path]) -> None:
    expected = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    assert whole[0].environment.device == expected


def test_an_interrupted_comparison_loses_the_run_in_flight_and_no_other(
    study: Study, whole: tuple[ComparisonReport, Path], tmp_path: Path
) -> None:
    trained: list[str] = []

    def pull_the_plug(progress: RunProgress) -> None:
        trained.append(progress.run)
        if len(trained) == 8:  # four runs of two epochs
            raise PlugPulledError

    with pytest.raises(PlugPulledError):
        comparison(study, tmp_path, progress=pull_the_plug)
    assert len(list(tmp_path.iterdir())) == 3
    ended: list[Finished] = []
    again = comparison(study, tmp_path, finished=ended.append)
    assert [entry.reused for entry in ended] == [True, True, True, False, False, False]
    assert ranks(again) == ranks(whole[0])


def test_a_finished_comparison_trains_nothing(study: Study, whole: tuple[ComparisonReport, Path]) -> None:
    report, archive = whole

    def refuse(progress: RunProgress) -> None:
        raise AssertionError(progress.run)

    again = comparison(study, archive, progress=refuse)
    assert again.to_document()["runs"] == report.to_document()["runs"]
    assert ranks(again) == ranks(report)


def test_more_seeds_and_arms_train_only_what_is_new(
    study: Study, whole: tuple[ComparisonReport, Path], tmp_path: Path
) -> None:
    ended: list[Finished] = []
    comparison(study, whole[1], seeds=(1, 3), arms=("base", "text"), finished=ended.append)
    assert {entry.run.name for entry in ended if entry.reused} == {f"SASRec/base on {NAME}, seed 1"}
    assert len(ended) == 4


@pytest.mark.slow
def test_processes_change_no_bit(study: Study, whole: tuple[ComparisonReport, Path], tmp_path: Path) -> None:
    apart = comparison(study, tmp_path, processes=2)
    assert ranks(apart) == ranks(whole[0])
    assert [run.curve for run in bare(apart)] == [run.curve for run in bare(whole[0])]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_error_and_loses_no_finished_run(study: Study, tmp_path: Path) -> None:
    def kill(entry: Finished) -> None:
        for worker in multiprocessing.active_children():
            if not worker.name.startswith("SyncManager"):
                worker.kill()

    with pytest.raises(ModelError, match=r"a process that trains has ended .* what is finished is kept"):
        comparison(study, tmp_path, processes=2, finished=kill)
    assert len(list(tmp_path.glob("*.npz"))) in range(1, 6)
    assert multiprocessing.active_children() == []


def test_a_script_that_does_not_guard_its_work_is_told_so(study: Study, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from llmrg.experiment import compare\n"
        f"compare(['SASRec'], {NAME!r}, None, arms=['base'], seeds=[1, 2], overrides={study.overrides()!r}, "
        "processes=2)\n",
        encoding="utf-8",
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 1
    assert 'if __name__ == "__main__"' in ran.stderr.splitlines()[-1]


def bare(report: ComparisonReport) -> Sequence[Any]:
    """Runs whose curves say nothing about time."""
    return [
        replace(run, curve=tuple(point._replace(seconds=0.0) for point in run.curve)) for run in report.runs
    ]


def test_without_an_archive_nothing_is_kept(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    comparison(study, None, arms=("base",), seeds=(1,))
    assert list(tmp_path.iterdir()) == []


def test_the_plan_knows_what_is_finished_and_guesses_the_rest(
    study: Study, whole: tuple[ComparisonReport, Path], tmp_path: Path
) -> None:
    def plan(seeds: tuple[int, ...], arms: tuple[str, ...] = ARMS) -> Design:
        sources = (Source(NAME, study.arrays),)
        return Design(("SASRec",), sources, arms, seeds, overrides=study.overrides(), processes=1, threads=1)

    archive = RunArchive(whole[1])
    done = forecast(plan((1, 2)).runs(), at_a_time=1, archive=archive)
    assert (done.finished, done.waiting, done.seconds) == (6, 0, 0.0)
    assert str(done) == "everything is trained already"
    more = forecast(plan((1, 9)).runs(), at_a_time=2, archive=archive)
    earlier = [run.seconds for run in whole[0].runs]
    assert (more.finished, more.waiting, more.measured) == (3, 3, 3)
    assert 3 * min(earlier) <= more.seconds <= 3 * max(earlier)
    assert more.minutes == pytest.approx(more.seconds / 2 / 60)
    assert "guessed from earlier runs" in str(more)
    fresh = forecast(plan((1,)).runs(), at_a_time=1, archive=RunArchive(tmp_path / "none"))
    assert (fresh.finished, fresh.waiting, fresh.measured) == (0, 3, 0)
    assert 0 < fresh.seconds < 60
    assert "a few batches" in str(fresh)


def test_a_run_that_becomes_another_meanwhile_is_neither_trained_nor_filed(
    study: Study, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("learning_rate: 1e-3\n")
    finished = tmp_path / "finished"

    def somebody_edits(progress: RunProgress) -> None:
        file.write_text("learning_rate: 2e-3\n")

    with pytest.raises(FingerprintError, match="have changed since the comparison began"):
        comparison(study, finished, arms=("base",), config_files=[file], progress=somebody_edits)
    assert list(finished.iterdir()) == []
    with pytest.raises(FingerprintError, match="seed 2: its data, graphs, settings or code"):
        comparison(
            study,
            finished,
            arms=("base",),
            config_files=[file],
            finished=lambda entry: file.write_text("learning_rate: 3e-3\n"),
        )
    assert len(list(finished.iterdir())) == 1


def test_an_archive_that_cannot_be_written_is_told_before_training(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def refuse(progress: RunProgress) -> None:
        raise AssertionError(progress.run)

    with pytest.raises(OSError):
        comparison(study, tmp_path / "file" / "finished", progress=refuse)


def test_a_run_that_cannot_be_kept_is_reported_all_the_same(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    report = comparison(study, tmp_path, arms=("base",), seeds=(1,))
    assert len(report.runs) == 1
    assert "could not be kept" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nsee the manual")]
)
def test_no_memory_left_is_one_error(study: Study, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def burst(run: Run, progress: Any) -> None:
        raise error

    monkeypatch.setattr(processes, "run_one", burst)
    with pytest.raises(ModelError, match=r"seed 1: no memory left \(.*--processes") as caught:
        comparison(study, None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_that_fails_lets_those_in_flight_end_and_begins_no_other(study: Study, tmp_path: Path) -> None:
    overrides = {**study.overrides(), "epochs": 2}
    good = Design(("SASRec",), (Source(NAME),), ("base",), (1, 2), overrides=overrides, threads=1).runs()
    bad = replace(good[0], seed=7, overrides={**overrides, "n_heads": 3})  # 16 is no multiple of it
    archive = RunArchive(tmp_path)
    with pytest.raises(ModelError, match="seed 7"):
        list(processes.train_all([bad, *good], processes=2, archive=archive))
    assert [kept.result.seed for kept in archive.all()] == [1]


def test_a_flipped_bit_anywhere_is_a_damaged_file(
    whole: tuple[ComparisonReport, Path], tmp_path: Path
) -> None:
    sound = next(whole[1].iterdir()).read_bytes()
    generator = np.random.default_rng(1)
    read = []
    for at in generator.integers(len(sound), size=400).tolist():
        broken = bytearray(sound)
        broken[at] ^= 1 << int(generator.integers(8))
        (tmp_path / "broken.npz").write_bytes(broken)
        read.append(len(list(RunArchive(tmp_path).all())))
    assert set(read) <= {0, 1}
    assert sum(read) < 200


def test_a_damaged_file_is_trained_again_and_left_alone(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = comparison(study, tmp_path, arms=("base",), seeds=(1,))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-30])
    ended: list[Finished] = []
    second = comparison(study, tmp_path, arms=("base",), seeds=(1,), finished=ended.append)
    assert not ended[0].reused
    assert "trained again" in caplog.text
    assert ranks(second) == ranks(first)
    np.testing.assert_array_equal(next(RunArchive(tmp_path).all()).result.ranks, first.runs[0].ranks)
