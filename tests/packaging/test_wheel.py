"""The wheel: what is in it, and that an installed copy finds its prompts and configs without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import llmrg
from llmrg.resources import resource_folder

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"prompts": "*.md", "recbole_configs": "*.yaml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("llmrg-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--target", str(target), str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize(("name", "pattern"), SHIPPED.items())
def test_the_wheel_ships_every_prompt_and_config(wheel: Path, name: str, pattern: str) -> None:
    expected = {path.relative_to(ROOT / name).as_posix() for path in (ROOT / name).rglob(pattern)}
    prefix = f"llmrg/_resources/{name}/"
    with zipfile.ZipFile(wheel) as archive:
        found = {entry.removeprefix(prefix) for entry in archive.namelist() if entry.startswith(prefix)}
    assert expected
    assert expected <= found


def test_the_wheel_ships_every_module_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "llmrg").rglob("*.py")}
    assert modules | {"llmrg/py.typed"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "examples/")) for name in names)


def test_an_installed_copy_finds_its_own_prompts_and_configs(installed: Path) -> None:
    program = "\n".join(
        [
            "import llmrg",
            "from llmrg.resources import resource_folder",
            "print(llmrg.__file__)",
            *(f"print(resource_folder({name!r}))" for name in SHIPPED),
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.split():
        assert Path(line).is_relative_to(installed), f"{line} is not of the installed copy"
    for line, pattern in zip(done.stdout.split()[1:], SHIPPED.values(), strict=True):
        assert list(Path(line).glob(pattern))


@pytest.mark.parametrize(("name", "pattern"), SHIPPED.items())
def test_this_installation_finds_its_prompts_and_configs(name: str, pattern: str) -> None:
    assert list(resource_folder(name).glob(pattern))  # type: ignore[arg-type]


def test_the_version_is_said_once_and_agrees_everywhere(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert llmrg.__version__ == project["version"]
    assert wheel.name.startswith(f"llmrg-{project['version']}-")
    assert f"[{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_constraints_pin_torch_first_and_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = {_name(text) for group in (project["dependencies"], *extras) for text in group}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0] == "torch==2.13.0"
    assert all("==" in pin for pin in pins)
    assert wanted <= {_name(pin) for pin in pins}


def _name(requirement: str) -> str:
    """``types-pyyaml`` for ``types-PyYAML>=6; marker``."""
    end = next((i for i, letter in enumerate(requirement) if letter in "<>=!~;[ "), len(requirement))
    return requirement[:end].lower().replace("_", "-")
