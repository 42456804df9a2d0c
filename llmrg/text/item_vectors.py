"""Vectors of items of which more is known than their titles: what they are alike by, and what their nodes have.

Promise: words are still grounded to titles alone; an item that lacks a title, attributes or a text has the mean of
what it has; the vectors are computed once, and kept under a hash of everything that affects them.

n items, d width of the encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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

    Each of the three is encoded by itself and centred (all texts of a catalogue sound alike: what they share says
    nothing); an item's vector is their mean, of unit length. One of them that is longer than the sentence encoder reads
    (the packaged one: 256 tokens, about 1,100 characters) counts with its beginning only.

    Args:
        catalog: the items.
        encoder: sentence encoder.
        texts: of the items; ``None``: there are none.
        attributes: whether attributes describe them, too.
        folder: vectors lie there, or will.
        keep: write them there once they are computed.
        notice: called with a sentence before texts are encoded, which takes a while.
    """

    def __init__(
        self,
        catalog: ItemCatalog,
        encoder: TextEncoder,
        *,
        texts: ItemTexts | None = None,
        attributes: bool = True,
        folder: Path | None = None,
        keep: bool = False,
        notice: Callable[[str], None] = log.info,
    ) -> None:
        self._catalog, self._encoder, self._texts, self._attributes = catalog, encoder, texts, attributes
        self._folder, self._keep, self._notice = folder, keep, notice
        words = None if texts is None else texts.fingerprint
        self._fingerprint = fingerprint(
            [VERSION, catalog.fingerprint, encoder.fingerprint, words, attributes]
        )

    @property
    def fingerprint(self) -> str:
        """Content hash of catalogue, texts and encoder."""
        return self._fingerprint

    def vectors(self, titles: Vectors) -> Vectors:
        """Unit vectors in catalogue order; zero where nothing is known of an item. [n, d]

        Args:
            titles: the titles' own vectors, zero without a title. [n, d]
        """
        found = self._kept(titles.shape)
        if found is None:
            found = self._computed(titles)
            if self._keep and self._folder is not None:
                with new_folder(self._folder) as partial:
                    save_folder(partial, {"vectors": found}, {"fingerprint": self.fingerprint})
        return found

    def _computed(self, titles: Vectors) -> Vectors:
        found = centred(titles)
        if self._attributes:
            found = found + centred(
                self._encoded([attribute_words(i) for i in self._catalog.values()], titles)
            )
        if self._texts is not None:
            texts = self._texts.by_item
            self._notice(f"finding the vectors of {len(texts)} item texts (once, some seconds a hundred)")
            found = found + centred(self._encoded([texts.get(i, "") for i in self._catalog], titles))
        return _unit(found)

    def _encoded(self, words: Sequence[str], like: Vectors) -> Vectors:
        """Vectors of words, zero where there are none. [n, d]"""
        vectors = np.zeros_like(like)
        rows = [row for row, one in enumerate(words) if one]
        if rows:
            vectors[rows] = self._encoder([words[row] for row in rows])
        return vectors

    def _kept(self, shape: tuple[int, ...]) -> Vectors | None:
        if self._folder is None:
            return None
        try:
            arrays, facts = load_folder(self._folder, ("vectors",), ("fingerprint",))
        except StoreError:
            return None  # none yet, or unusable: computed anew
        vectors: Vectors = arrays["vectors"]
        return vectors if facts["fingerprint"] == self.fingerprint and vectors.shape == shape else None


def attribute_words(item: CatalogItem) -> str:
    """An item's attribute values as words.

    >>> attribute_words(CatalogItem("1", "Heat", {"year": ("1995",), "genre": ("Action", "Crime")}))
    '1995; Action, Crime'
    """
    return "; ".join(", ".join(filter(None, values)) for values in item.attributes.values() if any(values))


def centred(vectors: Vectors) -> Vectors:
    """Vectors less the mean of those that are not zero, of unit length; one alone stays as it is. [n, d] -> [n, d]

    >>> centred(np.array([[2, 1], [0, 1], [0, 0]], np.float32)).tolist()
    [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]
    """
    said = vectors.any(axis=1)
    if said.sum() < 2:
        return vectors
    found = np.zeros_like(vectors)
    found[said] = vectors[said] - vectors[said].mean(axis=0)
    return _unit(found)


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)
    return unit
