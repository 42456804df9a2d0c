"""The direction of imports: the contracts of pyproject.toml, and what importing a room really loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFLINE_ROOMS = ("data", "graph", "text", "prompting", "reasoners", "reasoning", "explanation", "evaluation")
HEAVY = ("torch", "recbole", "torch_geometric", "sentence_transformers", "transformers")


def modules_under(*rooms: str) -> list[str]:
    paths = sorted(path for room in rooms for path in (ROOT / "llmrg" / room).rglob("*.py"))
    dotted = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in dotted]


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in ``sys.modules`` of a fresh interpreter after one statement."""
    program = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_import_contracts_of_pyproject_hold() -> None:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_llmrg_loads_no_torch_no_recbole_and_no_openai() -> None:
    loaded = loaded_after("import llmrg")
    assert not loaded & {*HEAVY, "openai", "numpy", "pandas"}


def test_the_offline_rooms_load_neither_torch_nor_recbole_when_imported() -> None:
    modules = modules_under(*OFFLINE_ROOMS)
    assert modules
    assert not loaded_after("\n".join(f"import {name}" for name in modules)) & {*HEAVY}


def test_the_check_would_notice_an_import() -> None:
    assert "yaml" in loaded_after("import llmrg\nimport yaml")


@pytest.mark.parametrize("room", OFFLINE_ROOMS)
def test_every_offline_room_exists(room: str) -> None:
    assert modules_under(room), f"no module under llmrg/{room}: the check above would pass for nothing"
