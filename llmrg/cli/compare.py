"""``llmrg compare``: base, enhanced and control arms, trained under one protocol and reported together.

Promise: settings are checked before anything slow starts, the plan is said before it runs, what is finished is never
trained again, and the last line says where the report lies.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.comparison_step import (
    Choice,
    make_sources,
    read_jobs,
    say_forecast,
    say_plan,
    show_end,
    show_epoch,
    split_overrides,
)
from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    Epochs,
    GraphFolder,
    MaxUsers,
    SetValues,
    gather_overrides,
    split_numbers,
    split_words,
)
from llmrg.cli.screen import Screen, duration, open_screen
from llmrg.cli.stores import try_folder, writing_into
from llmrg.fingerprint import fingerprint

if TYPE_CHECKING:
    from llmrg.evaluation.report import ReportPaths
    from llmrg.evaluation.results import ComparisonReport
    from llmrg.experiment.archive import RunArchive
    from llmrg.experiment.comparison import Design

DEFAULT_ARMS = "base,enhanced,empty,shuffled"
RUNS = Path("runs")
FINISHED = RUNS / "finished"


def compare(
    context: typer.Context,
    models: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[,MODEL]", help="Base models, such as SASRec,GRU4Rec.", show_default=False
        ),
    ],
    datasets: Annotated[
        str,
        typer.Argument(
            metavar="DATASET[,DATASET]", help="Data sets; ml-100k needs no download.", show_default=False
        ),
    ],
    arms: Annotated[
        str,
        typer.Option(
            "--arms",
            metavar="ARM[,ARM]",
            help="Of base, enhanced, and the controls empty, sequence, text, shuffled, rewired, unverified, "
            "no-divergent, neighbours, no-pointer, wider; or all.",
        ),
    ] = DEFAULT_ARMS,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N[,N]", help="One run of every arm for each.")
    ] = "2020",
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="leave-one-out, or global-time: one moment for all users, needs times of a clock; default: as "
            "the settings say, which is leave-one-out where they say nothing.",
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            "--trials",
            metavar="N",
            min=0,
            help="Search N settings for base and N for enhanced first, on validation; 0: as given.",
        ),
    ] = 0,
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
    finished: Annotated[
        Path,
        typer.Option(
            "--finished", metavar="DIR", help="Folder of finished runs, reused where nothing changed."
        ),
    ] = FINISHED,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "--workers",
            metavar="N",
            min=1,
            help="Runs at a time, and processes that make graphs before; default: one a core.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads of each run.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train with and without graphs, with controls, and report.

    Graphs are made first where an arm reads them, or reused where nothing changed, and so is every finished run:
    an interrupted comparison goes on where it was. Every arm shares data, settings, seeds and stopping rule; all
    items are ranked; differences are tested per user.

    \b
    Example:
      llmrg compare SASRec ml-100k --max-users 200 --epochs 5
      llmrg compare SASRec,GRU4Rec ml-100k --arms all --seeds 2020,2021,2022 --trials 10
      llmrg compare SASRec ml-100k --split global-time --arms base,enhanced,neighbours
    """
    with open_screen(as_json) as screen:
        from llmrg.experiment.archive import RunArchive
        from llmrg.experiment.comparison import Design

        try_folder(out)
        choice = Choice.of(
            split_words(models, "MODEL"),
            split_words(datasets, "DATASET"),
            split_words(arms, "--arms"),
            split_numbers(seeds, "--seeds"),
            trials,
        )
        given = gather_overrides(set_, data_path=data_path, max_users=max_users, epochs=epochs)
        overrides = split_overrides(split, given)
        files = config or []
        most_epochs = choice.check(files, overrides)
        jobs = read_jobs(choice, files, overrides, folder)
        archive = RunArchive(finished)
        with writing_into(finished, "--finished"):
            archive.begin()
        say_plan(screen, choice, jobs, most_epochs)
        sources, made = make_sources(screen, choice, jobs, processes)
        design = Design(
            models=choice.models,
            sources=sources,
            arms=choice.arms,
            seeds=choice.seeds,
            config_files=files,
            overrides=overrides,
            processes=processes,
            threads=threads,
        )
        say_forecast(screen, choice, design, archive)
        started = time.monotonic()
        command = shlex.join(["llmrg", *(context.obj or ())])
        report = _train(screen, design, choice.trials, archive, most_epochs, command)
        seconds = time.monotonic() - started
        paths = _write(report, out or _new_folder(report, choice), choice, files, overrides)
        _show(screen, report, paths, f"done in {duration(seconds)}")
        screen.document(
            {
                **choice.document(),
                "protocol": list(report.environment.protocol),
                "seconds": seconds,
                "generation": {name: one.document() for name, one in made.items()},
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


def _train(
    screen: Screen, design: Design, trials: int, archive: RunArchive, epochs: int, command: str
) -> ComparisonReport:
    """The search, if one was asked for, and all runs, with one bar each."""
    from llmrg.experiment.comparison import carry_out
    from llmrg.experiment.search import search

    with screen.progress() as bars:

        def tell(entry: Any) -> None:
            show_end(bars, entry, epochs)

        def follow(progress: Any) -> None:
            show_epoch(bars, progress)

        winners, tried = (
            search(design, trials, archive=archive, progress=follow, finished=tell) if trials else ({}, ())
        )
        return carry_out(
            design,
            winners=winners,
            trials=tried,
            archive=archive,
            command=command,
            progress=follow,
            finished=tell,
        )


def _write(
    report: ComparisonReport, out: Path, choice: Choice, files: Sequence[Path], overrides: dict[str, Any]
) -> ReportPaths:
    from llmrg.config_files import read_yaml
    from llmrg.evaluation.report import write_report

    paths = write_report(report, out)
    document = {
        **choice.document(),
        "config_files": {str(path): read_yaml(path) for path in files},
        "overrides": overrides,
    }
    (out / "config.json").write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
    return paths


def _show(screen: Screen, report: ComparisonReport, paths: ReportPaths, took: str) -> None:
    from llmrg.evaluation.report import terminal_view

    screen.show(terminal_view(report))
    screen.line()
    screen.line(f"{took}; figures in {paths.json}, text in {paths.markdown}")
    screen.line(f"report: {paths.html}")


def _new_folder(report: ComparisonReport, choice: Choice) -> Path:
    digest = fingerprint(
        [choice.document(), dict(report.environment.fingerprints), report.environment.command]
    )
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return RUNS / f"{moment}-{digest.partition(':')[2][:8]}"


def _means(report: ComparisonReport) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Data set → model → arm → metric → mean over users and seeds."""
    means: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for row in report.rows:
        by_model = means.setdefault(row.dataset, {})
        by_model.setdefault(row.model, {}).setdefault(row.arm, {})[row.metric] = row.mean
    return means
