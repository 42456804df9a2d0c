"""``llmrg explain``: why an item stands where it stands for a user.

Promise: it tells what speaks for the item and what against it, with the score that remains without each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrg.cli.options import AsJson, ConfigFiles, SetValues
from llmrg.cli.recommend import CheckpointFolder, FolderOption, recipe_settings
from llmrg.cli.screen import open_screen
from llmrg.cli.stores import refuse_no_page


def explain(
    checkpoint: CheckpointFolder,
    user: Annotated[
        str, typer.Argument(metavar="USER", help="User id, as in the .inter file.", show_default=False)
    ],
    item: Annotated[
        str, typer.Argument(metavar="ITEM", help="Item id, recommended or not.", show_default=False)
    ],
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="IDS", help="Item ids, oldest first; default: what the graphs know."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write it into the interactive page of the graph."),
    ] = None,
    chains: Annotated[
        int, typer.Option("--chains", metavar="N", min=1, help="Chains told; --json and --html have all.")
    ] = 10,
    config: ConfigFiles = None,
    set_: SetValues = None,
    folder: FolderOption = None,
    as_json: AsJson = False,
) -> None:
    """Say why an item is recommended to a user, or why not.

    For each chain of reasons: the weight the model reads it with, how much of the item's score hangs on it by these
    weights, and what becomes of score and rank when it is taken out. --config and --set as in llmrg recommend.

    \b
    Example:
      llmrg explain checkpoint 196 257
      llmrg explain checkpoint 196 257 --html why.html
    """
    with open_screen(as_json) as screen:
        from llmrg.explanation.effects import render_explanation, render_explanation_html
        from llmrg.serving.explaining import explain_item
        from llmrg.serving.history_files import split_history
        from llmrg.serving.recommender import open_recommender

        if html is not None:
            refuse_no_page(html)
        settings = recipe_settings(config, set_)
        with open_recommender(checkpoint, folder=folder, settings=settings) as recommender:
            given = recommender.known_history(user) if history is None else split_history(history)
            found = explain_item(recommender, given, item, user_id=user)
            words = recommender.scorer.vocabulary
        titles = {item_id: title for item_id, title in zip(words.items, words.titles, strict=True) if title}
        if html is not None:
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(render_explanation_html(found, titles), encoding="utf-8")
            screen.line(f"page: {html}")
        else:
            screen.text(render_explanation(found, titles, most=chains))
        screen.document({**found.to_document(), "html": None if html is None else str(html)})
