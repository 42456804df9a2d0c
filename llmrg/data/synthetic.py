"""Synthetic users whose next item depends on a theme that only their graph states, and the files they fill.

Promise: one knob, ``signal``, says how much a graph tells of its user's future: at 1 every statement is the
theme decided on in that moment, at 0 the graph is drawn without looking at the user at all. A statement is
written down at the moment of the decision, before the item it bears on is drawn, so the first ``k`` items of
a user, and what their graph holds before position ``k - 1``, are the same for every ``length``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.interactions import UserHistory
from llmrg.errors import DataError
from llmrg.fingerprint import fingerprint, seed_from
from llmrg.graph.schema import Edge, Node, NodeKind, Provenance, ReasoningGraph, Relation

SWITCH_RATE = 0.7
"""Chance that a user turns to another theme after an item: what item ids cannot tell."""

IMAGINED_PER_REASON = 2
"""Catalogue items of the stated theme that a reason suggests; drawn apart from the item that follows."""

THEME_WORDS = (
    "astronomy",
    "baking",
    "chess",
    "desert",
    "engines",
    "fencing",
    "gardens",
    "harbours",
    "islands",
    "jazz",
    "knitting",
    "lanterns",
)


@dataclass(frozen=True)
class PlantedThemes:
    """Synthetic data with planted reasoning graphs.

    Args:
        sequences: user id to all item ids, oldest first; the last is the test target.
        catalog: every item; titles and attributes say nothing about themes.
        item_themes: item id to the index of its theme.
        graphs: user id to the planted graph, which knows everything but the test target.
        signal: the share of moments in which the graph follows its user.
    """

    sequences: Mapping[str, tuple[str, ...]]
    catalog: ItemCatalog
    item_themes: Mapping[str, int]
    graphs: Mapping[str, ReasoningGraph]
    signal: float

    @cached_property
    def histories(self) -> tuple[UserHistory, ...]:
        """Leave-one-out histories: without the test target, the validation target last."""
        return tuple(_history(user_id, items) for user_id, items in self.sequences.items())

    def __repr__(self) -> str:
        themes = len(set(self.item_themes.values()))
        sizes = f"{len(self.sequences)} users, {len(self.catalog)} items, {themes} themes"
        return f"PlantedThemes({sizes}, signal={self.signal})"


def planted_themes(
    *, num_users: int, num_items: int, num_themes: int, length: int, signal: float, seed: int
) -> PlantedThemes:
    """Users who wander between themes, and graphs that state where they go next.

    Every item belongs to one theme. After each item the user stays with the theme or, with chance
    :data:`SWITCH_RATE`, turns to another one; the next item is then drawn evenly from the theme. Item ids
    tell the theme of the past and hence little about the next item. A turn is stated in the graph as a reason
    at the position of the newest item, with imagined items of the new theme.

    Args:
        num_users: users, ``u0`` onwards.
        num_items: items, ``i0`` onwards.
        num_themes: themes, at most ``len(THEME_WORDS)``.
        length: items of every user, the test target included.
        signal: chance, at every moment, that the graph follows the user; otherwise it follows a made-up
            wanderer with the same habits.
        seed: one seed, one data set.

    Raises:
        DataError: a size or a signal that makes no sense.

    >>> planted_themes(num_users=3, num_items=12, num_themes=4, length=6, signal=1.0, seed=1)
    PlantedThemes(3 users, 12 items, 4 themes, signal=1.0)
    """
    if not 2 <= num_themes <= min(len(THEME_WORDS), num_items):
        raise DataError(
            f"expected 2..{len(THEME_WORDS)} themes and an item for each of them, found {num_themes} themes "
            f"and {num_items} items"
        )
    if num_users < 1 or length < 3:
        raise DataError(
            f"expected a user and 3 items each (training, validation, test), found {num_users} users and "
            f"a length of {length}"
        )
    if not 0 <= signal <= 1:
        raise DataError(f"signal must lie in 0..1, found {signal}")
    item_ids = [f"i{index}" for index in range(num_items)]
    shuffled = np.random.default_rng(seed_from("themes", seed)).permutation(num_items)
    members = [[item_ids[index] for index in shuffled[theme::num_themes]] for theme in range(num_themes)]
    recipe = fingerprint(
        {"recipe": "planted themes", "items": num_items, "themes": num_themes, "signal": signal, "seed": seed}
    )
    sequences: dict[str, tuple[str, ...]] = {}
    graphs: dict[str, ReasoningGraph] = {}
    for index in range(num_users):
        user_id = f"u{index}"
        rng = np.random.default_rng(seed_from("wanderer", seed, user_id))
        items, statements = _wander(rng, members, length, signal)
        sequences[user_id] = items
        graphs[user_id] = _graph(_history(user_id, items), statements, recipe)
    return PlantedThemes(
        sequences=sequences,
        catalog=ItemCatalog([CatalogItem(item_id, f"Item {item_id[1:]}") for item_id in item_ids]),
        item_themes={item_id: theme for theme, group in enumerate(members) for item_id in group},
        graphs=graphs,
        signal=signal,
    )


def write_atomic_files(
    folder: Path,
    name: str,
    sequences: Mapping[str, Sequence[str]],
    *,
    catalog: ItemCatalog | None = None,
    user_attributes: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None,
    times: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Write ``folder/name/name.inter`` (and ``.item``, ``.user``) as RecBole reads them.

    Args:
        folder: what RecBole calls ``data_path``.
        name: the data set's name.
        sequences: user id to item ids, oldest first.
        catalog: titles and attributes of items; no ``.item`` file without it.
        user_attributes: user id to attributes; no ``.user`` file without it.
        times: user id to timestamps; by default the places in that user's order.

    Returns:
        The folder of the data set.

    Raises:
        DataError: a value with a tab or a line break, or an attribute value with a space.
    """
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, ...]] = [
        (user_id, item_id, str(time))
        for user_id, items in sequences.items()
        for item_id, time in zip(items, times[user_id] if times else range(len(items)), strict=True)
    ]
    _write_table(target / f"{name}.inter", ("user_id:token", "item_id:token", "timestamp:float"), rows)
    if catalog is not None:
        names = sorted({key for item in catalog.values() for key in item.attributes})
        header = ("item_id:token", "title:token_seq", *(f"{key}:token_seq" for key in names))
        rows = [
            (item.item_id, item.title, *(_joined(item.attributes.get(key, ()), key) for key in names))
            for item in catalog.values()
        ]
        _write_table(target / f"{name}.item", header, rows)
    if user_attributes is not None:
        names = sorted({key for attributes in user_attributes.values() for key in attributes})
        header = ("user_id:token", *(f"{key}:token_seq" for key in names))
        rows = [
            (user_id, *(_joined(attributes.get(key, ()), key) for key in names))
            for user_id, attributes in user_attributes.items()
        ]
        _write_table(target / f"{name}.user", header, rows)
    return target


@dataclass(frozen=True)
class _Statement:
    position: int
    theme: int
    imagined: tuple[str, ...]


def _wander(
    rng: np.random.Generator, members: Sequence[Sequence[str]], length: int, signal: float
) -> tuple[tuple[str, ...], list[_Statement]]:
    """Items of one user and what the graph states at each position but the last.

    Every step takes the same number of draws in the same order, whatever they come to: a longer walk begins
    with the shorter one.
    """
    num_themes = len(members)

    def draw_item(theme: int) -> str:
        return members[theme][int(rng.random() * len(members[theme]))]

    def turn(theme: int) -> tuple[bool, int]:
        turns, other = rng.random() < SWITCH_RATE, int(rng.random() * (num_themes - 1))
        return bool(turns), (theme + 1 + other) % num_themes if turns else theme

    theme, decoy = int(rng.random() * num_themes), int(rng.random() * num_themes)
    items, statements = [draw_item(theme)], []
    for position in range(length - 1):
        turns, theme = turn(theme)
        decoy_turns, decoy = turn(decoy)
        follows_user = rng.random() < signal
        stated, states = (theme, turns) if follows_user else (decoy, decoy_turns)
        imagined = tuple(dict.fromkeys(draw_item(stated) for _ in range(IMAGINED_PER_REASON)))
        if states:
            statements.append(_Statement(position, stated, imagined))
        items.append(draw_item(theme))
    return tuple(items), statements


def _history(user_id: str, items: tuple[str, ...]) -> UserHistory:
    known = items[:-1]
    return UserHistory(user_id, known, len(known) - 1, tuple(float(place) for place in range(len(known))))


def _graph(history: UserHistory, statements: Sequence[_Statement], recipe: str) -> ReasoningGraph:
    by_position = {statement.position: statement for statement in statements}
    nodes: list[Node] = []
    edges: list[Edge] = []
    reasons = imagined = 0
    for position, item_id in enumerate(history.item_ids):
        item_key = f"item:{position}"
        nodes.append(Node(item_key, NodeKind.ITEM, f"Item {item_id[1:]}", position, item_id))
        if position:
            edges.append(Edge(f"item:{position - 1}", item_key, Relation.FOLLOWS))
        statement = by_position.get(position)
        if statement is None:
            continue
        reason_key, words = f"reason:{reasons}", THEME_WORDS[statement.theme]
        reasons += 1
        origin = Provenance(request=fingerprint([recipe, history.user_id, position]))
        nodes.append(
            Node(reason_key, NodeKind.REASON, f"in the mood for {words}", position, provenance=origin)
        )
        edges.append(Edge(item_key, reason_key, Relation.SUPPORTS))
        for imagined_id in statement.imagined:
            key, label = f"imagined:{imagined}", f"Item {imagined_id[1:]}"
            imagined += 1
            nodes.append(Node(key, NodeKind.IMAGINED_ITEM, label, position, imagined_id, provenance=origin))
            edges.append(Edge(reason_key, key, Relation.SUGGESTS))
    return ReasoningGraph(
        user_id=history.user_id,
        nodes=tuple(nodes),
        edges=tuple(edges),
        as_of=len(history),
        history=history.fingerprint,
        recipe=recipe,
    )


def _joined(values: Sequence[str], name: str) -> str:
    for value in values:
        if " " in value:
            raise DataError(
                f"attribute {name!r}: expected values without spaces, found {value!r}; RecBole splits there"
            )
    return " ".join(values)


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for line, row in enumerate(rows, start=2):
        for value in row:
            if any(mark in value for mark in "\t\r\n"):
                raise DataError(
                    f"expected a value without tabs and line breaks, found {value!r}",
                    path=str(path),
                    line=line,
                )
    path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8")
