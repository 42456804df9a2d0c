"""``llmrg generate``: the reasoning graphs of a data set.

Promise: it may be stopped and started at any time; what is there already and unchanged is not made again.
"""

from __future__ import annotations

from llmrg.cli.generation_step import MadeGraphs, make_with_progress
from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    DatasetName,
    GraphFolder,
    MaxUsers,
    SetValues,
    gather_overrides,
    refuse_unknown,
)
from llmrg.cli.screen import duration, open_screen


def generate(
    dataset: DatasetName,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    folder: GraphFolder = None,
    max_users: MaxUsers = None,
    as_json: AsJson = False,
) -> None:
    """Make the reasoning graphs of a data set.

    The embedded reasoner makes them: no model, no key. Users are worked on in waves; an interrupted run goes
    on where it stopped, and a second run makes only what changed. A user who fails is recorded and stops
    nobody else (see `llmrg status`).

    \b
    Example:
      llmrg generate ml-100k --max-users 100
      llmrg generate ml-100k --set llmrg.generation.window=1 --folder graphs/one-by-one
    """
    from llmrg.assembly import DATA_KEYS, read_job

    with open_screen(as_json) as screen:
        overrides = gather_overrides(set_, data_path=data_path, max_users=max_users)
        refuse_unknown(overrides, DATA_KEYS, where="--set (graphs read only these keys of RecBole's)")
        job = read_job(dataset, config_files=config or (), overrides=overrides, folder=folder)
        made = make_with_progress(screen, job)
        screen.facts(_summary(made))
        screen.document(made.document())


def _summary(made: MadeGraphs) -> dict[str, str]:
    report = made.report
    rows = {"users": f"{report.done} done, {report.skipped} there already, {report.failed} failed"}
    if report.requests:
        by_task = ", ".join(f"{count} {task}" for task, count in sorted(report.requests.items()))
        answered = f" ({report.cached} from records)" if report.cached else ""
        rows["requests"] = f"{by_task}{answered} in {duration(report.seconds)}"
    if report.problems:
        rows["salvaged"] = ", ".join(f"{count} {task}" for task, count in sorted(report.problems.items()))
    if report.claims:
        reuse = report.reuse
        rows["from knowledge"] = (
            f"{reuse.links} links and {reuse.imagined} imagined items, {reuse.requests_saved} requests saved"
        )
        rows["claims"] = (
            f"{report.claims} reasons and imagined items, mean score {report.mean_score:.2f}, "
            f"{report.rejected_share:.1%} rejected"
        )
    return {**rows, "store": str(made.job.store_path), "arrays": str(made.job.arrays_path)}
