"""``llmrg verify``: every hash derived again, every graph held against the rules.

Promise: it names every problem it finds and stops at none; exit code 3 if there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmrg.cli.options import AsJson, StorePlace
from llmrg.cli.screen import open_screen
from llmrg.cli.stores import ARRAYS_FOLDER, find_store
from llmrg.errors import StoreError
from llmrg.graph.store_records import STORE_FILE

if TYPE_CHECKING:
    from llmrg.graph.store import GraphStore

VERIFICATION_FAILED = 3


def verify(place: StorePlace, as_json: AsJson = False) -> None:
    """Check a store of graphs and its arrays.

    The file, every hash, every graph's own rules (nothing knows the future), the ledger and the arrays. Exits with 3
    if there is a problem; each is named in one line.

    \b
    Example:
      llmrg verify ml-100k
      llmrg verify llmrg-data/ml-100k --json
    """
    with open_screen(as_json) as screen:
        folder = find_store(place)
        graphs, problems = verify_folder(folder)
        for problem in problems:
            screen.line(problem)
        arrays = "with arrays" if (folder / ARRAYS_FOLDER).is_dir() else "no arrays"
        verdict = f"{len(problems)} problems" if problems else "no problem found"
        screen.line(f"{folder}: {graphs} graphs checked, {arrays}: {verdict}")
        screen.document({"folder": str(folder), "graphs": graphs, "problems": problems})
    if problems:
        raise typer.Exit(VERIFICATION_FAILED)


def verify_folder(folder: Path) -> tuple[int, list[str]]:
    """Graphs checked, and the problems of the store and of the ledger and arrays beside it."""
    from llmrg.graph.arrays import verify_arrays
    from llmrg.graph.store import GraphStore
    from llmrg.reasoners.ledger import LEDGER_FILE, Ledger

    checked, problems = 0, []
    try:
        with GraphStore.open(folder / STORE_FILE, create=False) as store:
            problems += store.verify()
            checked, broken = _check_graphs(store)
            problems += broken
    except StoreError as error:
        problems.append(str(error))
    if (folder / LEDGER_FILE).is_file():
        try:
            with Ledger.open(folder / LEDGER_FILE, create=False) as ledger:
                problems += ledger.verify()
        except StoreError as error:
            problems.append(str(error))
    for arrays in sorted(folder.glob(f"{ARRAYS_FOLDER}*")):  # those of control arms, too
        problems += verify_arrays(arrays)
    return checked, list(dict.fromkeys(problems))


def _check_graphs(store: GraphStore) -> tuple[int, list[str]]:
    from llmrg.graph.checks import check_graph

    checked, problems = 0, []
    for user_id in store.user_ids():
        try:
            graph = store.get(user_id)
        except StoreError as error:
            problems.append(str(error))  # as the store itself words it, so named once
            continue
        if graph is not None:
            checked += 1
            problems += [
                f"{store.path}: graph of user {user_id!r}: {problem}" for problem in check_graph(graph)
            ]
    return checked, problems
