"""What items are: title and attributes by external item id.

Promise: an item without a title stays an item (its title is then empty and it has no text vector of its own
making); nothing about users enters the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llmrg.errors import DataError
from llmrg.fingerprint import fingerprint_text
from llmrg.plain_text import encodable, encodable_values


@dataclass(frozen=True)
class CatalogItem:
    """One item.

    Args:
        item_id: external id.
        title: the words a person would know it by; may be empty.
        attributes: attribute name to its values, such as ``{"genre": ("Comedy", "Drama")}``.
    """

    item_id: str
    title: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # one title that cannot be written would fail every user who is shown it
        object.__setattr__(self, "title", encodable(self.title))
        object.__setattr__(self, "attributes", encodable_values(self.attributes))


class ItemCatalog(Mapping[str, CatalogItem]):
    """All known items, in file order, by external id.

    >>> catalog = ItemCatalog([CatalogItem("1", "Toy Story", {"genre": ("Animation",)})])
    >>> catalog["1"].title, len(catalog)
    ('Toy Story', 1)
    """

    def __init__(self, items: Iterator[CatalogItem] | list[CatalogItem]) -> None:
        self._items: dict[str, CatalogItem] = {}
        for item in items:
            if item.item_id in self._items:
                raise DataError(f"item {item.item_id!r} occurs twice in the catalogue")
            self._items[item.item_id] = item

    def __getitem__(self, item_id: str) -> CatalogItem:
        return self._items[item_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        titled = sum(1 for item in self._items.values() if item.title)
        return f"ItemCatalog({len(self)} items, {titled} with a title)"

    @property
    def fingerprint(self) -> str:
        """Content hash over ids, titles and attributes, in order."""
        return fingerprint_text(
            f"{item.item_id}\x1f{item.title}\x1f{sorted(item.attributes.items())}"
            for item in self._items.values()
        )
