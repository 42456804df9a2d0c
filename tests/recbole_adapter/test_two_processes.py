"""RecBole's distributed training with an enhanced model: two processes on one machine, over gloo.

RecBole 1.2 itself asks for NVIDIA devices: ``Config._init_device`` names the backend ``nccl`` and a ``cuda`` device,
and ``AbstractTrainer`` gives ``DistributedDataParallel`` a ``device_ids``. The three lines that would let it run on
processors are put in place from outside (``on_processors`` below); everything else is RecBole's own, and so it shows
that an enhanced model needs nothing more than its base model does.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from planted_data import PlantedData

PROCESSES = 2
PROGRAM = """
import functools, hashlib, json, sys
import torch
from llmrg.recbole_adapter.compatibility import argv_hidden, host_ready
from llmrg.recbole_adapter.configuration import default_files
from llmrg.recbole_adapter.dataset import PrefixDataset
from llmrg.recbole_adapter.registration import register

settings = json.loads(sys.argv.pop())
host_ready()
register()
from recbole.config import Config
from recbole.data import data_preparation
from recbole.trainer import trainer as host
from recbole.utils import get_model, init_seed


def on_processors(settings):
    start = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda backend, **rest: start(backend="gloo", **rest)
    torch.cuda.set_device = lambda rank: None
    parallel = host.DistributedDataParallel
    host.DistributedDataParallel = lambda model, device_ids: parallel(model)
    with argv_hidden():
        files = [str(path) for path in default_files("SASRec", "planted")]
        config = Config("SASRecLLMRG", "planted", config_file_list=files, config_dict=settings)
    config["device"] = torch.device("cpu")
    return config


config = on_processors(settings)
assert torch.distributed.get_world_size() == 2 and not config["single_spec"]
data = PrefixDataset(config)
train, valid, test = data_preparation(config, data)
init_seed(config["seed"] + config["local_rank"], True)  # other weights in each process, until DDP makes them one
model = get_model("SASRecLLMRG")(config, train._dataset)
trainer = host.Trainer(config, model)
before = {name: value.clone() for name, value in model.state_dict().items()}
rows = []
inner = model.calculate_loss
model.calculate_loss = lambda batch: (rows.append(len(batch)), inner(batch))[1]
score, _ = trainer.fit(train, valid, saved=False, verbose=False)
result = trainer.evaluate(test, load_best_model=False)
moved = sorted(name for name, value in model.state_dict().items() if not torch.equal(value, before[name]))
digest = hashlib.blake2b()
for name, value in sorted(model.state_dict().items()):
    digest.update(name.encode() + value.numpy().tobytes())
told = {"weights": digest.hexdigest(), "moved": moved, "rows": sum(rows), "all_rows": train.sample_size}
print("TOLD " + json.dumps({**told, "result": result, "graphs": model.graphs is not None}))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_recboles_distributed_training_takes_an_enhanced_model(planted: PlantedData, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"nproc": PROCESSES, "world_size": PROCESSES, "ip": "127.0.0.1", "port": port, "offset": 0}
    overrides = planted.overrides("SASRec")
    (tmp_path / "saved").mkdir()  # RecBole's processes look whether it is there, and then both make it
    ranks = []
    for rank in range(PROCESSES):
        settings = {**overrides, **shared, "local_rank": rank, "gpu_id": "0,1", "epochs": 1}
        settings["llmrg"] = {**overrides["llmrg"], "training": {"path": "expanded"}}
        ranks.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(settings)],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
    told = []
    for process in ranks:
        out, words = process.communicate(timeout=120)
        assert process.returncode == 0, words[-3000:]
        told.append(json.loads(out.split("TOLD ", 1)[1]))
    first, second = told
    assert first["graphs"]
    assert first["weights"] == second["weights"]  # one model
    assert first["result"] == second["result"]
    assert first["rows"] == second["rows"] < first["all_rows"] < first["rows"] + second["rows"] + PROCESSES
    learnt = [name for name in first["moved"] if "graph" in name or "pointer" in name or "divergent" in name]
    assert learnt, first["moved"]
