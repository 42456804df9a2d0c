"""``llmrg recommend``: the best items after histories, of users the model knows and of others.

Promise: each history gets its items and the word where its graph came from, as soon as they are there; one of a file
that cannot be served is named with its line and costs the others nothing; nothing is recommended before all are read.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from llmrg.cli.options import AsJson, ConfigFiles, SetValues, gather_overrides, refuse_unknown
from llmrg.cli.screen import Bars, Screen, open_screen, table_of
from llmrg.config_files import merge_configs
from llmrg.errors import DataError, GraphError, LlmrgError, ReasonerError, SettingsError
from llmrg.plain_text import plain_line
from llmrg.reasoners.endpoint import EndpointError, FaultKind

if TYPE_CHECKING:
    from llmrg.serving.history_files import GivenHistory
    from llmrg.serving.recommender import GraphsFrom, Recommended, Recommender

SOME_FAILED = 1

CheckpointFolder = Annotated[
    Path,
    typer.Argument(metavar="CHECKPOINT", help="Folder written by llmrg train --out.", show_default=False),
]
GraphsOption = Annotated[
    str,
    typer.Option(
        "--graphs",
        metavar="WHICH",
        help="any: the user's stored graph where it fits, else one made now; stored: only those; none: no graph.",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="Where the graphs lie, if not where they lay in training."),
]


def recommend(
    checkpoint: CheckpointFolder,
    history: Annotated[
        str | None, typer.Option("--history", metavar="IDS", help="Item ids, oldest first: 'a,b,c'.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="ID", help="Whose history it is; alone: what the graphs know of that user."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Many histories: .jsonl (user_id, history), .csv or .tsv (user_id, item_id), else one a line.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="Items a history.")] = 10,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Also recommend items of the history.")
    ] = False,
    graphs: GraphsOption = "any",
    config: ConfigFiles = None,
    set_: SetValues = None,
    folder: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items after a history, or after many.

    Item ids are those of the data set. A user the model never saw is served as an average one. A history longer than
    the model's window counts with its newest items. A history of FILE that cannot be served is told with its line; the
    others are served all the same, and the exit code is 1.

    Graphs are made now with the settings the model was trained with; where the stored ones were made with others, give
    --config and --set (llmrg.* only) as they were given to llmrg generate.

    \b
    Example:
      llmrg recommend checkpoint --history 50,181,174
      llmrg recommend checkpoint --user 196 --keep-seen
      llmrg recommend checkpoint --file histories.jsonl -k 20 --json
    """
    with open_screen(as_json) as screen:
        from llmrg.serving.history_files import GivenHistory, read_histories, split_history
        from llmrg.serving.recommender import open_recommender

        if (file is None) == (history is None and user is None):
            raise SettingsError("say for whom: give --history IDS, --user ID (or both), or --file FILE")
        with open_recommender(
            checkpoint,
            graphs=cast("GraphsFrom", graphs),
            folder=folder,
            settings=recipe_settings(config, set_),
        ) as recommender:
            if file is not None:
                given = list(read_histories(file))
            elif history is not None:
                given = [GivenHistory(split_history(history), user)]
            else:
                given = [GivenHistory(recommender.known_history(str(user)), user)]
            served: list[dict[str, Any]] = []
            failed: list[dict[str, Any]] = []
            bars = Bars(screen, None)  # lines, as a live bar would overwrite what is shown between them
            try:
                for done, one in enumerate(given, start=1):
                    answer = _answer(recommender, one, k, keep_seen=keep_seen)
                    if not isinstance(answer, LlmrgError):
                        _show(screen, one, answer, alone=file is None)
                        served.append(_document(one, answer))
                    elif file is None:
                        raise answer
                    else:
                        screen.note(f"{file}:{one.line}: not served: {answer}")
                        failed.append({"line": one.line, "user_id": one.user_id, "reason": str(answer)})
                    if file is not None:
                        bars.update("histories", done, len(given))
            finally:  # also of a run that ends early: a language model was paid for its graphs
                if served or failed:
                    screen.document({"histories": served, "failed": failed})
        if failed:
            screen.note(f"error: {len(failed)} of {len(given)} histories were not served")
            raise typer.Exit(SOME_FAILED)


def recipe_settings(config: list[Path] | None, values: list[str] | None) -> dict[str, Any]:
    """What ``--config`` and ``--set`` name of our settings, to be put over those of a checkpoint.

    Raises:
        SettingsError: unknown or impossible settings, or ``--set`` with a key of RecBole's.
    """
    overrides = gather_overrides(values)
    refuse_unknown(overrides, (), where="--set (a graph is made with settings under llmrg. only)")
    return merge_configs(config or [], overrides).settings.model_dump(mode="json", exclude_unset=True)


def _answer(
    recommender: Recommender, one: GivenHistory, k: int, *, keep_seen: bool
) -> Recommended | LlmrgError:
    """What one history gets, or why it gets nothing; an error that would meet every other history too is raised."""
    try:
        recommender.check(one.item_ids)
    except DataError as error:
        return error
    try:
        return recommender.recommend(one.item_ids, k, user_id=one.user_id, keep_seen=keep_seen)
    except (GraphError, ReasonerError) as error:
        if isinstance(error, EndpointError) and error.kind is FaultKind.STOP:
            raise
        return error


def _show(screen: Screen, one: GivenHistory, answer: Recommended, *, alone: bool) -> None:
    words = {"stored": "its stored graph", "made": "a graph made now", "none": "no graph"}[answer.graph]
    who = (
        f"user {one.user_id}" if one.user_id is not None else "this history" if alone else f"line {one.line}"
    )
    screen.line(f"for {plain_line(who, 80)} ({len(one.item_ids)} items, {words}):")
    table = table_of(("", "item", "title", "score"), names=3)
    for item in answer.items:
        table.add_row(str(item.rank), item.item_id, plain_line(item.title, 80), f"{item.score:.3f}")
    screen.show(table)
    screen.line()


def _document(one: GivenHistory, answer: Recommended) -> dict[str, Any]:
    return {
        "line": one.line,
        "user_id": one.user_id,
        "history": list(one.item_ids),
        "graph": answer.graph,
        "items": [asdict(item) for item in answer.items],
    }
