"""``llmrg status``: what a store of graphs holds, what failed, and whether training reads the newest of it.

Promise: it reads and changes nothing, and costs no more than a few look-ups; a store that cannot be read hides no
other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.job_figures import figure_words, job_figures
from llmrg.cli.options import AsJson
from llmrg.cli.reuse_words import reuse_document, reuse_rows
from llmrg.cli.screen import Screen, open_screen, table_of
from llmrg.cli.stores import ARRAYS_FOLDER, find_store, known_stores
from llmrg.errors import StoreError
from llmrg.graph.store_records import STORE_FILE
from llmrg.plain_text import plain_line

if TYPE_CHECKING:
    from llmrg.graph.store import GraphStore

FAILURES_SHOWN = 5


def status(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER|DATASET", help="Default: every store under llmrg-data.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the stores of graphs hold.

    Users, nodes, failures, recipe, whether the arrays that training reads are up to date; and where a language
    model is asked, what it was paid and how the running job stands.

    \b
    Example:
      llmrg status
      llmrg status ml-100k --json
    """
    with open_screen(as_json) as screen:
        if place is not None:
            found = store_status(find_store(place))
            _print_one(screen, found)
            screen.document(found)
            return
        stores = [_status_or_error(folder) for folder in known_stores()]
        _print_all(screen, stores)
        screen.document({"stores": stores})
        unreadable = sum("error" in found for found in stores)
        if unreadable:
            raise StoreError(f"stores that cannot be read: {unreadable} of {len(stores)}")


def store_status(folder: Path) -> dict[str, Any]:
    """What the store in a folder holds, as plain values.

    Raises:
        StoreError: it cannot be read.
    """
    from llmrg.graph.store import GraphStore
    from llmrg.reasoning.generation_report import recorded_reuse

    with GraphStore.open(folder / STORE_FILE, create=False) as store:
        summary, failures = store.summary(), store.failures()
        reuse = recorded_reuse(summary.meta)
        return {
            "dataset": summary.meta.get("dataset"),
            "folder": str(folder),
            "store": str(store.path),
            "bytes": summary.size_bytes,
            "recipe": summary.meta.get("recipe"),
            "reasoner": summary.meta.get("reasoner"),
            "users": summary.graphs,
            "nodes": summary.nodes,
            "rejected": summary.rejected,
            "edges": summary.edges,
            "waves": summary.wave + 1,
            "knowledge": summary.knowledge,
            "reuse": None if reuse is None else reuse_document(reuse),
            "failed_users": summary.failed_users,
            "failures": summary.failures,
            "failures_by_stage": dict(Counter(failure.stage for failure in failures)),
            "first_failures": [
                {"user": failure.user_id, "stage": failure.stage, "message": failure.message}
                for failure in failures[:FAILURES_SHOWN]
            ],
            "arrays": arrays_state(folder / ARRAYS_FOLDER, store),
            "job": job_state(folder),
        }


def _status_or_error(folder: Path) -> dict[str, Any]:
    try:
        return store_status(folder)
    except (StoreError, OSError) as error:
        return {"folder": str(folder), "store": str(folder / STORE_FILE), "error": str(error)}


def job_state(folder: Path) -> dict[str, Any] | None:
    """What a language model was asked in a folder, and how a running job stands; ``None``: it never was.

    Raises:
        StoreError: the ledger cannot be read.
    """
    from llmrg.job.online import LOCK_FILE, is_held
    from llmrg.reasoners.batch_ledger import BatchLedger
    from llmrg.reasoners.ledger import LEDGER_FILE
    from llmrg.reasoners.traffic import EVENTS_FILE, newest_events

    if not (folder / LEDGER_FILE).exists():
        return None
    with BatchLedger.open(folder / LEDGER_FILE, create=False) as ledger:
        totals, models = ledger.totals(), ledger.served_models()
        out = {file.name: file.out for file in ledger.files() if file.out}
    running = is_held(folder / LOCK_FILE)
    last: dict[str, Any] | None = None
    for event in newest_events(folder / EVENTS_FILE):
        if running and event.get("event") == "started":
            break  # what comes before is of an earlier run
        if event.get("event") == "progress":
            last = event
            break
    state: dict[str, Any] = {
        "running": running,
        "ledger": asdict(totals),
        "served_models": models,
        "out": out,
    }
    if last is not None:
        stands = {name: last[name] for name in ("time", "done", "total", "failed")}
        state["last_run"] = {**stands, "figures": job_figures(last)}
    return state


def arrays_state(arrays: Path, store: GraphStore) -> str:
    """Whether arrays hold just the graphs of a store: ``up to date``, ``stale``, ``none``, or what is wrong.

    Args:
        arrays: folder of the arrays.
        store: an open store.
    """
    from llmrg.graph.arrays import load_arrays

    if not arrays.is_dir():
        return "none"
    try:
        loaded = load_arrays(arrays)
    except StoreError as error:
        return str(error)
    meta = store.meta()
    recipe = str(meta.get("recipe", ""))
    laid_out = meta.get("arrays") == {"fingerprint": loaded.fingerprint, "recipe": recipe}
    held = dict(zip(loaded.user_ids.tolist(), loaded.history.tolist(), strict=True))
    return "up to date" if laid_out and held == store.states(recipe) else "stale"


def _print_one(screen: Screen, found: dict[str, Any]) -> None:
    made = found["nodes"] or 1
    rows = {
        "data set": found["dataset"] or "unknown",
        "store": f"{found['store']} ({found['bytes'] / 1e6:.1f} MB)",
        "recipe": f"{found['recipe'] or 'none'} ({found['reasoner'] or 'no'} reasoner)",
        "users": f"{found['users']} with a graph, {found['failed_users']} without one after a failure",
        "graphs": f"{found['nodes']} nodes ({found['rejected'] / made:.1%} rejected), {found['edges']} edges",
        "waves": f"{found['waves']}, {found['knowledge']} knowledge-base entries",
        **reuse_rows(found["reuse"]),
        "arrays": found["arrays"],
        "failures": f"{found['failures']}{_by_stage(found['failures_by_stage'])}",
    }
    screen.facts({**rows, **_job_rows(found["job"])})
    for failure in found["first_failures"]:
        screen.line(f"user {failure['user']}, {failure['stage']}: {failure['message']}", before="  ")
    if found["failures"] > len(found["first_failures"]):
        screen.line(f"… and {found['failures'] - len(found['first_failures'])} more", before="  ")


def _job_rows(job: dict[str, Any] | None) -> dict[str, str]:
    if job is None:
        return {}
    ledger = job["ledger"]
    unsure = f" and at most ${ledger['unsure_usd']:.4f} more" if ledger["unsure_usd"] else ""
    paid = f"${ledger['usd']:.4f}" if ledger["usd"] else "no price known"
    rows = {
        "asked": f"{ledger['done']} answered, {ledger['open']} open, {ledger['failed']} failed, "
        f"{ledger['attempts']} calls; {', '.join(job['served_models']) or 'no model'}",
        "paid": f"{paid}{unsure}; {ledger['prompt_tokens']} tokens in "
        f"({ledger['cached_tokens']} cached), {ledger['completion_tokens']} out",
    }
    if job["out"]:
        waiting = ", ".join(f"{requests} in {name}" for name, requests in job["out"].items())
        rows["batch files"] = f"requests without an answer: {waiting}"
    run = job.get("last_run")
    state = "running" if job["running"] else "not running"
    if run is None:
        return {**rows, "job": state}
    words = figure_words(run["figures"])
    return {**rows, "job": f"{state}, {run['done']} of {run['total']} users, {', '.join(words)}"}


def _print_all(screen: Screen, stores: list[dict[str, Any]]) -> None:
    if not stores:
        screen.line("no graphs under llmrg-data; make some: llmrg generate ml-100k")
        return
    table = table_of(("folder", "data set", "arrays", "users", "nodes", "failures"), names=3)
    for found in stores:
        if "error" in found:
            table.add_row(plain_line(found["folder"], 80), "unknown", plain_line(found["error"], 200))
            continue
        words = (found["folder"], found["dataset"] or "unknown", found["arrays"])
        figures = (found["users"], found["nodes"], found["failures"])
        table.add_row(*(plain_line(word, 80) for word in words), *map(str, figures))
    screen.show(table)


def _by_stage(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count} {stage}' for stage, count in counts.items())})" if counts else ""
