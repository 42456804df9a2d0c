"""What the embedded reasoner knows about items: what users outside a fold did, shared attributes, alike titles.

Promise: everything that depends on users comes from the folds that are not served, by
:class:`~llmrg.data.cooccurrence.FoldView` or by leaving the fold out when asked; everything else comes from the
catalogue. All tables are dense in the item index, so one answer costs a few array operations and no loop over items.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llmrg.data.catalog import ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence, FoldView
from llmrg.data.item_factors import ItemFactors, item_factors
from llmrg.data.sequence_neighbours import SequenceNeighbours
from llmrg.text.grounding import Grounding, item_or_bare

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

VALUES = 1024  # attribute values compared, most frequent first; one that no two items share says nothing
NAMED = 24  # attribute values that may be named in a reason: keeps the distinct reasons to some hundreds
ALIKE_TITLE, NEARNESS = 0.05, 4  # weight of a like title beside succession, and the power of its cosine
LONE = 0.9  # users taken off a pair's support: what one user did says little, what two did much more
FROM, TO = (
    0.7,
    0.3,
)  # powers of popularity that succession is divided by: of the item before, of the one after
STRETCHES = 0.04  # weight of what stands around stretches like the newest items, beside succession
LEAN = 0.1  # power of popularity by which like titles lean towards what is taken often


@dataclass(frozen=True)
class FoldTables:
    """Evidence that may answer one fold's users.

    Args:
        view: the counts of all other folds.
        start: where the entries of each item begin, and where the last ones end. [n + 1]
        item: what may follow: every item anybody took near it, and like titles; one may occur twice. [P]
        weight: how strongly; 0 where not existing. [P]
        best: each item's strongest succession, to scale others by. [n]
        taste: what goes with whole histories.
        stretches: all histories, searchable.
        fold: of the users served.
    """

    view: FoldView
    start: IntArray
    item: npt.NDArray[np.int32]
    weight: FloatArray
    best: FloatArray
    taste: ItemFactors
    stretches: SequenceNeighbours
    fold: int

    def following(self, shown: IntArray) -> npt.NDArray[np.float64]:
        """How strongly every item follows each of those shown. [S, n]"""
        spans = [slice(self.start[i], self.start[i + 1]) for i in shown.tolist()]
        sizes = self.start[shown + 1] - self.start[shown]
        row = np.repeat(np.arange(len(shown)) * self.view.n, sizes)
        place = row + np.concatenate([self.item[span] for span in spans])
        weight = np.concatenate([self.weight[span] for span in spans])
        total = np.bincount(place, weight, len(shown) * self.view.n)
        return np.asarray(total, np.float64).reshape(len(shown), -1)

    def around(self, shown: IntArray) -> npt.NDArray[np.float64]:
        """How much stretches of other histories that are like the newest of those shown hold every item, on the scale
        of :meth:`following`. [n]"""
        return STRETCHES * self.stretches.around(shown, self.fold)


class Evidence:
    """Item tables shared by the four tasks.

    Args:
        catalog: the items.
        cooccurrence: training statistics, indexed in catalogue order.
        grounding: titles of the same catalogue.
        kept: like titles kept per item.
    """

    def __init__(
        self, catalog: ItemCatalog, cooccurrence: Cooccurrence, grounding: Grounding, *, kept: int = 50
    ) -> None:
        self.cooccurrence, self.grounding, self.kept = cooccurrence, grounding, kept
        self.index = cooccurrence.index
        self.ids = cooccurrence.item_ids
        self._items = [item_or_bare(catalog, item_id) for item_id in self.ids]
        self._folds: dict[int, FoldTables] = {}
        self._said: dict[str, FloatArray] = {}

    @cached_property
    def titles(self) -> FloatArray:
        """Unit vectors of titles, or of all that is known of the items; zero without. [n, d]"""
        vectors = self.grounding.likeness
        padded = np.zeros((len(self.ids), vectors.shape[1]), np.float32)
        padded[: len(vectors)] = vectors
        return padded

    @cached_property
    def attributes(self) -> FloatArray:
        """Unit vectors over attribute values, rarer values weighing more. [n, V]"""
        counts = self._value_counts
        values = sorted(
            (v for v, c in counts.items() if 1 < c < len(self.ids)), key=lambda v: (-counts[v], v)
        )
        column = {value: i for i, value in enumerate(values[:VALUES])}
        table = np.zeros((len(self.ids), max(1, len(column))), np.float32)
        for row, item in enumerate(self._items):
            for name, found in item.attributes.items():
                for value in found:
                    at = column.get((name, value))
                    if at is not None:
                        table[row, at] = np.log(len(self.ids) / counts[(name, value)])
        length = np.linalg.norm(table, axis=1, keepdims=True)
        return np.asarray(table / np.maximum(length, 1e-9), np.float32)

    @cached_property
    def named(self) -> list[tuple[tuple[str, str], ...]]:
        """Of each item the attribute values a reason may name, rarest first."""
        counts = self._value_counts
        wide = Counter(name for name, _ in counts)
        # a name with very many values (a year, a brand) would make a reason of its own for each of them
        plain = [v for v in counts if wide[v[0]] <= VALUES // 16] or list(counts)
        common = set(sorted(plain, key=lambda v: (-counts[v], v))[:NAMED])
        found = []
        for item in self._items:
            own = {(name, value) for name, values in item.attributes.items() for value in values if value}
            found.append(tuple(sorted(own & common, key=lambda v: (counts[v], v))))
        return found

    @cached_property
    def namable(self) -> FloatArray:
        """Which values that a reason may name each item has. [n, M]"""
        table = np.zeros((len(self.ids), max(1, len(self._columns))), np.float32)
        for row, own in enumerate(self.named):
            for value in own:
                table[row, self._columns[value]] = 1.0
        return table

    def said(self, words: str) -> FloatArray:
        """Which values a reason's words name. [M]"""
        found = self._said.get(words)
        if found is None:
            found = np.zeros(max(1, len(self._columns)), np.float32)
            for (_, value), column in self._columns.items():
                found[column] = value in words
            self._said[words] = found
        return found

    @cached_property
    def _columns(self) -> dict[tuple[str, str], int]:
        return {value: i for i, value in enumerate(sorted({v for own in self.named for v in own}))}

    @cached_property
    def _value_counts(self) -> Counter[tuple[str, str]]:
        counts: Counter[tuple[str, str]] = Counter()
        for item in self._items:
            counts.update(
                {(name, value) for name, values in item.attributes.items() for value in values if value}
            )
        return counts

    def prepare(self) -> None:
        """Find now what is the same for all folds: which titles lie near which, and where each item was taken."""
        _ = self._near, self._stretches

    def fold(self, scope: str) -> FoldTables:
        """The tables that answer the users of one scope."""
        fold = int(scope)
        if fold not in self._folds:
            self._folds[fold] = self._tables(fold)
        return self._folds[fold]

    @cached_property
    def _stretches(self) -> SequenceNeighbours:
        known = self.cooccurrence
        return SequenceNeighbours(known.sequences, known.fold_numbers, len(self.ids))

    def _tables(self, fold: int) -> FoldTables:
        view = self.cooccurrence.without(fold)
        users = zip(self.cooccurrence.sequences, self.cooccurrence.fold_numbers, strict=True)
        taste = item_factors([sequence for sequence, own in users if own != fold], view.n)
        popular = np.maximum(view.popularity, 1).astype(np.float64)
        a, b, weight, support = view.pairs()
        strength = weight * (1 - LONE / support) * popular[a] ** -FROM * popular[b] ** -TO
        near, cosine = self._near
        alike = (
            ALIKE_TITLE * cosine.astype(np.float64) ** NEARNESS * view.exists[near] * popular[near] ** LEAN
        )
        owner = np.concatenate([a, np.repeat(np.arange(view.n), near.shape[1])])
        order = np.argsort(owner, kind="stable")
        return FoldTables(
            view,
            start=np.searchsorted(owner[order], np.arange(view.n + 1)),
            item=np.concatenate([b, near.ravel()])[order].astype(np.int32),
            weight=np.concatenate([strength, alike.ravel()])[order].astype(np.float32),
            best=np.maximum(view.neighbours.score[:, 0], 1e-6),
            taste=taste,
            stretches=self._stretches,
            fold=fold,
        )

    def indexes(self, item_ids: list[str]) -> IntArray:
        """Item indexes. [*]"""
        return np.array([self.index[i] for i in item_ids], dtype=np.int64)

    @cached_property
    def _near(self) -> tuple[npt.NDArray[np.int32], FloatArray]:
        near, cosine = self.grounding.nearest(self.kept)
        rows = len(self.ids)
        item = np.zeros((rows, near.shape[1]), np.int32)
        score = np.zeros((rows, near.shape[1]), np.float32)
        item[: len(near)], score[: len(near)] = near, cosine
        return item, score
