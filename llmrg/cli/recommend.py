"""``llmrg recommend``: the best items after histories, of users the model knows and of others.

Promise: each history gets its items and the word where its graph came from; one that cannot be served is named with
its line, and nothing is recommended before all are read.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from llmrg.cli.options import AsJson
from llmrg.cli.screen import Screen, open_screen, table_of
from llmrg.errors import DataError, SettingsError
from llmrg.plain_text import plain_line

if TYPE_CHECKING:
    from llmrg.serving.history_files import GivenHistory
    from llmrg.serving.recommender import GraphsFrom, Recommended

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
    folder: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items after a history, or after many.

    Item ids are those of the data set. A user the model never saw is served as an average one. A history longer than
    the model's window counts with its newest items.

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
        with open_recommender(checkpoint, graphs=cast("GraphsFrom", graphs), folder=folder) as recommender:
            if file is not None:
                given = list(read_histories(file))
            elif history is not None:
                given = [GivenHistory(split_history(history), user)]
            else:
                given = [GivenHistory(recommender.known_history(str(user)), user)]
            for one in given:
                _refuse(one, file, recommender.scorer.vocabulary)
            answers = []
            with screen.progress() as bars:
                for one in given:
                    answers.append(
                        recommender.recommend(one.item_ids, k, user_id=one.user_id, keep_seen=keep_seen)
                    )
                    if file is not None:
                        bars.update("histories", len(answers), len(given))
        for one, answer in zip(given, answers, strict=True):
            _show(screen, one, answer, alone=file is None)
        screen.document({"histories": [_document(*pair) for pair in zip(given, answers, strict=True)]})


def _refuse(one: GivenHistory, file: Path | None, vocabulary: Any) -> None:
    """What no model could serve, with the line it stands on."""
    try:
        if not one.item_ids:
            raise DataError("expected a history of one item at least, found an empty one")
        vocabulary.numbers_of(one.item_ids)
    except DataError as error:
        if file is None:
            raise
        raise DataError(str(error), path=str(file), line=one.line) from error


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
        "user_id": one.user_id,
        "history": list(one.item_ids),
        "graph": answer.graph,
        "items": [asdict(item) for item in answer.items],
    }
