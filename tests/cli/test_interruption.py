"""A real Ctrl-C, sent as a terminal sends it: to the command and to every process it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, Command

PATIENCE = 60  # seconds


def interrupt(folder: Path, line: tuple[str, ...], at: str, *, pause: float = 0.0) -> tuple[int, list[str]]:
    """Run a command line, interrupt it when stderr says ``at``; its exit code and what it said afterwards."""
    program = "from llmrg.cli import main\nif __name__ == '__main__':\n    main()\n"
    script = folder / "command.py"
    script.write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(script), *line],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        # a suite that was itself started in the background hands "ignore interrupts" down to its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        said = []
        for words in process.stderr:
            said.append(words)
            if at in words:
                break
        assert at in said[-1], "".join(said)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGINT)
        started = time.monotonic()
        after = process.stderr.read().splitlines()
        code = process.wait(PATIENCE)
        assert time.monotonic() - started < PATIENCE
        return code, [words for words in after if words.strip()]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_interrupted_generation_leaves_a_sound_store_and_goes_on(room: Path, llmrg: Command) -> None:
    line = ("generate", "ml-100k", *QUICK, "--max-users", "90", "--set", "llmrg.generation.wave=1")
    code, after = interrupt(room, line, at="reasoning graphs: 1 of 90", pause=1.0)
    assert code == 130
    assert after[-1] == "interrupted; what is finished is kept, run the same command again"
    assert not any("Traceback" in words for words in after)
    assert llmrg("verify", "ml-100k-first-90").code == 0
    assert llmrg("status", "ml-100k-first-90", "--json").document["users"] in range(1, 90)


@pytest.mark.slow
def test_an_interrupted_comparison_ends_its_workers_with_the_runs_that_wait(graphs: Path, room: Path) -> None:
    line = ("compare", "SASRec", NAME, *QUICK, "--epochs", "100000", "--set", "stopping_step=100000")
    code, after = interrupt(room, (*line, "--workers", "2"), at=": 1 of 100000")
    assert code == 130
    assert after[-1] == "interrupted; the graphs and finished runs are kept, run the same command again"
    assert not any("Traceback" in words for words in after)
