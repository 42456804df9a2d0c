"""The public surface: what ``__all__`` says is what there is, and it costs nothing before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llmrg

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ast.parse((ROOT / "llmrg" / "__init__.py").read_text(encoding="utf-8"))


def imported_for_types() -> dict[str, str]:
    """Public name → module, as type checkers see it."""
    block = next(node for node in SOURCE.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            assert alias.asname == alias.name
            found[alias.name] = node.module.removeprefix("llmrg.")
    return found


def test_the_names_of_all_are_the_public_surface() -> None:
    assert sorted(llmrg.__all__) == llmrg.__all__
    assert {*imported_for_types(), "__version__"} == set(llmrg.__all__)
    assert imported_for_types() == llmrg._HOMES
    assert {"generate", "enhance", "compare", "register", "read_dataset", "make_graphs"} <= set(llmrg.__all__)


@pytest.mark.parametrize("name", llmrg.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    found = getattr(llmrg, name)
    assert name in dir(llmrg)
    assert isinstance(found, str) or found.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="enhanse"):
        llmrg.enhanse  # noqa: B018


def test_listing_the_names_loads_nothing() -> None:
    program = (
        "import sys, llmrg\ndir(llmrg)\nassert not {'numpy', 'torch', 'recbole', 'openai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
