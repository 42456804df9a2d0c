"""Is our base model as strong as stock RecBole's? The same class, trained and tested by RecBole alone.

Run, on a GPU (on two cores an epoch of ml-1m takes more than half an hour):

    python examples/studies/stock_recbole.py ml-1m --config examples/studies/ml-1m/study.yaml --minutes 20

Data set, loaders, trainer, early stopping and evaluation are RecBole's own: every prefix of a history is a row of
its newest ``MAX_ITEM_LIST_LENGTH`` items, the loss is over all items, seen items compete. The settings are those of
``recbole_configs/``, of ``--config`` and of ``--set``, but for what stands under ``llmrg:``, which RecBole does not
read. Beside RecBole's own figures stand those of the same weights under llmrg's ranking: with seen items kept, which
must be the same but for RecBole's rounding, and with seen items left out.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch

from llmrg.cli.options import gather_overrides, split_numbers
from llmrg.evaluation.metrics import mean_of
from llmrg.recbole_adapter.compatibility import host_ready, without_tensorboard
from llmrg.recbole_adapter.configuration import build_config
from llmrg.recbole_adapter.ranking import rank_targets
from llmrg.recbole_adapter.training import device_name, prepare

METRICS = ("hr@10", "ndcg@10")


class _TimeUpError(Exception):
    """The time that was given is used up."""


def train(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One run: train until validation stops improving, or time is up; test the best epoch."""
    host_ready()
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    asked = gather_overrides(given.set, seed=seed, data_path=given.data_path)
    config = build_config(given.model, given.dataset, config_files=given.config, overrides=asked)
    loaded = create_dataset(config)
    rows, valid, test = data_preparation(config, loaded)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, rows.dataset).to(config["device"])
    with without_tensorboard():
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    torch.autograd.set_detect_anomaly(False)  # RecBole's models switch it on when imported
    best: dict[str, Any] = {"score": -1.0, "epoch": 0, "weights": None}
    curve: list[float] = []
    started = time.perf_counter()

    def after_epoch(epoch: int, score: float) -> None:
        curve.append(score)
        seconds = time.perf_counter() - started
        print(f"seed {seed}, epoch {epoch + 1}: validation {score:.4f}, {seconds:.0f} s", flush=True)
        if score > best["score"]:
            best.update(score=score, epoch=epoch + 1, weights=copy.deepcopy(model.state_dict()))
        if given.minutes is not None and seconds > 60 * given.minutes:
            raise _TimeUpError

    complete = True
    try:
        trainer.fit(rows, valid, saved=False, verbose=False, callback_fn=after_epoch)
    except _TimeUpError:
        complete = False
    seconds = time.perf_counter() - started
    if best["weights"] is None:
        raise SystemExit(
            f"seed {seed}: no epoch was validated with a score that is a number (eval_step, learning_rate)"
        )
    model.load_state_dict(best["weights"])
    own = trainer.evaluate(test, load_best_model=False)
    ours = prepare(given.model, given.dataset, config_files=given.config, overrides=asked)
    twin = ours.new_model()
    twin.load_state_dict(best["weights"])
    _, ranks = rank_targets(twin, ours.test)
    return {
        "seed": seed,
        "hr@10": float(own["hit@10"]),
        "ndcg@10": float(own["ndcg@10"]),
        "ranked by llmrg, seen kept": {metric: mean_of(metric, ranks.of(True)) for metric in METRICS},
        "ranked by llmrg, seen left out": {metric: mean_of(metric, ranks.of(False)) for metric in METRICS},
        "best_epoch": best["epoch"],
        "epochs": len(curve),
        "stopped early": complete,
        "validation": [round(score, 4) for score in curve],
        "seconds": seconds,
        "device": device_name(config),
    }


def write(given: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """What is known so far, as JSON: the next seed may take an hour."""
    facts = {
        "implementation": f"RecBole's own {given.model}",
        "torch": torch.__version__,
        "dataset": given.dataset,
    }
    asked = {"config": given.config, "set": given.set, "minutes": given.minutes}
    given.out.write_text(
        json.dumps({**facts, "settings": asked, "runs": runs}, indent=1) + "\n", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("--model", default="SASRec", help="a sequential model of RecBole's")
    parser.add_argument("--data-path", type=Path, help="folder of data sets; default $LLMRG_DATA")
    parser.add_argument(
        "--config", action="append", default=[], help="settings beside recbole_configs/; may be repeated"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated"
    )
    parser.add_argument("--seeds", default="2020")
    parser.add_argument(
        "--minutes", type=float, help="stop training after so many, wherever it is; default: when it ends"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    seeds = split_numbers(given.seeds, "--seeds")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    for seed in seeds:
        runs.append(train(given, seed))
        if given.out is not None:
            write(given, runs)
    print("\n| seed | seen items | HR@10 | NDCG@10 | epochs (best) |\n|---|---|---:|---:|---|")
    for run in runs:
        epochs = f"{run['epochs']} ({run['best_epoch']})" + ("" if run["stopped early"] else ", time was up")
        kept, left_out = run["ranked by llmrg, seen kept"], run["ranked by llmrg, seen left out"]
        print(f"| {run['seed']} | kept, by RecBole | {run['hr@10']:.4f} | {run['ndcg@10']:.4f} | {epochs} |")
        for words, found in (("kept", kept), ("left out", left_out)):
            print(f"| {run['seed']} | {words} | {found['hr@10']:.4f} | {found['ndcg@10']:.4f} | |")


if __name__ == "__main__":
    main()
