"""Run the benchmarks one after another and set their figures beside their targets.

Promise: each script runs in a process of its own, alone on the machine; a missed target is printed, never
hidden, and only a script that crashed makes this one end in 1. A benchmark is any other ``*.py`` here
(names that start with ``_`` aside) that, given ``--json``, ends in one line ``{"name": ..., "figures": {...}}`` and
states its targets as a literal::

    TARGETS = {"speedup_sasrec": ">= 30", "load_seconds": "<= 1"}

Run: ``python benchmarks/run_all.py [NAME ...] [--save]``.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _script import in_words, meets

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Outcome:
    """One benchmark, run.

    Args:
        name: the script's stem.
        figures: figure to number, None for what these data cannot answer; empty where it crashed.
        targets: figure to such as ``">= 30"``.
        seconds: wall clock of the process.
        problem: why it counts as crashed; None where it does not.
    """

    name: str
    figures: Mapping[str, float | None]
    targets: Mapping[str, str]
    seconds: float
    problem: str | None = None

    def verdicts(self) -> list[tuple[str, str]]:
        """Every figure and every target as a pair of name and words."""
        rows = [(figure, in_words(value, self.targets.get(figure))) for figure, value in self.figures.items()]
        missing = [figure for figure in self.targets if figure not in self.figures and self.problem is None]
        return rows + [
            (figure, f"no such figure   target {self.targets[figure]}: MISSED") for figure in missing
        ]

    @property
    def missed(self) -> list[str]:
        """Figures that miss their target, or that the script did not report."""
        return [
            figure
            for figure, target in self.targets.items()
            if figure not in self.figures
            or ((value := self.figures[figure]) is not None and not meets(value, target))
        ]


def targets_of(script: Path) -> dict[str, str]:
    """The literal ``TARGETS`` of a script, read without running it; empty where there is none."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        names = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(name, ast.Name) and name.id == "TARGETS" for name in names):
            return dict(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return {}


def run_one(script: Path) -> Outcome:
    """Run one script with ``--json``; what it says on standard error passes through."""
    targets, begun = targets_of(script), time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(script), "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        return Outcome(script.stem, {}, targets, seconds, problem=f"ended with status {done.returncode}")
    try:
        figures = figures_in(done.stdout)
    except ValueError as error:
        return Outcome(script.stem, {}, targets, seconds, problem=str(error))
    return Outcome(script.stem, figures, targets, seconds)


def figures_in(output: str) -> dict[str, float | None]:
    """The figures in the last line of a script's output.

    Raises:
        ValueError: that line is not of the agreed form.

    >>> figures_in('warming up\\n{"name": "x", "figures": {"seconds": 2}}')
    {'seconds': 2}
    """
    lines = output.strip().splitlines()
    try:
        document: Any = json.loads(lines[-1])
        return dict(document["figures"])
    except (IndexError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"its last line is not {{'name': ..., 'figures': ...}} ({error!r})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named, or everything; returns the exit status."""
    available = {
        path.stem: path
        for path in sorted(HERE.glob("*.py"))
        if path.name[0] != "_" and path != HERE / "run_all.py"
    }
    parser = argparse.ArgumentParser(
        description="Run the benchmarks and set their figures beside their targets."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run; all by default: {', '.join(available)}"
    )
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.json")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in available]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(available)}")
    outcomes = []
    for place, name in enumerate(chosen.names or available, start=1):
        print(f"[{place}/{len(chosen.names or available)}] {name} ...", flush=True)
        outcome = run_one(available[name])
        outcomes.append(outcome)
        for figure, words in outcome.verdicts():
            print(f"    {figure:<28} {words}")
        print(
            f"    {f'CRASHED: {outcome.problem}' if outcome.problem else 'done'} in {outcome.seconds:.0f} s",
            flush=True,
        )
        if chosen.save and outcome.problem is None:
            save(outcome, HERE / "results")
    crashed = [outcome.name for outcome in outcomes if outcome.problem]
    missed = [
        f"{outcome.name}.{figure}" for outcome in outcomes if not outcome.problem for figure in outcome.missed
    ]
    summary = f"crashed: {', '.join(crashed) or 'none'}; missed: {', '.join(missed) or 'none'}"
    print(f"{len(outcomes)} benchmarks; {summary}")
    return 1 if crashed else 0


def save(outcome: Outcome, folder: Path) -> Path:
    """Write one outcome as JSON, targets beside figures."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{outcome.name}.json"
    document = {"name": outcome.name, "figures": dict(outcome.figures), "targets": dict(outcome.targets)}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
