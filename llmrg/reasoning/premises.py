"""Which premises of the knowledge base speak to a case: the exact one first, then generalised ones.

Promise: a premise names items, what two items have in common, or the category of one, never a user or a position.
What was found about a pair of items is kept under that pair and under the attribute values they share; a case nobody
met before is answered by items with a like title (a proposal by sentence vectors, taken only within the same
category), then by what the item shares with the nearest one before it, or by its category where it shares nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from llmrg.reasoning.world import World

REACH = 5  # steps back within which an item counts as the source of a link

KINDS = ("link", "link-shared", "link-alone", "next", "next-category")
"""The kinds of premise: what their keys begin with, before the colon."""


def link_premises(world: World, item_ids: Sequence[str], position: int) -> Iterator[tuple[str, int]]:
    """Premises about what led to the item at ``position``, each with the position it would follow from."""
    item = item_ids[position]
    sources = _sources(position)
    for source in sources:
        yield _link(item_ids[source], item), source
    for like in world.like(item):
        for source in sources:
            yield _link(item_ids[source], like), source
    yield from _general(world, item_ids, position)


def link_lessons(world: World, item_ids: Sequence[str], position: int, source: int | None) -> list[str]:
    """Under which premises it is kept that the item at ``position`` followed from ``source``, or from nothing."""
    exact = [] if source is None else [_link(item_ids[source], item_ids[position])]
    return [*exact, *(key for key, _ in _general(world, item_ids, position))]


def premise_kind(key: str) -> str:
    """One of :data:`KINDS`, from an entry's key."""
    return key.partition(":")[0]


def premise_words(key: str, titles: Mapping[str, str]) -> str:
    """What an entry is about, for people.

    Args:
        key: of the entry.
        titles: item id → title; an item without one is called by its id.

    >>> premise_words("link:50->181", {"50": "Star Wars", "181": "Return of the Jedi"})
    'why Return of the Jedi is taken after Star Wars'
    >>> premise_words("next-category:class=Drama", {})
    'what may follow an item with class=Drama'
    """
    kind, _, about = key.partition(":")
    if kind == "link":
        source, item = _linked(about)
        return f"why {titles.get(item) or f'item {item}'} is taken after {titles.get(source) or f'item {source}'}"
    if kind == "link-shared":
        return f"why an item is taken after another with the same {about}"
    if kind == "link-alone":
        return f"why an item with {about} is taken that shares nothing with those before"
    if kind == "next":
        return f"what may follow {titles.get(about) or f'item {about}'}"
    return f"what may follow an item with {about}"


def premise_items(key: str) -> tuple[str, ...]:
    """Ids of the items that an entry's key names.

    >>> premise_items("link:50->181"), premise_items("link-alone:class=Drama")
    (('50', '181'), ())
    """
    kind, _, about = key.partition(":")
    if kind == "link":
        return _linked(about)
    return (about,) if kind == "next" else ()


def _general(world: World, item_ids: Sequence[str], position: int) -> Iterator[tuple[str, int]]:
    item = item_ids[position]
    for source in _sources(position):
        shared = world.shared(item_ids[source], item)
        if shared:
            yield f"link-shared:{shared}", source
            return
    categories = world.categories(item)
    if categories:
        yield f"link-alone:{categories[0]}", position


def _sources(position: int) -> range:
    return range(position - 1, max(-1, position - 1 - REACH), -1)


def next_keys(world: World, item: str) -> list[str]:
    """Under which premises "this may follow a chain that ends in ``item``" is kept."""
    return [_next(item), *(f"next-category:{category}" for category in world.categories(item))]


def next_premises(world: World, item: str) -> Iterator[str]:
    """Premises that would say what may follow a chain that ends in ``item``."""
    exact, *categories = next_keys(world, item)
    yield exact
    for like in world.like(item):
        yield _next(like)
    yield from categories


def _link(source: str, item: str) -> str:
    return f"link:{_unmistakable(source)}->{_unmistakable(item)}"


def _unmistakable(item: str) -> str:
    """An item's id as it stands in a link: quoted where it could be taken for more than one."""
    return json.dumps(item, ensure_ascii=False) if "->" in item or item.startswith('"') else item


def _linked(about: str) -> tuple[str, str]:
    """The two ids of a link."""
    try:
        if about.startswith('"'):
            source, end = json.JSONDecoder().raw_decode(about)
            item = about[end + len("->") :]
        else:
            source, _, item = about.partition("->")
        return source, json.loads(item) if item.startswith('"') else item
    except ValueError:  # a key of somebody else's making: shown as it is
        source, _, item = about.partition("->")
        return source, item


def _next(item: str) -> str:
    return f"next:{item}"
