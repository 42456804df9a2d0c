"""``llmrg view``: one user's reasoning graph, as a tree in the terminal or as an interactive page.

Promise: it shows what the store holds and judges nothing; titles come from the catalogue where the data set
can be read, and from the graph's own labels where it cannot.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrg.cli.knowledge_facts import standing_of
from llmrg.cli.options import AsJson, DataPath, GraphFolder
from llmrg.cli.screen import open_screen
from llmrg.cli.stores import find_store, refuse_no_page
from llmrg.cli.titles import titles_of
from llmrg.errors import DataError
from llmrg.graph.store_records import STORE_FILE

if TYPE_CHECKING:
    from llmrg.graph.store import GraphStore

USERS_NAMED = 8


def view(
    place: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="Data set name, or a folder of graphs.", show_default=False),
    ],
    user: Annotated[
        str, typer.Argument(metavar="USER", help="User id, as in the .inter file.", show_default=False)
    ],
    folder: GraphFolder = None,
    data_path: DataPath = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write an interactive page instead of the tree."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one user's reasoning graph.

    History, chains of reasons with their scores, what they suggest, what was rejected and why, and what came from
    the knowledge base: the premise and how many users stand behind it now.

    \b
    Example:
      llmrg view ml-100k 196
      llmrg view ml-100k 196 --html graph-196.html
    """
    from llmrg.explanation.rendering import graph_tree
    from llmrg.explanation.view import render_html
    from llmrg.graph.store import GraphStore

    with open_screen(as_json) as screen:
        where = find_store(place, folder)
        with GraphStore.open(where / STORE_FILE, create=False) as store:
            graph = store.get(user)
            if graph is None:
                raise _unknown(store, user)
            dataset = str(store.meta().get("dataset") or place)
            known = standing_of(store, graph)
        wanted = {node.item_id for node in graph.nodes if node.item_id is not None}
        titles = titles_of(screen, dataset, wanted, data_path, "titles are those the graph was made with")
        if html is None:
            screen.show(graph_tree(graph, titles, known))
        else:
            refuse_no_page(html)
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(render_html(graph, titles, known), encoding="utf-8")
            screen.line(f"page: {html}")
        screen.document(
            {
                "dataset": dataset,
                "store": str(where / STORE_FILE),
                "html": None if html is None else str(html),
                "graph": graph.to_document(),
                "knowledge": {key: asdict(one) for key, one in sorted(known.items())},
            }
        )


def _unknown(store: GraphStore, user: str) -> DataError:
    failed = next((failure for failure in store.failures() if failure.user_id == user), None)
    if failed is not None:
        return DataError(f"user {user!r} has no graph: {failed.stage}: {failed.message}")
    known = store.user_ids()
    named = dict.fromkeys([*difflib.get_close_matches(user, known, n=3), *known[:USERS_NAMED]])
    words = ", ".join(list(named)[:USERS_NAMED]) or "none"
    return DataError(
        f"no graph of user {user!r} in {store.path}; {len(known)} users have one, such as: {words}"
    )
