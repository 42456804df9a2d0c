"""Vectors of items of which more is known than their titles: what they are alike by, and what their nodes have.

Promise: words are still grounded to titles alone; an item that lacks a title, attributes or a text has the mean of
what it has. What the encoder gave is kept elsewhere (see :mod:`llmrg.text.kept_vectors`); putting it together is cheap.

n items, d width of the encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.fingerprint import fingerprint
from llmrg.text.encoder import TextEncoder, Vectors
from llmrg.text.item_texts import ItemTexts

VERSION = 1  # raise it when the same texts give other vectors

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
        notice: called with a sentence before texts are encoded, which takes a while.
    """

    def __init__(
        self,
        catalog: ItemCatalog,
        encoder: TextEncoder,
        *,
        texts: ItemTexts | None = None,
        attributes: bool = True,
        notice: Callable[[str], None] = log.info,
    ) -> None:
        self._catalog, self._encoder, self._texts, self._attributes = catalog, encoder, texts, attributes
        self._notice = notice
        words = None if texts is None else texts.fingerprint
        self._fingerprint = fingerprint(
            [VERSION, catalog.fingerprint, encoder.fingerprint, words, attributes]
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_notice": log.info}  # a copy in another process has nobody's screen

    @property
    def fingerprint(self) -> str:
        """Content hash of catalogue, texts and encoder."""
        return self._fingerprint

    def vectors(self, titles: Vectors) -> Vectors:
        """Unit vectors in catalogue order; zero where nothing is known of an item. [n, d]

        Args:
            titles: the titles' own vectors, zero without a title. [n, d]
        """
        found = centred(titles)
        if self._attributes:
            found = found + centred(
                self._encoded([attribute_words(i) for i in self._catalog.values()], titles)
            )
        if self._texts is not None:
            texts = self._texts.by_item
            self._notice(
                f"finding the vectors of {len(texts)} item texts (some seconds a hundred, the first time)"
            )
            found = found + centred(self._encoded([texts.get(i, "") for i in self._catalog], titles))
        return _unit(found)

    def _encoded(self, words: Sequence[str], like: Vectors) -> Vectors:
        """Vectors of words, zero where there are none. [n, d]"""
        vectors = np.zeros_like(like)
        rows = [row for row, one in enumerate(words) if one]
        if rows:
            vectors[rows] = self._encoder([words[row] for row in rows])
        return vectors


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
