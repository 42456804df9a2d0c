"""Runs whose ranks are drawn, with one knob for how much better the enhanced arm is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from llmrg.evaluation.comparison import Environment, GenerationCost, RunResult

Draw = Callable[..., list[RunResult]]


def drawn_runs(
    *,
    lift: float = 0.3,
    users: int = 200,
    seeds: Sequence[int] = (1, 2),
    arms: Sequence[str] = ("base", "enhanced", "empty", "shuffled"),
    model: str = "SASRec",
    dataset: str = "toy",
    items: int = 300,
) -> list[RunResult]:
    """One run per arm × seed; ``lift`` is the share of users whose rank the enhanced arm divides by four."""
    runs = []
    for seed in seeds:
        generator = np.random.default_rng([seed, users])
        base = np.ceil(items * generator.random(users) ** 3).clip(1)
        lucky = generator.random(users) < lift
        for place, arm in enumerate(arms):
            ranks = base.copy()
            if arm == "enhanced":
                ranks[lucky] = np.ceil(ranks[lucky] / 4)
            elif arm not in ("base", "empty"):
                jitter = np.random.default_rng([seed, place]).integers(-2, 3, users)
                ranks = (ranks + jitter).clip(1)
            curve = [
                (epoch, 2.0 * epoch, 5.0 / epoch, 0.05 + 0.01 * min(epoch, 6) + 0.005 * place)
                for epoch in range(1, 9)
            ]
            runs.append(
                RunResult(
                    arm=arm,
                    model=model,
                    dataset=dataset,
                    seed=seed,
                    user_ids=tuple(f"u{index}" for index in range(users)),
                    ranks=ranks,
                    other_ranks=(ranks - 1).clip(1),
                    curve=tuple(curve),
                    seconds=16.0 + place,
                    parameters=1000 + 100 * place,
                    epochs=8,
                    best_epoch=6,
                )
            )
    return runs


@pytest.fixture
def draw_runs() -> Draw:
    return drawn_runs


@pytest.fixture
def environment() -> Environment:
    return Environment(
        versions={"llmrg": "0.1.0", "numpy": "2.0"},
        cores=2,
        device="Acme Accelerator 3",
        datasets={"toy": {"users": 200, "items": 300, "interactions": 4000}},
        command="llmrg compare SASRec toy",
        fingerprints={"graphs": "b2:0123"},
        notes=("Toy data: nothing follows from it.",),
    )


@pytest.fixture
def costs() -> list[GenerationCost]:
    return [GenerationCost(reasoner="embedded", requests=1234, cached=34, seconds=12.5, dataset="toy")]
