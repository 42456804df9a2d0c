"""``llmrg extend``: new interactions taken into graphs and arrays, without making all of them again.

Promise: nothing is read from the command line that would change the recipe; what grew is said before it is done.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from llmrg.cli.options import (
    AsJson,
    ConfigFiles,
    DataPath,
    DatasetName,
    GraphFolder,
    MaxUsers,
    SetValues,
    gather_graph_overrides,
)
from llmrg.cli.screen import duration, open_screen


def extend(
    dataset: DatasetName,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            metavar="FILE",
            help="JSON Lines or CSV of new events (user_id, item_id); default: what DATASET.inter has more by now.",
        ),
    ] = None,
    config: ConfigFiles = None,
    set_: SetValues = None,
    data_path: DataPath = None,
    max_users: MaxUsers = None,
    folder: GraphFolder = None,
    as_json: AsJson = False,
) -> None:
    """Take new interactions into the graphs of a data set.

    Only users with something new are thought about, with the statistics the graphs were made with; a grown .inter
    file is cut off as ever, while events are known at once, nothing of them is held out. To learn from what is new,
    make the graphs again: llmrg generate.

    \b
    Example:
      llmrg extend ml-100k
      llmrg extend ml-100k --events today.jsonl
    """
    with open_screen(as_json) as screen:
        from llmrg.graph.store import GraphStore
        from llmrg.job.extension import extend_graphs, grown, known_histories, read_events, with_events
        from llmrg.job.reading import read_job
        from llmrg.job.standing_recipe import open_recipe

        overrides = gather_graph_overrides(set_, data_path=data_path, max_users=max_users)
        job = read_job(dataset, config_files=config or [], overrides=overrides, folder=folder)
        with open_recipe(job.folder, job.settings) as recipe, GraphStore.open(job.store_path) as store:
            known = known_histories(store)
            now = job.dataset.histories if events is None else with_events(recipe, known, read_events(events))
            growth = grown(recipe, known, now)
            screen.note(
                f"{growth.interactions} new interactions of {len(growth.histories)} users "
                f"({growth.new_users} of them new); {len(known)} users have a graph"
            )
            if growth.held_back:
                screen.note(
                    f"warning: {growth.held_back} interactions are not taken in, from a user's first item on that "
                    "the graphs' catalogue does not have; `llmrg generate` learns new items"
                )
            with screen.progress() as bars:
                done = extend_graphs(
                    recipe,
                    store,
                    growth,
                    progress=lambda p: bars.update("reasoning graphs", p.done, p.total),
                )
        report = done.report
        screen.line(
            f"{report.done} graphs made or made longer in {duration(report.seconds)}, {report.failed} users failed; "
            f"arrays: {job.arrays_path}"
        )
        screen.document(
            {
                "dataset": dataset,
                "users": len(growth.histories),
                "new_users": growth.new_users,
                "interactions": growth.interactions,
                "held_back": growth.held_back,
                "done": report.done,
                "failed": report.failed,
                "requests": dict(report.requests),
                "usage": asdict(report.usage),
                "seconds": report.seconds,
                "recipe": report.recipe,
                "arrays": str(job.arrays_path),
            }
        )
