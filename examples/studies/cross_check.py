"""Is our base model as strong as somebody else's? RecTools' SASRec on exactly our split, targets and ranking.

Run (in an environment of its own: RecTools holds NumPy under 2):

    python -m venv rectools-venv && rectools-venv/bin/pip install -e . torch==2.13.0 'rectools[torch]==0.19.0'
    rectools-venv/bin/python examples/studies/cross_check.py amazon-beauty --seeds 2020,2021,2022

Only the split comes from llmrg: each user's training items, validation and test target. Model, loss, optimiser,
batches and the ranking of all items are RecTools' own. Whether seen items compete is as in the study's results, so
that both rows are of one protocol. Length 50, width 64, two blocks, two heads, dropout .5 and softmax over all items
are those of ``recbole_configs/SASRec.yaml``; ``--dropout`` is for a study that sets another one. The epoch is chosen
on validation NDCG@10, as in ours. What differs: RecTools trains on the newest 51 training items of a user only (which
matters for MovieLens, not for Beauty), its batches count users, its feed-forward layers are as wide as the model and
use ReLU, and items that no training sequence holds are never recommended (they count as misses; how many is printed).
Its loss is over all items, where a study may take a sample.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from llmrg.cli.options import split_numbers
from llmrg.evaluation.report import REPORT_FILE, read_report
from llmrg.recbole_adapter.training import HeldOut, held_out, prepare

STUDIES = Path(__file__).resolve().parent
K = 10
METRICS = ("hr@10", "ndcg@10")
LENGTH, WIDTH, BLOCKS, HEADS = 50, 64, 2, 2


@dataclass(frozen=True)
class Split:
    """Our split: the training part as a table, and the targets of both other parts."""

    train: pd.DataFrame
    valid: HeldOut
    test: HeldOut


def read_split(dataset: str, data_path: Path | None, max_users: int | None) -> Split:
    """The split that ``llmrg compare`` trains and evaluates on; items are RecBole's internal ids."""
    overrides: dict[str, Any] = {} if data_path is None else {"data_path": str(data_path)}
    if max_users is not None:
        overrides["llmrg"] = {"training": {"max_users": max_users}}
    prepared = prepare("SASRec", dataset, overrides=overrides)
    tokens = prepared.dataset.field2id_token[prepared.dataset.uid_field]
    users = [str(tokens[user]) for user in prepared.dataset.history_user]
    return Split(
        train=as_table(users, prepared.train_sequences()),
        valid=held_out(prepared, "valid"),
        test=held_out(prepared, "test"),
    )


def as_table(users: list[str], sequences: list[Any]) -> pd.DataFrame:
    """Sequences as RecTools reads them: one row an interaction, ordered by a clock that ticks once a step."""
    lengths = [len(sequence) for sequence in sequences]
    steps = np.concatenate([np.arange(length) for length in lengths])
    return pd.DataFrame(
        {
            "user_id": np.repeat(users, lengths),
            "item_id": np.concatenate(sequences),
            "weight": 1.0,
            "datetime": pd.Timestamp("2000-01-01") + pd.to_timedelta(steps, unit="s"),
        }
    )


def top_k_metrics(model: Any, part: HeldOut, *, leave_out_seen: bool = False) -> dict[str, float]:
    """HR@10 and NDCG@10 of the part's targets, each from everything its user had before."""
    from rectools.dataset import Dataset

    context = Dataset.construct(as_table(part.user_ids, part.histories))
    shown = model.recommend(
        users=np.array(part.user_ids),
        dataset=context,
        k=K,
        filter_viewed=leave_out_seen,
        on_unsupported_targets="ignore",
    )
    return metrics_of(shown, part)


def metrics_of(shown: pd.DataFrame, part: HeldOut) -> dict[str, float]:
    """HR@10 and NDCG@10 of lists with the columns user_id, item_id and rank; a user without a list is a miss."""
    targets = pd.DataFrame({"user_id": part.user_ids, "item_id": part.targets})
    ranks = targets.merge(shown, on=["user_id", "item_id"])["rank"].to_numpy()
    users = len(part.targets)
    return {"hr@10": len(ranks) / users, "ndcg@10": float((1 / np.log2(ranks + 1)).sum()) / users}


def train(split: Split, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One run: train until validation stops improving, test the best epoch."""
    import pytorch_lightning
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # it sets its own level when imported
    pytorch_lightning.seed_everything(seed, verbose=False)
    model = SASRecModel(
        n_blocks=BLOCKS,
        n_heads=HEADS,
        n_factors=WIDTH,
        dropout_rate=given.dropout,
        session_max_len=given.length,
        loss="softmax",
        lr=given.learning_rate,
        batch_size=given.batch_size,
        epochs=1,
        deterministic=given.device == "cpu",
        recommend_torch_device=given.device,
        get_trainer_func=_trainer,
        get_trainer_func_kwargs={"device": given.device},
    )
    data = Dataset.construct(split.train)
    best: dict[str, Any] = {"score": -1.0, "epoch": 0, "weights": None}
    started = time.perf_counter()
    for epoch in range(1, given.epochs + 1):
        model.fit_partial(data, min_epochs=1, max_epochs=1)
        score = top_k_metrics(model, split.valid, leave_out_seen=given.leave_out_seen)["ndcg@10"]
        print(
            f"seed {seed}, epoch {epoch}: validation NDCG@10 {score:.4f}, {time.perf_counter() - started:.0f} s"
        )
        if score > best["score"]:
            best = {"score": score, "epoch": epoch, "weights": copy.deepcopy(model.torch_model.state_dict())}
        if epoch - best["epoch"] > given.stopping_step:  # as RecBole counts
            break
    model.torch_model.load_state_dict(best["weights"])
    seconds = time.perf_counter() - started
    tested = top_k_metrics(model, split.test, leave_out_seen=given.leave_out_seen)
    return {"seed": seed, **tested, "best_epoch": best["epoch"], "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("--data-path", type=Path, help="folder of data sets; default $LLMRG_DATA")
    parser.add_argument("--seeds", default="2020")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument(
        "--stopping-step", type=int, default=5, help="epochs without a better validation NDCG@10"
    )
    parser.add_argument("--batch-size", type=int, default=128, help="users")
    parser.add_argument(
        "--length", type=int, default=LENGTH, help="newest items read; every window is padded to it"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument(
        "--leave-out-seen",
        action=argparse.BooleanOptionalAction,
        help="items of the history do not compete; default: as in the report it is compared with, else they do",
    )
    parser.add_argument("--max-users", type=int, help="for a quick try")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--ours", type=Path, help="folder of the report to compare with; default: that of the study"
    )
    parser.add_argument(
        "--out", type=Path, help="write the figures as JSON, such as results/cross_check.json"
    )
    given = parser.parse_args()
    try:
        from rectools import __version__
    except ImportError as error:
        raise SystemExit(f"{error}; run: pip install 'rectools[torch]==0.19.0'") from error
    warnings.simplefilter("ignore")
    seeds = split_numbers(given.seeds, "--seeds")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)

    folder = given.ours or STUDIES / given.dataset / "results"
    ours = read_report(folder, ranks=False) if given.ours or (folder / REPORT_FILE).is_file() else None
    left_out = ours is not None and not ours.runs[0].keep_seen
    rows = [] if ours is None else [ours.row(given.dataset, "SASRec", "base", metric) for metric in METRICS]
    if given.leave_out_seen is None:
        given.leave_out_seen = left_out
    split = read_split(given.dataset, given.data_path, given.max_users)
    unknown = int((~np.isin(split.test.targets, split.train["item_id"])).sum())
    print(f"{len(split.test.targets)} users; {unknown} test targets are in no training sequence")
    runs = [train(split, seed, given) for seed in seeds]
    name = f"RecTools {__version__} SASRec"
    print("\n| implementation | seeds | HR@10 | NDCG@10 | best epochs |\n|---|---:|---:|---:|---|")
    means = [f"{np.mean([run[metric] for run in runs]):.4f}" for metric in METRICS]
    print(f"| {name} | {len(runs)} | " + " | ".join(means) + f" | {[run['best_epoch'] for run in runs]} |")
    if rows and given.max_users is None and given.leave_out_seen == left_out:
        figures = " | ".join(f"{row.mean:.4f}" for row in rows)
        print(f"| llmrg, arm base | {len(rows[0].seeds)} | {figures} | |")
    if given.out is not None:
        facts = {"implementation": name, "torch": torch.__version__, "dataset": given.dataset}
        names = ("length", "epochs", "stopping_step", "batch_size", "learning_rate", "dropout")
        names += ("max_users", "device", "leave_out_seen")
        document = {**facts, "settings": {name: getattr(given, name) for name in names}, "runs": runs}
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _trainer(device: str) -> Any:
    from pytorch_lightning import Trainer

    return Trainer(
        max_epochs=1,
        min_epochs=1,
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        deterministic=device == "cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


if __name__ == "__main__":
    main()
