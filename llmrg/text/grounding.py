"""From words to catalogue items: what a reply calls an item, and which titles lie near which.

Promise: every item has one label of its own (:meth:`Grounding.label`), and grounding that label gives back
that very item; other words are grounded by sentence vectors of titles, keep their similarity, and may find nothing.
Items are alike by what is known of them: their titles, or more where they are described.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.fingerprint import fingerprint
from llmrg.text.encoder import TextEncoder, Vectors
from llmrg.text.item_vectors import DescribedItems

BLOCK = 1024  # rows of the similarity matrix held at once, at most
CELLS = 1 << 26  # and its cells, whatever the catalogue: about 1 GB with what is made of them


@dataclass(frozen=True)
class Grounded:
    """One catalogue item found for some words.

    Args:
        item_id: external id.
        similarity: cosine similarity of the words and the item's title; 1 for its own label.
    """

    item_id: str
    similarity: float


class Grounding:
    """An index of the catalogue's titles.

    Args:
        catalog: the items.
        encoder: sentence encoder; without one only labels are grounded and nothing is near anything.
        described: more about the same items than their titles; grounding of words does not read it.
    """

    def __init__(
        self,
        catalog: ItemCatalog,
        encoder: TextEncoder | None = None,
        described: DescribedItems | None = None,
    ) -> None:
        self.item_ids: tuple[str, ...] = tuple(catalog)
        self._encoder, self.described = encoder, described
        titles = [catalog[i].title for i in self.item_ids]
        self._labels = dict(zip(self.item_ids, _own_labels(self.item_ids, titles), strict=True))
        self._by_label = {label.strip(): i for i, label in self._labels.items()}
        self._by_folded: dict[str, str | None] = {}  # None: case or blanks alone tell these apart
        for label, i in self._by_label.items():
            folded = _folded(label)
            self._by_folded[folded] = None if folded in self._by_folded else i
        self._titles = titles
        self._catalog_fingerprint = catalog.fingerprint
        self._nearest: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]] = {}

    @property
    def fingerprint(self) -> str:
        """Content hash of the catalogue, the encoder and what else describes items."""
        parts = [self._catalog_fingerprint, self._encoder.fingerprint if self._encoder else None]
        return fingerprint(parts if self.described is None else [*parts, self.described.fingerprint])

    def label(self, item_id: str) -> str:
        """The words that name exactly this item: its title, with the id where titles are shared or absent."""
        return self._labels.get(item_id, f"[item {item_id}]")

    def labelled(self, words: str) -> str | None:
        """The item whose label this is, if any; in other case or with other blanks where only one can be meant."""
        words = words.strip()
        found = self._by_label.get(words)
        return self._by_folded.get(_folded(words)) if found is None else found

    @cached_property
    def vectors(self) -> Vectors:
        """Title vectors in catalogue order; zero where there is no title. [n, d]"""
        if self._encoder is None or not self.item_ids:
            return np.zeros((len(self.item_ids), 1), np.float32)
        titled = [i for i, title in enumerate(self._titles) if title.strip()]
        found = self._encoder([self._titles[i] for i in titled])
        vectors = np.zeros((len(self.item_ids), found.shape[1]), np.float32)
        vectors[titled] = found
        return vectors

    @cached_property
    def likeness(self) -> Vectors:
        """Vectors by which items are alike, in catalogue order: the titles', or the described items'. [n, d]"""
        return self.vectors if self.described is None else self.described.vectors(self.vectors)

    def ground(
        self,
        texts: Sequence[str],
        *,
        top_k: int = 1,
        threshold: float = 0.6,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> list[list[Grounded]]:
        """For each text the items it most likely means, best first; an empty list where none is near enough.

        Args:
            texts: what a reply calls items.
            top_k: items per text at most.
            threshold: least cosine similarity.
            allowed: catalogue rows that may be found. [n]
        """
        found: list[list[Grounded]] = [[] for _ in texts]
        row = self.row
        open_texts = []
        for at, text in enumerate(texts):
            item_id = self.labelled(text)
            if item_id is None:
                open_texts.append(at)
            elif allowed is None or allowed[row[item_id]]:
                found[at] = [Grounded(item_id, 1.0)]
        if not open_texts or self._encoder is None or not self.item_ids:
            return found
        vectors = self._encoder([texts[at] for at in open_texts])
        items, scores = self._search(vectors, top_k, allowed)
        for at, item, score in zip(open_texts, items.tolist(), scores.tolist(), strict=True):
            found[at] = [
                Grounded(self.item_ids[i], s)
                for i, s in zip(item, score, strict=True)
                if i >= 0 and s >= threshold
            ]
        return found

    def _search(
        self, vectors: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The most similar allowed titles, best first, ties by index; -1 where there are fewer. [T, k], [T, k]"""
        import faiss

        parameters = None
        if allowed is not None:
            bits = np.packbits(allowed[: len(self.item_ids)], bitorder="little")
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        scores, items = self._index.search(np.ascontiguousarray(vectors, np.float32), k, params=parameters)
        order = np.lexsort((items, -scores), axis=1)
        return np.take_along_axis(items, order, axis=1), np.take_along_axis(scores, order, axis=1)

    @cached_property
    def _index(self) -> Any:
        """Exact inner products over the title vectors."""
        import faiss

        index = faiss.IndexFlatIP(self.vectors.shape[1])
        index.add(np.ascontiguousarray(self.vectors, np.float32))
        return index

    def similarity(self, texts: Sequence[str], item_ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Cosine similarity of words and items; 1 for an item's own label. [T, I]"""
        found = np.zeros((len(texts), len(item_ids)), np.float32)
        rows = [self.row.get(item_id, -1) for item_id in item_ids]
        if self._encoder is not None and texts:
            vectors = np.where(np.array(rows)[:, None] >= 0, self.vectors[rows], 0.0)
            found = np.asarray(self._encoded(texts, self._encoder) @ vectors.T, np.float32)
        for at, text in enumerate(texts):
            label = self.labelled(text)
            found[at] = [
                1.0 if item_id == label else value for item_id, value in zip(item_ids, found[at], strict=True)
            ]
        return found

    def _encoded(self, texts: Sequence[str], encoder: TextEncoder) -> Vectors:
        """Vectors of texts; a title of the catalogue is not encoded a second time. [T, d]"""
        known = [self.row.get(self.labelled(text) or "", -1) for text in texts]
        known = [
            i if i >= 0 and self._titles[i] == text else -1 for i, text in zip(known, texts, strict=True)
        ]
        vectors = self.vectors[known]
        new = [at for at, i in enumerate(known) if i < 0]
        if new:
            vectors[new] = encoder([texts[at] for at in new])
        return vectors

    @cached_property
    def row(self) -> Mapping[str, int]:
        """Catalogue row of each item id."""
        return {item_id: i for i, item_id in enumerate(self.item_ids)}

    def nearest(self, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The ``k`` items most alike for each item, itself left out, and their cosine. [n, k], [n, k]"""
        if k not in self._nearest:
            self._nearest[k] = self._find_nearest(k)
        return self._nearest[k]

    def _find_nearest(self, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        n = len(self.item_ids)
        k = min(k, max(n - 1, 0))
        item = np.zeros((n, k), np.int32)
        score = np.zeros((n, k), np.float32)
        if self._encoder is None or k == 0:
            return item[:, :0], score[:, :0]
        size = max(1, min(BLOCK, CELLS // n))
        for start in range(0, n, size):
            block = self.likeness[start : start + size] @ self.likeness.T
            rows = np.arange(len(block))
            block[rows, start + rows] = -2.0
            best = np.argpartition(-block, k - 1, axis=1)[:, :k]
            values = np.take_along_axis(block, best, axis=1)
            order = np.lexsort((best, -values), axis=1)
            item[start : start + size] = np.take_along_axis(best, order, axis=1)
            score[start : start + size] = np.maximum(np.take_along_axis(values, order, axis=1), 0.0)
        return item, score


def _folded(words: str) -> str:
    return " ".join(words.casefold().split())


def _own_labels(item_ids: Sequence[str], titles: Sequence[str]) -> list[str]:
    """Of each item its title; with the id behind it where there is none, or where another item is called the same.

    Only case may tell two labels with ids apart, as it may be all that tells the ids apart.
    """
    times = [0 if title.strip() else 1 for title in titles]  # that the id is said
    while True:
        labels = [
            (title + f" [item {i}]" * n).strip() if n else title
            for i, title, n in zip(item_ids, titles, times, strict=True)
        ]
        folded = Counter(label.casefold().strip() for label in labels)
        shared = [at for at, n in enumerate(times) if not n and folded[labels[at].casefold().strip()] > 1]
        if not shared:
            exact = Counter(labels)  # ids that themselves hold "[item"
            shared = [at for at, label in enumerate(labels) if times[at] and exact[label] > 1]
        if not shared:
            return labels
        for at in shared:
            times[at] += 1


def item_or_bare(catalog: ItemCatalog, item_id: str) -> CatalogItem:
    """The catalogue's entry, or one without title where the catalogue does not know the item."""
    return catalog[item_id] if item_id in catalog else CatalogItem(item_id)
