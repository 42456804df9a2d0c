"""The examples: each is listed, and each that needs neither key nor data runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN_HERE = (
    "read_a_graph.py",
    "quickstart.py",
    "count_successors.py",
    "your_own_llm.py",
    "wrap_another_model.py",
)


@pytest.mark.parametrize("name", RUN_HERE)
def test_an_example_runs_and_says_something(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1


def test_every_example_is_listed_in_the_readme_of_examples() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f"]({path.name})" not in text] == []
