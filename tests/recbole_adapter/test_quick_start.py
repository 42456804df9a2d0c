"""RecBole's own quick start after ``llmrg.register()``, and ours in front of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from planted_data import PlantedData

from llmrg.errors import ModelError, StoreError
from llmrg.recbole_adapter import quick_start
from llmrg.recbole_adapter.compatibility import trusting_pickles

PROGRAM = """
import json, pathlib, sys
import llmrg

llmrg.register()
from recbole.quick_start import load_data_and_model, run_recbole

from llmrg.config_files import shipped_configs
from llmrg.errors import StoreError
from llmrg.recbole_adapter import quick_start
from llmrg.recbole_adapter.compatibility import trusting_pickles

settings = json.loads(sys.argv.pop())
files = [str(path) for path in shipped_configs("SASRec", "sequential")]
theirs = run_recbole(model="SASRecLLMRG", dataset="planted", config_file_list=files, config_dict=settings)
ours = quick_start.run_recbole("SASRecLLMRG", "planted", config_dict=settings)
assert theirs["test_result"] == ours["test_result"], (theirs, ours)
quick_start.run_recbole("CL4SRec", "planted", config_dict=settings)
file = next(pathlib.Path("saved").glob("SASRecLLMRG*.pth"))
with trusting_pickles():
    config, model, *_ = load_data_and_model(str(file))
assert type(model).__name__ == "SASRecLLMRG" and model.graphs is not None
again = quick_start.load_data_and_model(file, trusted=True)[1]
assert all((again.state_dict()[name] == value).all() for name, value in model.state_dict().items())
try:
    quick_start.load_data_and_model(file)
except StoreError as error:
    assert "trusted=True" in str(error) and "torch<2.6" in str(error)
print("DONE")
"""


def test_recboles_quick_start_runs_an_enhanced_model_and_loads_it_again(
    planted: PlantedData, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="recbole.quick_start needs ray")
    settings = {**planted.overrides("SASRec"), "epochs": 1, "checkpoint_dir": "saved"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(settings)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.endswith("DONE\n"), done.stderr[-3000:]


@pytest.mark.parametrize("absent", ["ray", "recbole.quick_start"])
def test_what_the_environment_lacks_is_said_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("recbole.quick_start")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ModelError, match=r"pip install 'ray==2\.6\.3' 'setuptools<81'"):
        quick_start.run_recbole("SASRecLLMRG", "planted")


def test_pickles_are_trusted_for_the_length_of_a_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    monkeypatch.delenv(name, raising=False)
    with trusting_pickles():
        assert os.environ[name] == "1"
    assert name not in os.environ
    monkeypatch.setenv(name, "0")
    with pytest.raises(StoreError), trusting_pickles():
        raise StoreError("a failure inside")
    assert os.environ[name] == "0"
