"""Which premises of the knowledge base speak to a case: the exact one first, then generalised ones.

Promise: a premise names items, or the categories they belong to, never a user or a position. What verification
found true of two items is kept under their exact pair and under the pair of their categories; a case nobody met
before is answered by items with a like title (a proposal by sentence vectors, taken only within the same
category) or by its categories. Premises come in the order they are to be believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmrg.reasoning.world import World

REACH = 5  # steps back within which an item counts as the source of a link


def link_keys(world: World, source: str, item: str) -> list[str]:
    """Under which premises "``item`` follows from ``source``" is kept."""
    keys = [_link(source, item)]
    before, after = world.category(source), world.category(item)
    if before and after:
        keys.append(f"link-category:{before}->{after}")
    return keys


def next_keys(world: World, item: str) -> list[str]:
    """Under which premises "this may follow a chain that ends in ``item``" is kept."""
    category = world.category(item)
    return [_next(item), *([f"next-category:{category}"] if category else [])]


def link_premises(world: World, item_ids: Sequence[str], position: int) -> Iterator[tuple[str, int]]:
    """Premises that would explain the item at ``position``, each with the position of its source."""
    item = item_ids[position]
    sources = range(position - 1, max(-1, position - 1 - REACH), -1)
    for source in sources:
        yield _link(item_ids[source], item), source
    for like in world.like(item):
        for source in sources:
            yield _link(item_ids[source], like), source
    for source in sources:
        for key in link_keys(world, item_ids[source], item)[1:]:
            yield key, source


def next_premises(world: World, item: str) -> Iterator[str]:
    """Premises that would say what may follow a chain that ends in ``item``."""
    exact, *categories = next_keys(world, item)
    yield exact
    for like in world.like(item):
        yield _next(like)
    yield from categories


def _link(source: str, item: str) -> str:
    return f"link:{source}->{item}"


def _next(item: str) -> str:
    return f"next:{item}"
