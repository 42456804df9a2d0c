"""Smoothing the host: what is done once to the process, and where it is not done."""

from __future__ import annotations

import pytest

from llmrg.recbole_adapter.compatibility import keep_freed_memory


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
