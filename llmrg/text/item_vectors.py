"""Vectors of items of which more is known than their titles: what they are alike by, and what their nodes have.

Promise: words are still grounded to titles alone; an item without a text has the vector that it would have without
the file; the vectors are computed once, and kept under a hash of everything that affects them.

n items, d width of the encoder.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.errors import StoreError
from llmrg.fingerprint import fingerprint
from llmrg.graph.array_files import load_folder, new_folder, save_folder
from llmrg.text.encoder import TextEncoder, Vectors
from llmrg.text.item_texts import ItemTexts

VERSION = 1  # raise it when the same texts give other vectors
KEPT_FOLDER = "item-vectors"

log = logging.getLogger(__name__)


class DescribedItems:
    """Items described by title, attributes and text.

    An item's vector is the mean of its title's and its description's, of unit length. A sentence encoder reads the
    first words only (the packaged one 256 tokens, about 1,100 characters) and ignores the rest of a long text; the
    means of its sentences' vectors were no better (``benchmarks/item_likeness.py``).

    Args:
        catalog: the items.
        texts: theirs.
        encoder: sentence encoder.
        folder: vectors lie there, or will.
        keep: write them there once they are computed.
    """

    def __init__(
        self,
        catalog: ItemCatalog,
        texts: ItemTexts,
        encoder: TextEncoder,
        *,
        folder: Path | None = None,
        keep: bool = False,
    ) -> None:
        self._catalog, self._texts, self._encoder = catalog, texts, encoder
        self._folder, self._keep = folder, keep
        parts = [VERSION, catalog.fingerprint, encoder.fingerprint, texts.fingerprint]
        self._fingerprint = fingerprint(parts)

    @property
    def fingerprint(self) -> str:
        """Content hash of catalogue, texts and encoder."""
        return self._fingerprint

    def vectors(self, titles: Vectors) -> Vectors:
        """Unit vectors in catalogue order. [n, d]

        Args:
            titles: the titles' own vectors; of an item without a text they are the answer. [n, d]
        """
        found = self._kept(titles.shape)
        if found is None:
            found = self._computed(titles)
            if self._keep and self._folder is not None:
                with new_folder(self._folder) as partial:
                    save_folder(partial, {"vectors": found}, {"fingerprint": self.fingerprint})
        return found

    def _computed(self, titles: Vectors) -> Vectors:
        rows = [row for row, item_id in enumerate(self._catalog) if item_id in self._texts.by_item]
        log.info("sentence vectors of %d item texts", len(rows))
        found = titles.copy()
        if not rows:
            return found
        texts = [description(self._catalog[item_id], text) for item_id, text in self._texts.by_item.items()]
        mixed = titles[rows] + self._encoder(texts)
        found[rows] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
        return found

    def _kept(self, shape: tuple[int, ...]) -> Vectors | None:
        if self._folder is None:
            return None
        try:
            arrays, facts = load_folder(self._folder, ("vectors",), ("fingerprint",))
        except StoreError:
            return None  # none yet, or unusable: computed anew
        vectors: Vectors = arrays["vectors"]
        return vectors if facts["fingerprint"] == self.fingerprint and vectors.shape == shape else None


def description(item: CatalogItem, text: str) -> str:
    """Title, attributes and text of an item as one string.

    >>> description(CatalogItem("1", "Heat", {"year": ("1995",), "genre": ("Action", "Crime")}), "A heist goes wrong.")
    'Heat, 1995, Action, Crime. A heist goes wrong.'
    """
    values = [value for values in item.attributes.values() for value in values if value]
    head = ", ".join(filter(None, [item.title.strip(), *values]))
    return ". ".join(filter(None, [head, text]))
