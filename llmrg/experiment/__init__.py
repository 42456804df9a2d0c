"""Comparison runs: the same model with and without graphs, and with the controls that could embarrass us."""

from __future__ import annotations

from llmrg.experiment.arms import ARMS, NEIGHBOURS, UNVERIFIED, Arm
from llmrg.experiment.comparison import compare
from llmrg.experiment.runs import Run, RunProgress, run_one

__all__ = ["ARMS", "NEIGHBOURS", "UNVERIFIED", "Arm", "Run", "RunProgress", "compare", "run_one"]
