"""``llmrg import``: graphs from JSON Lines into a store.

Promise: all of a file is taken or nothing; graphs of other data or another recipe are refused, and so is a folder that
another run works on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrg.cli.options import AsJson
from llmrg.cli.screen import open_screen
from llmrg.errors import DataError
from llmrg.graph.store_records import STORE_FILE


def import_graphs(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file of `llmrg export`.", show_default=False)
    ],
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of the store; made if absent.", show_default=False),
    ],
    as_json: AsJson = False,
) -> None:
    """Take the graphs of a file into a store.

    A user's graph replaces the older one. The arrays that training reads are laid out by the next `llmrg
    generate`, `compare` or `train` on that folder.

    \b
    Example:
      llmrg import ml-100k-graphs.jsonl llmrg-data/ml-100k
    """
    from llmrg.graph.exchange import import_graphs as take_graphs
    from llmrg.graph.store import GraphStore
    from llmrg.job.online import LOCK_FILE, hold

    with open_screen(as_json) as screen:
        if not file.is_file():
            raise DataError("expected a file of `llmrg export`, found none", path=str(file))
        with hold(folder / LOCK_FILE), GraphStore.open(folder / STORE_FILE) as store:
            graphs = take_graphs(file, store)
            total = len(store)
        screen.line(f"{graphs} graphs taken from {file}; {folder / STORE_FILE} now holds {total}")
        screen.document({"file": str(file), "folder": str(folder), "graphs": graphs, "users": total})
