"""``llmrg generate``: the reasoning graphs of a data set.

Promise: it may be stopped and started at any time; what is there already and unchanged is not made again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from llmrg.cli.generation_step import MadeGraphs, make_with_progress
from llmrg.cli.options import (
    AsJson,
    BaseUrl,
    BudgetUsd,
    ConfigFiles,
    DataPath,
    DatasetName,
    GraphFolder,
    GraphProcesses,
    LocalOnly,
    MaxCalls,
    MaxTokens,
    MaxUsers,
    ModelName,
    Pilot,
    Scheduler,
    SetValues,
    gather_graph_overrides,
)
from llmrg.cli.reuse_words import reuse_document, reuse_rows
from llmrg.cli.screen import Screen, duration, open_screen
from llmrg.errors import GraphError, SettingsError

if TYPE_CHECKING:
    from llmrg.job.assembly import LanguageJob
    from llmrg.job.reading import GraphJob
    from llmrg.reasoners.budget import BudgetLimits

DRY_RUN_FILE = "dry-run.jsonl"


def generate(
    dataset: DatasetName,
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
    pilot: Pilot = None,
    scheduler: Scheduler = None,
    processes: GraphProcesses = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; write what would be sent next to a file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the reasoning graphs of a data set.

    The embedded reasoner makes them (no model, no key), or with --model a language model. Users are worked on in
    waves; an interrupted run goes on where it stopped, and a second run makes only what changed. A user who fails
    stops nobody else and is recorded with the wave (see `llmrg status`), so not where a --pilot ends within one.

    A language model is asked within the limits given; at a limit the run ends with exit code 2, keeps what is
    paid for, and goes on when it is started again with a higher one. Its key comes from the environment alone: with
    --scheduler from that of each worker, which does the calls and nothing else.

    \b
    Example:
      llmrg generate ml-100k --max-users 100
      llmrg generate ml-100k --set llmrg.generation.window=1 --folder graphs/one-by-one
      llmrg generate ml-100k --model gpt-5-mini --pilot 20 --budget-usd 1
      llmrg generate ml-100k --model qwen3:4b --base-url http://localhost:11434/v1 --local-only
    """
    from llmrg.job.reading import read_job
    from llmrg.reasoners.budget import BudgetLimits

    with open_screen(as_json) as screen:
        overrides = gather_graph_overrides(
            set_,
            data_path=data_path,
            max_users=max_users,
            model=model,
            base_url=base_url,
            local_only=local_only,
        )
        job = read_job(dataset, config_files=config or (), overrides=overrides, folder=folder)
        limits = BudgetLimits(budget_usd, max_calls, max_tokens)
        named = job.settings.language_model
        if named.model is None and (named.base_url or local_only):
            raise SettingsError(
                "--base-url and --local-only are for a language model; name one: --model NAME"
            )
        if named.model is None and (dry_run or pilot or limits != BudgetLimits()):
            raise SettingsError(
                "--dry-run, --pilot, --budget-usd, --max-calls and --max-tokens are for a language model; "
                "the embedded reasoner sends nothing and costs nothing. Name one: --model NAME"
            )
        if named.model is None and scheduler is not None:
            raise SettingsError("--scheduler is for a language model; name one: --model NAME")
        if dry_run:
            _write_dry_run(screen, job, pilot)
            return
        made = make_with_progress(
            screen,
            job,
            limits=limits,
            pilot=pilot,
            language_job=_on_cluster(job, scheduler, limits),
            processes=processes,
        )
        screen.facts(_summary(made))
        screen.document(made.document())


def _on_cluster(job: GraphJob, scheduler: str | None, limits: BudgetLimits) -> LanguageJob | None:
    if scheduler is None:
        return None
    from llmrg.job.online import open_online_job
    from llmrg.reasoners.dask_endpoint import DaskEndpoint

    endpoint = DaskEndpoint(scheduler, job.settings.language_model)
    return partial(open_online_job, job.folder, settings=job.settings, limits=limits, endpoint=endpoint)


def _write_dry_run(screen: Screen, job: GraphJob, pilot: int | None) -> None:
    from llmrg.job.dry_run import write_dry_run

    written, assumed, failures = write_dry_run(job, job.folder / DRY_RUN_FILE, pilot=pilot)
    figures = {"assumed": assumed, "failed": len(failures)}
    if written is None and failures:
        raise GraphError(
            f"nothing was written: users who fail before anything more is asked: {len(failures)}, "
            f"first {failures[0].user_id!r}: {failures[0].message}"
        )
    if written is None:
        screen.line("nothing to ask: every user has a graph, or every reply is recorded already")
        screen.document({"requests": 0, "users": 0, "path": None, **figures})
        return
    screen.line(
        f"{written.path}: {written.requests} requests of {written.users} users, as they would be sent next"
    )
    screen.line(
        "what these users ask after that depends on the replies; later waves also on what this one teaches"
    )
    if failures:
        screen.line(f"users who fail before anything more is asked: {len(failures)}")
    if assumed:
        screen.line("assumed: the endpoint keeps to JSON schemas (it was never asked; a run asks it first)")
    screen.document(
        {"requests": written.requests, "users": written.users, "path": str(written.path), **figures}
    )


def _summary(made: MadeGraphs) -> dict[str, str]:
    report = made.report
    rows = {"users": f"{report.done} done, {report.skipped} there already, {report.failed} failed"}
    if report.requests:
        by_task = ", ".join(f"{count} {task}" for task, count in sorted(report.requests.items()))
        answered = f" ({report.cached} from records)" if report.cached else ""
        rows["requests"] = f"{by_task}{answered} in {duration(report.seconds)}"
    if report.usage.prompt_tokens:
        usage, each = report.usage, report.usd / (report.done or 1)
        rows["cost"] = f"{usage.calls} calls, {usage.prompt_tokens} tokens in, {usage.completion_tokens} out"
        if report.usd:
            rows["cost"] += (
                f", ${report.usd:.4f} (${each:.4f} a user; all {report.users}: about ${each * report.users:.2f} "
                "without more reuse)"
            )
        else:
            rows["cost"] += ", no price known"
    if report.rungs:
        rows["replies"] = ", ".join(f"{count} {rung}" for rung, count in sorted(report.rungs.items()))
    if report.problems:
        rows["salvaged"] = ", ".join(f"{count} {task}" for task, count in sorted(report.problems.items()))
    if report.claims:
        rows |= reuse_rows(reuse_document(report.reuse))
        rows["claims"] = (
            f"{report.claims} reasons and imagined items, mean score {report.mean_score:.2f}, "
            f"{report.rejected_share:.1%} rejected"
        )
    rows["store"] = str(made.job.store_path)
    if made.arrays is not None:
        rows["arrays"] = str(made.arrays)
    return rows
