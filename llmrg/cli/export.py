"""``llmrg export``: graphs as JSON Lines, to hand over or to keep.

Promise: the same graphs give the same bytes, and a file appears only when it is complete; a pipe gets nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrg.cli.options import AsJson, StorePlace
from llmrg.cli.screen import open_screen
from llmrg.cli.stores import find_store, refuse_other
from llmrg.graph.store_records import STORE_FILE


def export(
    place: StorePlace,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write all graphs of a store as JSON Lines.

    A header, then one user a line, in the order of their ids.

    \b
    Example:
      llmrg export ml-100k ml-100k-graphs.jsonl
    """
    from llmrg.graph.exchange import START, export_graphs
    from llmrg.graph.store import GraphStore

    with open_screen(as_json) as screen:
        folder = find_store(place)
        refuse_other(file, START, "an export")
        file.parent.mkdir(parents=True, exist_ok=True)
        with GraphStore.open(folder / STORE_FILE, create=False) as store:
            graphs = export_graphs(store, file)
        words = f"{graphs} graphs of {folder} written to {file}"
        size = None
        if file.is_file():
            size = file.stat().st_size
            screen.line(f"{words} ({size / 1e6:.1f} MB)")
        else:
            screen.note(words)  # the pipe may be stdout
        screen.document({"folder": str(folder), "file": str(file), "graphs": graphs, "bytes": size})
