"""The README runs: its python blocks in one namespace, its ``llmrg`` lines through the installed command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import Block, blocks_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 300

SAMPLE = """
```python
first = 1
```

<!-- not run: needs a key -->
```python
raise SystemExit
```

<!-- not run: -->
```bash
$ llmrg compare SASRec \\
    ml-100k  # a remark
pip install llmrg
```
"""


def run(block: Block, namespace: dict[str, object], folder: Path) -> None:
    """Run one block; python in this process, commands through the entry point beside the interpreter."""
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.text, "README.md", "exec"), namespace)
    elif block.language in {"bash", "sh", "shell", "console"}:
        for words in block.commands:
            command = [str(Path(sys.executable).with_name("llmrg")), *words[1:]]
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 0, (
                f"README.md:{block.line}: {' '.join(words)}\n{done.stdout}\n{done.stderr}"
            )


def test_every_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks_of(README):
        if block.not_run is None:
            run(block, namespace, tmp_path)


def test_every_skipped_block_of_the_readme_gives_a_reason() -> None:
    assert [f"README.md:{block.line}" for block in blocks_of(README) if block.not_run == ""] == []


def test_files_the_readme_points_to_exist() -> None:
    import re

    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_blocks_commands_and_marks_are_told_apart() -> None:
    first, skipped, shell = blocks_of(SAMPLE)
    assert (first.language, first.text, first.line, first.not_run) == ("python", "first = 1\n", 3, None)
    assert skipped.not_run == "needs a key"
    assert shell.not_run == ""
    assert shell.commands == [["llmrg", "compare", "SASRec", "ml-100k"]]


def test_a_block_that_fails_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Block("python", "1 / 0\n", 1, None), {}, tmp_path)


def test_python_blocks_share_one_namespace(tmp_path: Path) -> None:
    namespace: dict[str, object] = {}
    run(Block("python", "first = 1\n", 1, None), namespace, tmp_path)
    run(Block("python", "second = first + 1\n", 5, None), namespace, tmp_path)
    assert namespace["second"] == 2
    assert os.getcwd() != str(tmp_path)
