"""The suite runs on the processor, whose sums come in one order: GPUs are hidden from it and from all it starts.

``recbole_adapter/test_gpu.py`` asks for them back. No example of Hypothesis's is timed: machines are
shared, and a slow one is no failure.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# set once, and inherited by pytest-xdist's workers
os.environ.setdefault("LLMRG_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def hidden_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole's Config writes ``gpu_id`` into the environment, of whatever starts after it too."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
