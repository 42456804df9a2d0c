"""``llmrg batch``: the reasoning graphs of a data set by files that somebody else answers.

Promise: ``export`` and ``ingest`` open no connection; each step may be killed and done again, and says what is next.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.batch_words import ended_facts, export_facts, ingested_facts, kept_facts
from llmrg.cli.generation_step import make_with_progress
from llmrg.cli.options import (
    AsJson,
    BaseUrl,
    BudgetUsd,
    ConfigFiles,
    DataPath,
    DatasetName,
    GraphFolder,
    LocalOnly,
    MaxCalls,
    MaxTokens,
    MaxUsers,
    ModelName,
    SetValues,
    gather_graph_overrides,
)
from llmrg.cli.screen import Screen, open_screen
from llmrg.errors import DataError, SettingsError

if TYPE_CHECKING:
    from llmrg.reasoners.batch_files import Ingested
    from llmrg.reasoners.budget import BudgetLimits
    from llmrg.settings import LlmrgSettings


class Action(StrEnum):
    """What is done with batch files."""

    EXPORT = "export"
    SUBMIT = "submit"
    POLL = "poll"
    INGEST = "ingest"


def batch(
    action: Annotated[
        Action, typer.Argument(metavar="export|submit|poll|ingest", help="What to do.", show_default=False)
    ],
    dataset: DatasetName,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="ingest: files of answers, in any order.", show_default=False
        ),
    ] = None,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    folder: GraphFolder = None,
    max_users: MaxUsers = None,
    model: ModelName = None,
    base_url: BaseUrl = None,
    local_only: LocalOnly = False,
    budget_usd: BudgetUsd = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    again: Annotated[
        bool, typer.Option("--again", help="export: write also what is out in files nobody will answer.")
    ] = False,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="ingest, poll: take what another model answered.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="poll: look once instead of waiting.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="poll: between two looks.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Make graphs with a language model that answers files.

    export writes what all users of a wave ask next to llmrg-data/DATASET/batches/NNNN.jsonl, in OpenAI's batch format.
    Have it answered: by submit and poll (a host's batch service, about half the price), `vllm run-batch -i FILE -o
    ANSWERS --model NAME`, or a colleague. ingest takes answers in (poll does it by itself); then export again. The last
    export finds every answer and makes the graphs, the very ones that `llmrg generate` makes. Give export the same
    options each time; the others need its folder (--folder, --max-users), submit and poll its endpoint too.

    A wave takes two rounds for each window of its longest history (llmrg.generation.window new items: 40 items are 16
    rounds with 5, and 4 with 20), so bound it: llmrg.generation.max_history. All users in one wave need the fewest
    rounds, but learn nothing from each other: set llmrg.generation.wave to the number of users, or to a tenth of it.

    \b
    Example:
      llmrg batch export ml-100k --model gpt-5-mini --set llmrg.generation.wave=1000
      llmrg batch submit ml-100k && llmrg batch poll ml-100k
      llmrg batch ingest ml-100k answers.jsonl errors.jsonl
    """
    from llmrg.reasoners.budget import BudgetLimits

    limits = BudgetLimits(budget_usd, max_calls, max_tokens)
    _refuse_unless(Action.EXPORT, action, {"--again": again, "a limit": limits != BudgetLimits()})
    _refuse_unless(Action.INGEST, action, {"a file": bool(files)})
    _refuse_unless(Action.POLL, action, {"--once": once})
    if action is not Action.POLL:
        _refuse_unless(Action.INGEST, action, {"--any-model": any_model})
    with open_screen(as_json) as screen:
        overrides = gather_graph_overrides(
            set_,
            data_path=data_path,
            max_users=max_users,
            model=model,
            base_url=base_url,
            local_only=local_only,
        )
        if action is Action.EXPORT:
            _export(screen, dataset, config or [], overrides, folder, limits, again)
            return
        settings, place = _place(dataset, config or [], overrides, folder)
        if action is Action.INGEST:
            _ingest(screen, place, files or [], any_model)
        elif action is Action.SUBMIT:
            _submit(screen, place, settings)
        else:
            _poll(screen, place, settings, once=once, interval=interval, any_model=any_model)


def _refuse_unless(wanted: Action, action: Action, given: dict[str, bool]) -> None:
    for what, is_given in given.items():
        if is_given and action is not wanted:
            raise SettingsError(f"llmrg batch {action.value}: {what} is for `llmrg batch {wanted.value}`")


def _place(
    dataset: str, config: list[Path], overrides: dict[str, Any], folder: Path | None
) -> tuple[LlmrgSettings, Path]:
    """Settings and folder, without reading the data."""
    from llmrg.config_files import merge_configs, shipped_configs
    from llmrg.job.reading import default_folder

    merged = merge_configs([*shipped_configs(dataset, "graph"), *config], overrides)
    return merged.settings, folder or default_folder(dataset, merged)


def _export(
    screen: Screen,
    dataset: str,
    config: list[Path],
    overrides: dict[str, Any],
    folder: Path | None,
    limits: BudgetLimits,
    again: bool,
) -> None:
    from llmrg.job.batch import ExportEndsError, open_batch_job
    from llmrg.job.reading import read_job

    job = read_job(dataset, config_files=config, overrides=overrides, folder=folder)
    if job.settings.language_model.model is None:
        raise SettingsError("batch files are for a language model; name one: --model NAME")
    opened = partial(open_batch_job, job.folder, settings=job.settings, limits=limits, again=again)
    try:
        made = make_with_progress(screen, job, language_job=opened)
    except ExportEndsError as end:
        screen.facts(export_facts(end))
        screen.document(
            {
                "finished": False,
                "files": {str(path): requests for path, requests in end.files.items()},
                "requests": sum(end.files.values()),
                "out": end.out,
                "users": end.users,
                "held_back": end.held_back,
                "assumed": end.assumed,
            }
        )
        return
    report = made.report
    screen.facts(
        {
            "finished": f"{made.graphs} users have graphs, {report.failed} failed",
            "store": str(made.job.store_path),
            "arrays": str(made.job.arrays_path),
        }
    )
    screen.document({"finished": True, **made.document()})


def _ingest(screen: Screen, folder: Path, files: list[Path], any_model: bool) -> None:
    from llmrg.job.batch_exchange import ingest_files, open_files

    if not files:
        raise SettingsError("llmrg batch ingest: expected files of answers, found none")
    found = ingest_files(folder, files, any_model=any_model)
    left = open_files(folder)
    screen.facts(ingested_facts(found, left))
    _tell_examples(screen.line, found)
    if found.lines == found.unusable.total():
        words = "; ".join(f"{count} lines {what}" for what, count in found.unusable.items())
        raise DataError(
            f"expected answers in the batch format, found {words or 'no line'}", path=str(files[0])
        )
    screen.document({**_figures(found), "out": sum(file.out for file in left)})


def _submit(screen: Screen, folder: Path, settings: LlmrgSettings) -> None:
    from llmrg.job.batch_exchange import submit_files

    done = submit_files(folder, settings, notice=screen.note)
    words = f"{len(done)} files handed in" if done else "nothing to hand in"
    screen.facts({"submitted": words, "next": "llmrg batch poll, or export where nothing is out"})
    screen.document({"submitted": [file.name for file in done], "ids": [file.host_id for file in done]})


def _poll(
    screen: Screen, folder: Path, settings: LlmrgSettings, *, once: bool, interval: float, any_model: bool
) -> None:
    from llmrg.job.batch_exchange import open_files, poll_files

    found = poll_files(
        folder,
        settings,
        notice=screen.note,
        wait=not once,
        interval=interval,
        any_model=any_model,
    )
    left = open_files(folder)
    screen.facts({**ended_facts(found), **ingested_facts(found.ingested, left), **kept_facts(found)})
    _tell_examples(screen.line, found.ingested)
    for problem in found.problems:
        screen.line(problem, before="  ")
    screen.document(
        {
            "ended": found.ended,
            "waiting": found.waiting,
            "problems": found.problems,
            "left_alone": found.again,
            "kept": found.kept,
            "kept_in": [str(path) for path in found.kept_in],
            **_figures(found.ingested),
            "out": sum(file.out for file in left),
        }
    )


def _tell_examples(line: Callable[..., None], found: Ingested) -> None:
    for example in found.examples:
        line(example, before="  ")


def _figures(found: Ingested) -> dict[str, Any]:
    return {
        "answered": found.answered,
        "known": found.known,
        "refused": found.refused,
        "again": found.again,
        "unusable": dict(found.unusable),
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "usd": found.usd,
    }
