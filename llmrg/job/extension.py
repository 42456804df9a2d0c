"""New interactions, taken into graphs and arrays that are there already.

Promise: only users with something new are thought about, by the recipe their graphs were made by; all others keep
their graph and every number of their arrays. Windows are counted from the start of a history, so those that were
full stay, and the last, short one is made again: the graph of a history that grew equals the one that the same
recipe makes of all of it (where the recipe reuses knowledge, with the knowledge there is by now).

Statistics are frozen: an extension learns neither new counts nor new titles. ``llmrg generate`` on the grown files
is the rebuild that does. Only the knowledge base, where the recipe uses one, learns from what was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmrg.data.interactions import UserHistory
from llmrg.data.written_rows import TABLES, read_json_lines, read_table
from llmrg.errors import DataError, StoreError
from llmrg.fingerprint import fingerprint
from llmrg.graph.arrays import load_arrays
from llmrg.graph.growth import extend_arrays
from llmrg.graph.store import GraphStore
from llmrg.job.online import LOCK_FILE, hold
from llmrg.job.standing_recipe import StandingRecipe
from llmrg.reasoning.generate import GenerationReport, Progress, generate

USERS_NAMED = 3


@dataclass(frozen=True)
class Growth:
    """What is new, sorted out before anything is thought.

    Args:
        histories: of users with something new, as far as it can be taken in.
        new_users: how many of them had no graph.
        interactions: how many are new in them.
        held_back: interactions from a user's first item on that the recipe does not know: not taken in.
    """

    histories: tuple[UserHistory, ...]
    new_users: int
    interactions: int
    held_back: int


@dataclass(frozen=True)
class ExtensionOutcome:
    """What an extension did."""

    growth: Growth
    report: GenerationReport


def grown(recipe: StandingRecipe, known: Mapping[str, Sequence[str]], now: Iterable[UserHistory]) -> Growth:
    """What is new in ``now`` beside the histories the graphs know.

    Args:
        recipe: knows which items there are.
        known: user id to the items of the user's graph, oldest first.
        now: histories as they are by now, of any users.

    Raises:
        DataError: a history that does not begin with what its graph knows: that is no growth.
    """
    catalog = recipe.job.dataset.catalog
    changed: list[UserHistory] = []
    others: list[str] = []
    new_users = interactions = held_back = 0
    for history in now:
        before = tuple(known.get(history.user_id, ()))
        if not history.begins_with(before):
            others.append(history.user_id)
            continue
        stop = next(
            (at for at, item in enumerate(history.item_ids) if at >= len(before) and item not in catalog),
            len(history),
        )
        held_back += len(history) - stop
        if stop > len(before):
            taken = replace(
                history,
                item_ids=history.item_ids[:stop],
                train_length=min(stop, history.train_length),
                timestamps=history.timestamps[:stop],
            )
            changed.append(taken)
            new_users += history.user_id not in known
            interactions += stop - len(before)
    if others:
        named = ", ".join(map(repr, others[:USERS_NAMED]))
        raise DataError(
            f"{len(others)} users' histories do not begin with what their graphs were made from (first: {named}); "
            "an extension only adds later interactions: run `llmrg generate` to make the graphs again"
        )
    return Growth(tuple(changed), new_users, interactions, held_back)


def with_events(
    recipe: StandingRecipe, known: Mapping[str, Sequence[str]], events: Iterable[tuple[str, str]]
) -> list[UserHistory]:
    """Histories that grew by events, each known at once: nothing is held out of them.

    Args:
        recipe: knows the users.
        known: see :func:`grown`. The events come after what the arrays hold of it: an extension that was interrupted,
            and had added some to the store, may be begun again with the same events.
        events: user and item, in the order in which they happened.
    """
    arrays = load_arrays(recipe.job.arrays_path)
    length = dict(zip(arrays.user_ids.tolist(), arrays.as_of.tolist(), strict=True))
    later: dict[str, list[str]] = {}
    for user_id, item_id in events:
        later.setdefault(user_id, []).append(item_id)
    found = []
    for user_id, items in later.items():
        # of a user whose graph could not be made, the recipe knows the history all the same
        first = recipe.job.dataset.by_user.get(user_id)
        start = first.item_ids if first else ()
        before = known.get(user_id, start)[: length.get(user_id, len(start))]
        found.append(recipe.history(user_id, [*before, *items]))
    return found


def known_histories(store: GraphStore) -> dict[str, tuple[str, ...]]:
    """User id to the items of the user's graph, oldest first."""
    return {graph.user_id: graph.item_ids for graph in store}


def read_events(path: Path) -> Iterator[tuple[str, str]]:
    """User and item of each event of a file, in its order.

    Args:
        path: JSON Lines of ``{"user_id": ..., "item_id": ...}``, or (ending in .csv or .tsv) a table with these
            columns; other fields are not read.

    Raises:
        DataError: a line that is something else.
    """
    if path.suffix.lower() in TABLES:
        for _, (user_id, item_id) in read_table(path, ("user_id", "item_id")):
            yield user_id, item_id
        return
    for number, event in read_json_lines(path):
        found = [event.get(name) for name in ("user_id", "item_id")] if isinstance(event, dict) else []
        if not (found and all(isinstance(value, str | int) and str(value).strip() for value in found)):
            raise DataError(
                'expected an event such as {"user_id": "7", "item_id": "42"}', path=str(path), line=number
            )
        user_id, item_id = (str(value).strip() for value in found)
        yield user_id, item_id


def extend_graphs(
    recipe: StandingRecipe,
    store: GraphStore,
    growth: Growth,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> ExtensionOutcome:
    """Think about what grew, and take the graphs into store and arrays.

    Args:
        recipe: of the store.
        store: where the graphs lie; waves are committed whole, so an extension may be interrupted and begun again.
        growth: what is new.
        progress: called after each user.

    Raises:
        StoreError: the arrays were laid out by an older llmrg (``llmrg generate`` lays them out again), or another
            run works on the folder or has since the growth was sorted out.
        BudgetReached, EndpointError: what is finished is kept in the store.
    """
    if recipe.job.settings.language_model.model is not None:  # which holds the folder since it was opened
        return _extend(recipe, store, growth, progress)
    with hold(recipe.job.folder / LOCK_FILE):
        return _extend(recipe, store, growth, progress)


def _extend(
    recipe: StandingRecipe,
    store: GraphStore,
    growth: Growth,
    progress: Callable[[Progress], None] | None,
) -> ExtensionOutcome:
    job = recipe.job
    for history in growth.histories:  # now that the folder is held
        graph = store.get(history.user_id)
        if graph is not None and not history.begins_with(graph.item_ids):
            raise StoreError(
                f"{job.folder}: the graph of user {history.user_id!r} was made longer by another run since the new "
                "interactions were read; nothing was changed, run it again"
            )
    report = generate(
        growth.histories,
        job.dataset.catalog,
        recipe.reasoner,
        store,
        engine=recipe.engine,
        settings=recipe.settings,
        data_fingerprint=job.dataset.fingerprint,
        world=recipe.world,
        attributes=recipe.attributes,
        progress=progress,
    )
    arrays = load_arrays(job.arrays_path)
    laid_out = dict(zip(arrays.user_ids.tolist(), arrays.history.tolist(), strict=True))
    states = store.states(recipe.fingerprint)  # also those of an extension that was interrupted
    changed = sorted(user_id for user_id, history in states.items() if laid_out.get(user_id) != history)
    if changed:
        graphs = (graph for graph in map(store.get, changed) if graph is not None)
        content = fingerprint(
            ["extended", recipe.fingerprint, recipe.encoder.fingerprint, store.content_hash()]
        )
        extend_arrays(job.arrays_path, graphs, recipe.encoder, fingerprint=content)
        store.set_meta(arrays={"fingerprint": content, "recipe": recipe.fingerprint})
    return ExtensionOutcome(growth, report)
