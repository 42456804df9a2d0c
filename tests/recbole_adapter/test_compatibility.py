"""Smoothing the host: what is done once to the process, and where it is not done."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from planted_data import PlantedData

from llmrg.recbole_adapter.compatibility import keep_freed_memory
from llmrg.recbole_adapter.configuration import build_config


class _Allocator:
    """Stands in for the C library."""

    def __init__(self, taken: list[tuple[int, int]] | None) -> None:
        if taken is not None:
            self.mallopt = lambda option, value: taken.append((option, value))


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_freed_memory_is_kept_where_the_allocator_is_glibcs(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("ctypes.CDLL", lambda name: _Allocator(taken))
    keep_freed_memory.__wrapped__()
    assert taken == ([(-4, 0), (-1, 2**31 - 1)] if platform == "linux" else [])


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: _Allocator(None))
    keep_freed_memory.__wrapped__()


@pytest.mark.parametrize(
    ("visible", "asked", "expected"),
    [
        (None, {}, "0"),
        ("3", {}, "3"),
        ("1,2", {}, "1,2"),
        ("GPU-4f", {}, "GPU-4f"),
        ("3", {"gpu_id": 1}, "1"),
    ],
)
def test_the_gpus_that_the_environment_shows_are_not_exchanged_for_recboles_first(
    planted: PlantedData,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    asked: dict[str, Any],
    expected: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    config = build_config("SASRec", "planted", overrides=planted.overrides("SASRec") | asked)
    assert (config["gpu_id"], os.environ["CUDA_VISIBLE_DEVICES"]) == (expected, expected)


def test_where_the_environment_shows_no_gpu_none_is_used(
    planted: PlantedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = build_config("SASRec", "planted", overrides=planted.overrides("SASRec"))
    assert config["device"] == torch.device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
