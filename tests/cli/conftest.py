"""The fixtures of :mod:`cli_runs`."""

from __future__ import annotations

from cli_runs import data_path, graphs, llmrg, made, room

__all__ = ["data_path", "graphs", "llmrg", "made", "room"]
