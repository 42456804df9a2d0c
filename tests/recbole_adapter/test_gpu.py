"""On a GPU: the same training, ranks and recommendations as on the processor, but for the order of sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted_data import BASES, NO_DROPOUT, PlantedData

DETECT = "import torch; print(torch.cuda.is_available())"
PROGRAM = """
import json, sys
from pathlib import Path
from llmrg.evaluation.metrics import mean_of
from llmrg.recbole_adapter.checkpoint import load_model, save_checkpoint
from llmrg.recbole_adapter.scoring import Scorer
from llmrg.recbole_adapter.training import device_name, fit, prepare, test_ranks

model_name, folder, history, overrides = json.loads(sys.argv.pop())
prepared = prepare(model_name, "planted", overrides=overrides)
model = prepared.new_model()
trained = fit(prepared, model)
_, ranks = test_ranks(prepared, model)
scorer = Scorer(load_model(save_checkpoint(Path(folder), model, prepared.config, prepared.train.dataset)))
told = {
    "device": device_name(prepared.config),
    "losses": [epoch.loss for epoch in trained.curve],
    "ndcg": mean_of("ndcg@10", ranks),
    "scores": [float(score) for score in scorer.scores(None, history)[1:]],
}
print("TOLD " + json.dumps(told))
"""


def environment(gpus: str) -> dict[str, str]:
    """This process's, with these GPUs to be seen: none, ``all``, or what CUDA_VISIBLE_DEVICES would say."""
    found = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return found if gpus == "all" else {**found, "CUDA_VISIBLE_DEVICES": gpus}


def output_of(program: str, gpus: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        env=environment(gpus),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def trained(planted: PlantedData, name: str, folder: Path, gpus: str) -> dict[str, Any]:
    overrides = planted.overrides(name) | NO_DROPOUT[name.removesuffix("LLMRG")] | {"epochs": 3}
    overrides["llmrg"]["encoder"] = {"dropout": 0.0}
    wanted = json.dumps([name, str(folder), ["i1", "i2", "i3"], overrides])
    told: dict[str, Any] = json.loads(output_of(PROGRAM, gpus, wanted).split("TOLD ", 1)[1])
    return told


@pytest.fixture(scope="module")
def gpus() -> str:
    """What CUDA_VISIBLE_DEVICES said before the suite hid all."""
    before = os.environ["LLMRG_TEST_GPUS"]
    if output_of(DETECT, before).strip() != "True":
        pytest.skip("torch finds no GPU")
    return before


def agree(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first["losses"] == pytest.approx(second["losses"], rel=2e-3)
    assert first["ndcg"] == pytest.approx(second["ndcg"], abs=0.05)
    assert first["scores"] == pytest.approx(second["scores"], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("suffix", ["", "LLMRG"])
def test_a_gpu_trains_ranks_and_serves_as_the_processor_does(
    planted: PlantedData, tmp_path: Path, gpus: str, base: str, suffix: str
) -> None:
    here = trained(planted, base + suffix, tmp_path / "cpu", "")
    there = trained(planted, base + suffix, tmp_path / "gpu", gpus)
    assert here["device"] == "CPU" != there["device"]
    agree(here, there)


def test_a_gpu_is_hidden_from_all_other_tests(planted: PlantedData, tmp_path: Path) -> None:
    told = trained(planted, "SASRecLLMRG", tmp_path / "cpu", os.environ["CUDA_VISIBLE_DEVICES"])
    assert told["device"] == "CPU"
    assert len(told["losses"]) == 3
    assert told["losses"][-1] < told["losses"][0]
