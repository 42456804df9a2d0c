"""``llmrg knowledge``: what verified reasoning taught, what speaks for it, and how to take it back.

Promise: it asks no model; only ``revoke`` changes a store, and what it takes back is neither served nor
learned again in that store, whatever recipe comes next.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from llmrg.cli.knowledge_entry import revoke_entry, show_entry
from llmrg.cli.knowledge_facts import entry_document, mean_score, open_knowledge, plural, scope_words
from llmrg.cli.options import AsJson, DataPath, GraphFolder
from llmrg.cli.reuse_words import reuse_document, reuse_rows
from llmrg.cli.screen import Screen, open_screen, table_of
from llmrg.cli.stores import find_store
from llmrg.errors import SettingsError
from llmrg.graph.store_records import STORE_FILE
from llmrg.plain_text import plain_line

if TYPE_CHECKING:
    from llmrg.graph.store import GraphStore
    from llmrg.reasoning.knowledge_base import Entry

KEY_LIMIT = 80


class Kind(StrEnum):
    """The kinds of premise, as :data:`llmrg.reasoning.premises.KINDS`."""

    LINK = "link"
    LINK_SHARED = "link-shared"
    LINK_ALONE = "link-alone"
    NEXT = "next"
    NEXT_CATEGORY = "next-category"


class Action(StrEnum):
    """What is done with the knowledge base."""

    LIST = "list"
    SHOW = "show"
    REVOKE = "revoke"
    STATS = "stats"


def knowledge(
    action: Annotated[
        Action, typer.Argument(metavar="list|show|revoke|stats", help="What to do.", show_default=False)
    ],
    place: Annotated[str, typer.Argument(metavar="FOLDER|DATASET", help="Whose graphs.", show_default=False)],
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="show, revoke: a premise, as list names it.", show_default=False),
    ] = None,
    folder: GraphFolder = None,
    data_path: DataPath = None,
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", metavar="|".join(Kind), help="list: of this kind only."),
    ] = None,
    contains: Annotated[
        str | None, typer.Option("--contains", metavar="WORDS", help="list: in the premise or in a reason.")
    ] = None,
    min_support: Annotated[
        int, typer.Option("--min-support", min=0, help="list: with at least so many users behind them.")
    ] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="list, show: at most so many.")] = 20,
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="In this scope only: the embedded reasoner has one a fold of users."),
    ] = None,
    users: Annotated[
        bool, typer.Option("--users", help="show: name the users whose graphs reused it.")
    ] = False,
    drop_graphs: Annotated[
        bool,
        typer.Option("--drop-graphs", help="revoke: remove the graphs it is in; generate makes them again."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List, show or take back what verified reasoning taught.

    An entry is a premise (a pair of items, what they share, a category) with its continuations: reasons, or items
    that may come next. It is served once enough distinct users stand behind it; they are counted, not named.

    To revoke is permanent. Graphs made with the entry stay as they are, unless --drop-graphs removes them. With a
    scope, it is learned and served on in the others.

    \b
    Example:
      llmrg knowledge list ml-100k --kind link --min-support 3
      llmrg knowledge show ml-100k 'link:50->181'
      llmrg knowledge revoke ml-100k 'link:50->181' --drop-graphs
      llmrg knowledge stats ml-100k --json
    """
    from llmrg.graph.store import GraphStore
    from llmrg.job.online import LOCK_FILE, hold

    with open_screen(as_json) as screen:
        _refuse_unfit(
            {
                "a KEY": (key is not None, (Action.SHOW, Action.REVOKE)),
                "--kind": (kind is not None, (Action.LIST,)),
                "--contains": (contains is not None, (Action.LIST,)),
                "--min-support": (min_support > 0, (Action.LIST,)),
                "--scope": (scope is not None, (Action.LIST, Action.SHOW, Action.REVOKE)),
                "--users": (users, (Action.SHOW,)),
                "--drop-graphs": (drop_graphs, (Action.REVOKE,)),
            },
            action,
        )
        if key is None and action in (Action.SHOW, Action.REVOKE):
            raise SettingsError(f"knowledge {action}: expected a KEY, as `llmrg knowledge list` names them")
        where = find_store(place, folder)
        with GraphStore.open(where / STORE_FILE, create=False) as store:
            if action is Action.LIST:
                wanted = _wanted(store, kind, contains or "", min_support, scope)
                _list(screen, store, wanted, limit)
            elif action is Action.STATS:
                _stats(screen, store)
            elif action is Action.SHOW:
                dataset = str(store.meta().get("dataset") or place)
                show_entry(screen, store, str(key), scope, limit, dataset, data_path, name_users=users)
            else:
                with hold(where / LOCK_FILE):  # a run that is at work would go on serving
                    revoke_entry(screen, store, str(key), scope, drop_graphs=drop_graphs)


def _wanted(
    store: GraphStore, kind: Kind | None, contains: str, min_support: int, scope: str | None
) -> list[Entry]:
    from llmrg.reasoning.premises import premise_kind

    words = contains.casefold()

    def says(entry: Entry) -> bool:
        return words in entry.key.casefold() or any(
            words in c.words.casefold() for c in entry.continuations.values()
        )

    found = [
        entry
        for entry in open_knowledge(store).entries
        if kind in (None, premise_kind(entry.key))
        and scope in (None, entry.scope)
        and len(entry.supporters) >= min_support
        and says(entry)
    ]
    return sorted(found, key=lambda e: (-len(e.supporters), -(mean_score(e) or 0.0), e.key, e.scope))


def _list(screen: Screen, store: GraphStore, found: list[Entry], limit: int) -> None:
    table = table_of(("premise", "kind", "scope", "continuations", "users", "score", "wave"), names=3)
    documents = [entry_document(entry) for entry in found[:limit]]
    for facts in documents:
        score = "revoked" if facts["revoked"] else "" if facts["score"] is None else f"{facts['score']:.2f}"
        figures = (facts["continuations"], facts["support"], score, facts["wave"])
        table.add_row(
            plain_line(facts["key"], KEY_LIMIT),
            facts["kind"],
            scope_words(facts["scope"]),
            *map(str, figures),
        )
    if documents:
        screen.show(table)
    left = f", {len(documents)} shown (--limit)" if len(documents) < len(found) else ""
    screen.line(f"{plural(len(found), 'entry')}{left}")
    screen.document({"store": str(store.path), "found": len(found), "entries": documents})


def _stats(screen: Screen, store: GraphStore) -> None:
    from llmrg.reasoning.generation_report import recorded_reuse

    entries = open_knowledge(store).entries
    documents = [entry_document(entry) for entry in entries]
    revoked = len({entry.key for entry in entries if entry.revoked})
    behind = {name for entry in entries for name in entry.supporters}
    kinds: dict[str, Counter[str]] = {kind.value: Counter() for kind in Kind}
    for facts in documents:
        if not facts["revoked"]:
            kinds.setdefault(facts["kind"], Counter()).update(
                {"entries": 1, **{name: facts[name] for name in ("continuations", "contributions")}}
            )
    table = table_of(("kind", "entries", "continuations", "contributions"))
    for name, counts in kinds.items():
        table.add_row(name, *(str(counts[one]) for one in ("entries", "continuations", "contributions")))
    screen.show(table)
    recorded = recorded_reuse(store.meta())
    reuse = None if recorded is None else reuse_document(recorded)
    none = "not recorded" if reuse is None else "nothing was reused"
    screen.facts(
        {
            "users behind them": str(len(behind)),
            "revoked": plural(revoked, "premise"),
            **(reuse_rows(reuse) or {"from knowledge": none}),
        }
    )
    screen.document(
        {
            "store": str(store.path),
            "kinds": {name: dict(counts) for name, counts in kinds.items()},
            "users": len(behind),
            "revoked": revoked,
            "reuse": reuse,
        }
    )


def _refuse_unfit(given: dict[str, tuple[bool, tuple[Action, ...]]], action: Action) -> None:
    for name, (is_given, fit) in given.items():
        if is_given and action not in fit:
            raise SettingsError(f"knowledge {action}: {name} is for {', '.join(fit)}")
