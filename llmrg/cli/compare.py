"""``llmrg compare``: base, enhanced and control arms, trained under one protocol and reported together.

Promise: settings are checked before anything slow starts, the plan is said before it runs, and the last line
says where the report lies.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.generation_step import MadeGraphs, make_with_progress
from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    DatasetName,
    Epochs,
    GraphFolder,
    MaxUsers,
    SetValues,
    gather_overrides,
    refuse_without_enhanced_form,
    split_numbers,
    split_words,
)
from llmrg.cli.screen import Bars, Screen, duration, open_screen
from llmrg.errors import SettingsError
from llmrg.fingerprint import fingerprint

if TYPE_CHECKING:
    from llmrg.evaluation.results import ComparisonReport
    from llmrg.evaluation.runs import RunResult
    from llmrg.experiment import RunProgress

DEFAULT_ARMS = "base,enhanced,empty,shuffled"
RUNS = Path("runs")


def compare(
    context: typer.Context,
    models: Annotated[
        str, typer.Argument(metavar="MODEL[,MODEL]", help="SASRec, GRU4Rec, or both.", show_default=False)
    ],
    dataset: DatasetName,
    arms: Annotated[
        str,
        typer.Option(
            "--arms",
            metavar="ARM[,ARM]",
            help="Of base, enhanced, and the controls empty, shuffled, neighbours, text, sequence.",
        ),
    ] = DEFAULT_ARMS,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N[,N]", help="One run of every arm for each.")
    ] = "2020",
    epochs: Epochs = None,
    max_users: MaxUsers = None,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    folder: GraphFolder = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the report; default runs/<UTC>-<fingerprint>."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, help="Processes; default: one a core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train with and without graphs, with controls, and report.

    Graphs are made first where an arm reads them, or reused where nothing changed. Every arm shares data,
    settings, seeds and stopping rule; all items are ranked; differences are tested per user.

    \b
    Example:
      llmrg compare SASRec ml-100k --max-users 200 --epochs 5
      llmrg compare SASRec,GRU4Rec ml-100k --arms base,enhanced --seeds 2020,2021,2022
    """
    from llmrg.evaluation.report import terminal_view, write_report

    with open_screen(as_json) as screen:
        chosen = _Choice(
            screen,
            split_words(models, "MODEL"),
            dataset,
            split_words(arms, "--arms"),
            split_numbers(seeds, "--seeds"),
        )
        overrides = gather_overrides(set_, data_path=data_path, max_users=max_users, epochs=epochs)
        files = config or []
        most_epochs = chosen.check(files, overrides)
        made = chosen.graphs(files, overrides, folder)
        cores = os.cpu_count() or 1
        processes = min(workers or cores, chosen.runs)
        screen.note(f"{chosen.plan()}; {processes} at a time, at most {most_epochs} epochs each")
        started = time.monotonic()
        report = chosen.train(
            files,
            overrides,
            made,
            workers=processes,
            epochs=most_epochs,
            command=shlex.join(["llmrg", *(context.obj or ())]),
        )
        seconds = time.monotonic() - started
        out = out or _new_folder(report, chosen)
        paths = write_report(report, out)
        _write_choice(out, chosen, files, overrides)
        screen.show(terminal_view(report))
        screen.line()
        screen.line(
            f"{chosen.runs} runs in {duration(seconds)}; figures in {paths.json}, text in {paths.markdown}"
        )
        screen.line(f"report: {paths.html}")
        screen.document(
            {
                **chosen.document(),
                "seconds": seconds,
                "generation": None if made is None else made.document(),
                "metrics": _means(report),
                "sentences": list(report.sentences),
                "report": {
                    "html": str(paths.html),
                    "json": str(paths.json),
                    "markdown": str(paths.markdown),
                    "ranks": str(paths.ranks),
                },
            }
        )


class _Choice:
    """What is compared with what."""

    def __init__(
        self, screen: Screen, models: Sequence[str], dataset: str, arms: Sequence[str], seeds: Sequence[int]
    ) -> None:
        from llmrg.experiment import ARMS

        for arm in arms:
            if arm not in ARMS:
                raise SettingsError.unknown(arm, ARMS, where="--arms")
        self.screen, self.models, self.dataset, self.arms, self.seeds = screen, models, dataset, arms, seeds
        self.reads_graphs = any(ARMS[arm] is not None for arm in arms)

    @property
    def runs(self) -> int:
        """Models to train."""
        return len(self.models) * len(self.arms) * len(self.seeds)

    def plan(self) -> str:
        """The choice in words."""
        parts = (("model", self.models), ("arm", self.arms), ("seed", self.seeds))
        counts = " × ".join(f"{len(of)} {word}{'' if len(of) == 1 else 's'}" for word, of in parts)
        names = f"{', '.join(self.models)}: {', '.join(self.arms)}"
        return f"{self.runs} run{'' if self.runs == 1 else 's'} ({counts}; {names})"

    def document(self) -> dict[str, Any]:
        """The choice as plain values."""
        return {
            "dataset": self.dataset,
            "models": list(self.models),
            "arms": list(self.arms),
            "seeds": list(self.seeds),
        }

    def check(self, files: Sequence[Path], overrides: dict[str, Any]) -> int:
        """Refuse what cannot be trained, before anything slow; the most epochs a run may take."""
        from llmrg.recbole_adapter.configuration import SUFFIX, build_config
        from llmrg.recbole_adapter.training import enhanced_name

        most = 0
        for model in self.models:
            if model.endswith(SUFFIX):
                base = model.removesuffix(SUFFIX)
                raise SettingsError(f"compare takes base models: {model} is the arm 'enhanced' of {base}")
            if self.reads_graphs:
                refuse_without_enhanced_form(model)
            for name in (model, enhanced_name(model)) if self.reads_graphs else (model,):
                built = build_config(name, self.dataset, config_files=files, overrides=overrides)
                most = max(most, int(built["epochs"]))
        return most

    def graphs(
        self, files: Sequence[Path], overrides: dict[str, Any], folder: Path | None
    ) -> MadeGraphs | None:
        """The graphs that some arm reads, or None."""
        from llmrg.assembly import make_neighbours, read_job
        from llmrg.experiment import NEIGHBOURS

        if not self.reads_graphs:
            return None
        job = read_job(self.dataset, config_files=files, overrides=overrides, folder=folder)
        made = make_with_progress(self.screen, job)
        if NEIGHBOURS in self.arms:
            with self.screen.progress() as bars:
                make_neighbours(
                    job,
                    notice=self.screen.note,
                    texts=lambda done, total: bars.update("text vectors", done, total),
                )
        return made

    def train(
        self,
        files: Sequence[Path],
        overrides: dict[str, Any],
        made: MadeGraphs | None,
        *,
        workers: int,
        epochs: int,
        command: str,
    ) -> ComparisonReport:
        """All runs, with one bar each."""
        from llmrg.experiment import compare as run_comparison

        with self.screen.progress() as bars:
            return run_comparison(
                self.models,
                self.dataset,
                None if made is None else made.job.arrays_path,
                arms=self.arms,
                seeds=self.seeds,
                config_files=files,
                overrides=overrides,
                workers=workers,
                costs=None if made is None else made.cost,
                command=command,
                progress=lambda progress: _show_epoch(bars, progress),
                finished=lambda result: _show_end(bars, result, epochs),
            )


def _show_epoch(bars: Bars, progress: RunProgress) -> None:
    words = f"loss {progress.loss:.3f}, validation {progress.score:.4f}, {progress.seconds:.1f} s an epoch"
    bars.update(progress.run, progress.epoch, progress.epochs, words)


def _show_end(bars: Bars, result: RunResult, epochs: int) -> None:
    from llmrg.evaluation.metrics import mean_of

    name = f"{result.model}/{result.arm}, seed {result.seed}"
    took = f"{result.epochs} epochs (best {result.best_epoch}) in {duration(result.seconds)}"
    bars.finish(name, epochs, f"done: test NDCG@10 {mean_of('ndcg@10', result.ranks):.4f}, {took}")


def _new_folder(report: ComparisonReport, chosen: _Choice) -> Path:
    digest = fingerprint(
        [chosen.document(), dict(report.environment.fingerprints), report.environment.command]
    )
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return RUNS / f"{moment}-{digest.partition(':')[2][:8]}"


def _write_choice(out: Path, chosen: _Choice, files: Sequence[Path], overrides: dict[str, Any]) -> None:
    from llmrg.config_files import read_yaml

    document = {
        **chosen.document(),
        "config_files": {str(path): read_yaml(path) for path in files},
        "overrides": overrides,
    }
    (out / "config.json").write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")


def _means(report: ComparisonReport) -> dict[str, dict[str, dict[str, float]]]:
    """Model → arm → metric → mean over users and seeds."""
    means: dict[str, dict[str, dict[str, float]]] = {}
    for row in report.rows:
        means.setdefault(row.model, {}).setdefault(row.arm, {})[row.metric] = row.mean
    return means
