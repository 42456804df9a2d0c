"""The benchmark runner: it reads figures and targets, and only a crash makes it fail."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "run_all.py"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("run_all_benchmarks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def benchmark(folder: Path, name: str, body: str, targets: str = "{}") -> None:
    (folder / f"{name}.py").write_text(f"import json, sys\nTARGETS = {targets}\n{body}\n")


def report(figures: str) -> str:
    return f"print('working')\nprint(json.dumps({{'name': 'x', 'figures': {figures}}}))"


def test_figures_stand_beside_their_targets_and_a_miss_is_no_crash(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = "{'speedup': '>= 30', 'seconds': '<= 1', 'forgotten': '<= 1'}"
    benchmark(tmp_path, "fast", report("{'speedup': 31.5, 'seconds': 2, 'extra': 7}"), targets)
    assert runner.main([]) == 0
    out = capsys.readouterr().out
    assert "31.5   target >= 30: met" in out
    assert "2   target <= 1: MISSED" in out
    assert "no such figure" in out
    assert out.splitlines()[-1] == "1 benchmarks; crashed: none; missed: fast.seconds, fast.forgotten"


def test_what_the_data_cannot_answer_is_not_missed(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark(
        tmp_path, "reuse", report("{'saved': None, 'ratio': 2}"), "{'saved': '>= 0.6', 'ratio': '>= 1'}"
    )
    assert runner.main([]) == 0
    out = capsys.readouterr().out
    assert "not measured on these data" in out
    assert out.splitlines()[-1] == "1 benchmarks; crashed: none; missed: none"


@pytest.mark.parametrize("body", ["sys.exit(3)", "print('no json')", "pass", "print('[1]')"])
def test_a_script_that_crashes_or_reports_nothing_fails_the_run_but_not_the_others(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str
) -> None:
    benchmark(tmp_path, "a_broken", body)
    benchmark(tmp_path, "b_fine", report("{'n': 1}"))
    assert runner.main([]) == 1
    out = capsys.readouterr().out
    assert "CRASHED" in out
    assert out.splitlines()[-1] == "2 benchmarks; crashed: a_broken; missed: none"


def test_chosen_benchmarks_can_be_saved(runner: ModuleType, tmp_path: Path) -> None:
    benchmark(tmp_path, "one", report("{'n': 1}"))
    benchmark(tmp_path, "two", "sys.exit(1)")
    assert runner.main(["one", "--save"]) == 0
    assert '"n": 1' in (tmp_path / "results" / "one.json").read_text()


def test_an_unknown_benchmark_is_refused_by_name(runner: ModuleType, tmp_path: Path) -> None:
    benchmark(tmp_path, "one", report("{'n': 1}"))
    with pytest.raises(SystemExit):
        runner.main(["won"])


@pytest.mark.parametrize(
    "path",
    sorted(p for p in SCRIPT.parent.glob("*.py") if p != SCRIPT and not p.name.startswith("_")),
    ids=lambda p: p.stem,
)
def test_every_benchmark_states_targets_that_can_be_read(runner: ModuleType, path: Path) -> None:
    targets = runner.targets_of(path)
    assert targets, f"{path.name}: expected a literal TARGETS = {{figure: '<= number'}}"
    for target in targets.values():
        assert isinstance(runner.meets(0.0, target), bool)


@pytest.mark.parametrize(
    ("script", "line", "words"),
    [
        ("sparse_data", ("--steps", "0"), "--steps: expected a whole number from 1, found '0'"),
        ("prefix_training", ("--steps", "many"), "--steps: expected a whole number from 1, found 'many'"),
        ("wrapper_overhead", ("--models", "SASRec,Sasrec"), "expected some of SASRec, GRU4Rec"),
        ("graph_networks", ("--arms", "gat"), "found 'gat'"),
    ],
)
def test_an_argument_of_no_use_is_refused_at_once(script: str, line: tuple[str, ...], words: str) -> None:
    command = [sys.executable, str(SCRIPT.with_name(f"{script}.py")), *line]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert words in refused.stderr.splitlines()[-1]
