"""The benchmark of verification asks about the links that the agent made, and knows which endpoint is hidden."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "reasoning"))
from toy_reasoning import toy_catalog, toy_histories, toy_reasoner, toy_world  # noqa: E402

from llmrg.settings import GenerationSettings  # noqa: E402


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = ROOT / "benchmarks" / "verification_auc.py"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("verification_auc_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_area_is_a_half_without_a_difference_and_ties_count_half(benchmark: ModuleType) -> None:
    assert benchmark.auc([0.5, 0.5], [0.5, 0.5, 0.5]) == 0.5
    assert benchmark.auc([0.9, 0.5], [0.5, 0.1]) == 3.5 / 4
    assert benchmark.auc([0.1], [0.2, 0.3]) == 0


@pytest.mark.parametrize("mode", ["closed", "free"])
def test_every_question_of_the_agent_is_asked_again_with_other_endpoints(
    benchmark: ModuleType, mode: str
) -> None:
    catalog, histories = toy_catalog(), toy_histories()
    reasoner = toy_reasoner(histories, catalog)
    world = toy_world(reasoner, catalog)
    settings = GenerationSettings(distractors=5, verification=mode)
    found = benchmark.Gathered()
    for history in histories[:10]:
        train = benchmark.dataclasses.replace(history, item_ids=history.train_item_ids, timestamps=())
        questions = benchmark.questions_of(train, world, reasoner, settings)
        assert [asked.shown.end for asked in questions] == [5, 10, 12]
        listener = benchmark.Listener(history, world, reasoner, random.Random(1))
        before = len(found.true)
        for asked in questions:
            listener.gather(asked, settings, found)
        # the agent's own scores of the same claims, written into its thoughts
        own = [t.score for asked in questions for t in asked.thoughts if t.sources]
        assert sorted(found.true[before:]) == sorted(own)
    assert len(found.true) > 30
    for draw in benchmark.DRAWS:
        assert len(found.true) * 0.5 < len(found.swapped[draw]) <= len(found.true)
    assert sum(len(window) for window in found.windows) > 100
    figures = benchmark.figures_of({mode: found})
    assert figures[f"auc_{mode}"] > 0.6
    assert figures[f"kept_{mode}_tau_0.1"] >= figures[f"kept_{mode}_tau_0.8"]
