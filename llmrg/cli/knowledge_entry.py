"""``llmrg knowledge show`` and ``revoke``: one premise, what speaks for it, and what is lost without it.

Promise: what a revocation takes away, what it leaves as it is, and where the same reasons are kept under another
name is said; users are counted, and named only where that was asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrg.cli.knowledge_facts import (
    entries_of,
    entry_document,
    mean_score,
    open_knowledge,
    plural,
    says_the_same,
    scope_words,
    served,
    used_by,
)
from llmrg.cli.screen import Screen
from llmrg.cli.titles import titles_of
from llmrg.plain_text import plain_line

if TYPE_CHECKING:
    from llmrg.graph.store import GraphStore
    from llmrg.reasoning.knowledge_base import Entry, Known

NAMED = 5  # other premises named in a line


def show_entry(
    screen: Screen,
    store: GraphStore,
    key: str,
    scope: str | None,
    limit: int,
    dataset: str,
    data_path: Path | None,
    *,
    name_users: bool,
) -> None:
    """Show a premise: its continuations, who stands behind them (counted), and where graphs used it.

    Raises:
        DataError: there is no such premise.
    """
    from llmrg.reasoning.premises import premise_items, premise_words

    entries = entries_of(open_knowledge(store), key, scope)
    settings, used = store.meta().get("settings") or {}, used_by(store, key)
    next_items = key.startswith("next")
    named = {name for entry in entries for name in entry.continuations} if next_items else set()
    titles = titles_of(
        screen, dataset, {*premise_items(key), *named}, data_path, "items are called by their ids"
    )
    about = premise_words(key, titles)
    screen.facts({"premise": key, "says": about, "used": used.words})
    if name_users:
        screen.line(f"users: {', '.join(used.users) or 'none'}")
    documents = []
    for entry in entries:
        now = {known.name for known in served(entry, settings)}
        answers = [_answer(known, titles.get(known.name), known.name in now) for known in entry.known]
        documents.append({**entry_document(entry), "answers": answers})
        screen.line()
        screen.line(_entry_line(entry))
        for answer in answers[:limit]:
            screen.line(_answer_line(answer), before="  ")
        if len(answers) > limit:
            screen.line(f"… and {len(answers) - limit} more (--limit)", before="  ")
    people = {"users": used.users} if name_users else {}
    nodes = {"nodes": used.nodes, "users_with_one": len(used.users), **people}
    screen.document({"key": key, "says": about, "entries": documents, "used": nodes})


def revoke_entry(
    screen: Screen, store: GraphStore, key: str, scope: str | None, *, drop_graphs: bool
) -> None:
    """Take a premise back, and say what is lost.

    Raises:
        DataError: there is no such premise.
    """
    knowledge_base = open_knowledge(store)
    entries = entries_of(knowledge_base, key, scope)
    lost = [entry_document(entry) for entry in entries if not entry.revoked]
    lines = [_entry_line(entry) for entry in entries if not entry.revoked]
    same, used = says_the_same(knowledge_base, entries), used_by(store, key)
    store.put_knowledge(knowledge_base.revoke(key, scope=scope))
    if drop_graphs:
        store.remove(used.users)
    where = "in every scope" if scope is None else f"in scope {scope!r}"
    screen.line(f"{key} is revoked {where}, for good{'' if lost else '; it was before'}")
    for line in lines:
        screen.line(f"lost: {line}", before="  ")
    screen.line(f"came from it, in any scope: {used.words}")
    if drop_graphs and used.users:
        screen.line(
            f"removed: {plural(len(used.users), 'graph')}; `llmrg generate` makes them again, without it"
        )
    elif used.users:
        screen.line(
            "they stay as they are; to have them made again without it: the same line with --drop-graphs, "
            "then `llmrg generate`"
        )
    if same:
        shown = ", ".join(same[:NAMED]) + (" …" if len(same) > NAMED else "")
        screen.line(f"the same reasons are kept under {plural(len(same), 'premise')} more: {shown}")
    screen.document(
        {
            "key": key,
            "scope": scope,
            "lost": lost,
            "used": {"nodes": used.nodes, "users_with_one": len(used.users)},
            "graphs_removed": len(used.users) if drop_graphs else 0,
            "same_reasons": {"premises": len(same), "first": same[:NAMED]},
        }
    )


def _answer(known: Known, title: str | None, now: bool) -> dict[str, Any]:
    return {
        "name": known.name,
        "title": title,
        "words": known.words,
        "score": known.score,
        "support": known.support,
        "request": known.request,
        "served": now,
    }


def _answer_line(answer: dict[str, Any]) -> str:
    name, words = answer["title"] or answer["name"], answer["words"]
    said = (
        name if not words or name == words else words if name.endswith(f": {words}") else f"{name}: {words}"
    )
    start = "nothing before led to it: " if answer["name"].startswith("start: ") else ""
    held = "" if answer["served"] else ", not served"
    figures = f"score {answer['score']:.2f}, {plural(answer['support'], 'user')}{held}"
    return f"{start}{plain_line(said, 200)} ({figures}; request {answer['request']})"


def _entry_line(entry: Entry) -> str:
    where = f"scope {scope_words(entry.scope)}: " if entry.scope else ""
    if entry.revoked:
        return f"{where}revoked, serves and learns nothing"
    contributions = sum(c.count for c in entry.continuations.values())
    return (
        f"{where}{plural(len(entry.continuations), 'continuation')} from {plural(contributions, 'contribution')} "
        f"of {plural(len(entry.supporters), 'user')}, mean score {mean_score(entry) or 0:.2f}, wave {entry.wave}"
    )
