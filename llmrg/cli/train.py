"""``llmrg train``: one model, base or enhanced, trained, ranked and (if asked) saved.

Promise: an enhanced model gets graphs made for exactly its data; the figures are those of the epoch that
validation chose, on the test part, all items ranked (``llmrg.evaluation.keep_seen=false``: all not seen before).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.generation_step import make_with_progress
from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    DatasetName,
    Epochs,
    GraphFolder,
    GraphProcesses,
    MaxUsers,
    SetValues,
    gather_overrides,
    refuse_without_enhanced_form,
)
from llmrg.cli.screen import Bars, Screen, duration, open_screen, table_of
from llmrg.cli.stores import try_folder
from llmrg.errors import SettingsError

if TYPE_CHECKING:
    from llmrg.recbole_adapter.training import EpochProgress, Trained

CURVE_SHOWN = 12


def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="SASRec, GRU4Rec …, or enhanced: SASRecLLMRG, GRU4RecLLMRG.",
            show_default=False,
        ),
    ],
    dataset: DatasetName,
    epochs: Epochs = None,
    max_users: MaxUsers = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Default: RecBole's (2020).")
    ] = None,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    folder: GraphFolder = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Save a checkpoint (safetensors and JSON) here."),
    ] = None,
    processes: GraphProcesses = None,
    as_json: AsJson = False,
) -> None:
    """Train one model, base or enhanced, and test it.

    Every user's test item is ranked among all items (llmrg.evaluation.keep_seen=false: among those not seen
    before). The name of an enhanced model ends in LLMRG; its graphs are made first, or reused where nothing changed.

    \b
    Example:
      llmrg train SASRec ml-100k --max-users 200 --epochs 5
      llmrg train SASRecLLMRG ml-100k --epochs 20 --out checkpoints/sasrec --json
    """
    with open_screen(as_json) as screen:
        from llmrg.evaluation.metrics import METRICS, mean_of
        from llmrg.recbole_adapter.checkpoint import save_checkpoint
        from llmrg.recbole_adapter.training import fit, num_parameters, prepare, test_ranks

        try_folder(out)
        overrides = gather_overrides(set_, data_path=data_path, max_users=max_users, epochs=epochs, seed=seed)
        files = config or []
        _with_graphs(screen, model, dataset, files, overrides, folder, processes)
        prepared = prepare(model, dataset, config_files=files, overrides=overrides)
        fresh = prepared.new_model()
        most = int(prepared.config["epochs"])
        screen.note(
            f"training {model} on {dataset}: {num_parameters(fresh)} parameters, at most {most} epochs"
        )
        with screen.progress() as bars:
            trained = fit(prepared, fresh, progress=lambda epoch: _show(bars, model, epoch, most))
            bars.finish(model, most, f"done: {trained.epochs} epochs in {duration(trained.seconds)}")
        if out is not None:  # first of all: what was trained for hours
            save_checkpoint(out, fresh, prepared.config, prepared.train.dataset)
        users, ranks = test_ranks(prepared, fresh)
        metrics = {metric: mean_of(metric, ranks) for metric in METRICS}
        valid_metric = str(prepared.config["valid_metric"])
        _print_curve(screen, trained, valid_metric)
        _print_metrics(screen, metrics, len(users))
        if out is not None:
            screen.line(f"checkpoint: {out}")
        screen.document(
            {
                "model": model,
                "dataset": dataset,
                "seed": int(prepared.config["seed"]),
                "epochs": trained.epochs,
                "best_epoch": trained.best_epoch + 1,
                "seconds": trained.seconds,
                "seconds_per_epoch": trained.seconds_per_epoch,
                "parameters": num_parameters(fresh),
                "users": len(users),
                "metrics": metrics,
                "valid_metric": valid_metric,
                "curve": [
                    {"epoch": e.epoch + 1, "seconds": e.seconds, "loss": _finite(e.loss), "score": e.score}
                    for e in trained.curve
                ],
                "checkpoint": None if out is None else str(out),
            }
        )


def _with_graphs(
    screen: Screen,
    model: str,
    dataset: str,
    files: list[Path],
    overrides: dict[str, Any],
    folder: Path | None,
    processes: int | None,
) -> None:
    """Point an enhanced model to its graphs, unless the settings name some; refuse bad settings and data first.

    Raises:
        SettingsError: options for graphs to be made, where none are made.
    """
    from llmrg.job.assembly import make_unverified
    from llmrg.job.reading import check_data, read_job
    from llmrg.recbole_adapter.configuration import SUFFIX, build_config, settings_of

    enhanced = model.endswith(SUFFIX)
    if enhanced:
        refuse_without_enhanced_form(model.removesuffix(SUFFIX))
    settings = settings_of(build_config(model, dataset, config_files=files, overrides=overrides))
    made_here = enhanced and settings.graphs is None
    if not made_here and (folder is not None or processes is not None):
        making = "--folder and --processes are for graphs that are made here"
        if not enhanced:
            raise SettingsError(f"{making}; {model} reads none, leave them out")
        raise SettingsError(
            f"{making}; llmrg.graphs names some that are there: {settings.graphs}", name="llmrg.graphs"
        )
    rejected_too = settings.control == "unverified"  # which the usual arrays do not hold
    if not made_here:
        if enhanced and rejected_too and not str(settings.graphs).endswith("-unverified"):
            raise SettingsError(
                f"llmrg.control=unverified reads what verification rejected, which {settings.graphs} does not hold: "
                "name arrays-unverified beside it, or leave llmrg.graphs out to have that made",
                name="llmrg.graphs",
            )
        check_data(dataset, config_files=files, overrides=overrides)
        return
    job = read_job(dataset, config_files=files, overrides=overrides, folder=folder)
    make_with_progress(screen, job, processes=processes)
    arrays = job.arrays_path
    if rejected_too:
        with screen.progress() as bars:
            encoded = functools.partial(bars.update, "text vectors")
            arrays = make_unverified(job, notice=screen.note, texts=encoded)
    overrides.setdefault("llmrg", {})["graphs"] = str(arrays)


def _show(bars: Bars, model: str, epoch: EpochProgress, most: int) -> None:
    words = f"loss {epoch.loss:.3f}, validation {epoch.score:.4f}, {epoch.seconds:.1f} s an epoch"
    bars.update(model, epoch.epoch + 1, most, words)


def _print_curve(screen: Screen, trained: Trained, valid_metric: str) -> None:
    table = table_of(("epoch", "seconds", "loss", f"validation {valid_metric}", ""), names=0)
    step = max(1, -(-len(trained.curve) // CURVE_SHOWN))
    for place, epoch in enumerate(trained.curve):
        best = epoch.epoch == trained.best_epoch
        if best or place % step == 0 or place == len(trained.curve) - 1:
            table.add_row(
                str(epoch.epoch + 1),
                f"{epoch.seconds:.1f}",
                f"{epoch.loss:.4f}",
                f"{epoch.score:.4f}",
                "chosen" if best else "",
            )
    screen.show(table)
    screen.line()


def _print_metrics(screen: Screen, metrics: dict[str, float], users: int) -> None:
    from llmrg.evaluation.metrics import CUTOFFS, FAMILIES

    table = table_of((f"test, {users} users", *(f"@{cutoff}" for cutoff in CUTOFFS)))
    for family in FAMILIES:
        table.add_row(family.upper(), *(f"{metrics[f'{family}@{cutoff}']:.4f}" for cutoff in CUTOFFS))
    screen.show(table)


def _finite(value: float) -> float | None:
    # a diverged loss is NaN, which JSON does not know
    return value if abs(value) < float("inf") else None
