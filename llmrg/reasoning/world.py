"""What the agent may look up beside a user's history: titles, grounding, and who is a fair distractor.

Promise: an item that nobody outside the user's fold has taken in training does not exist yet for that user:
it is neither imagined nor a distractor (law 1). Lookups are pure; one world serves all users.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llmrg.data.catalog import ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence, FoldView
from llmrg.fingerprint import fingerprint
from llmrg.reasoners.tasks import ShownItem
from llmrg.text.grounding import Grounded, Grounding, item_or_bare

NEAR = 20  # nearest items, by succession and by title each, a distractor is drawn from
TRIES = 8  # draws per distractor wanted before a pool counts as exhausted
LIKE, LIKENESS = 3, 0.8  # items with a like title looked at, and the cosine they need
FADING, ALIKE_TITLE = 0.6, 0.05  # what an item one step older still says; a like title beside succession
CATEGORIES = 3  # single values of an item that stand for a category
COMMON = 0.01  # share of the items that must have a value for it to make a category
ALIKE = 40  # popularity ranks to either side a distractor is drawn from


class World:
    """The catalogue and the training part, as the agent sees them.

    Args:
        catalog: the items.
        cooccurrence: training statistics, indexed in catalogue order.
        grounding: of the same catalogue.
    """

    def __init__(self, catalog: ItemCatalog, cooccurrence: Cooccurrence, grounding: Grounding) -> None:
        self.catalog, self.cooccurrence, self.grounding = catalog, cooccurrence, grounding
        self._shown: dict[str, ShownItem] = {}
        self._ranks: dict[int, tuple[list[int], list[int], list[bool]]] = {}
        self._neighbours: dict[tuple[int, int], list[int]] = {}
        self._like: dict[str, tuple[str, ...]] = {}

    def prepare(self) -> None:
        """Find now which titles lie near which."""
        _ = self._near

    @property
    def fingerprint(self) -> str:
        """Content hash of catalogue, statistics and text encoder."""
        return fingerprint([self.cooccurrence.fingerprint, self.grounding.fingerprint])

    def shown(self, item_id: str) -> ShownItem:
        """The item as a reasoner sees it."""
        found = self._shown.get(item_id)
        if found is None:
            found = ShownItem.of(item_or_bare(self.catalog, item_id), self.grounding.label(item_id))
            self._shown[item_id] = found
        return found

    def categories(self, item_id: str) -> tuple[str, ...]:
        """Categories of an item, the narrowest first: its rarest two common values, then each by itself; or none."""
        values = self._common.get(item_id, ())
        return tuple(dict.fromkeys(["; ".join(values[:2]), *values[:CATEGORIES]])) if values else ()

    def shared(self, one: str, other: str) -> str:
        """The rarest two common values that both items have; empty where they share none."""
        others = self._common.get(other, ())
        return "; ".join([value for value in self._common.get(one, ()) if value in others][:2])

    def like(self, item_id: str) -> tuple[str, ...]:
        """Items of the same category whose titles say nearly the same, nearest first."""
        found = self._like.get(item_id)
        if found is None:
            ids, row = self.grounding.item_ids, self.grounding.row.get(item_id)
            item, cosine = self.grounding.nearest(NEAR)
            near: list[str] = []
            if row is not None:
                near = [
                    ids[i] for i, c in zip(item[row, :LIKE], cosine[row, :LIKE], strict=True) if c >= LIKENESS
                ]
            found = tuple(i for i in near if self.categories(i) == self.categories(item_id))
            self._like[item_id] = found
        return found

    @cached_property
    def _common(self) -> dict[str, tuple[str, ...]]:
        """Of each item the attribute values that many items have, rarest first."""
        values = {
            item_id: {
                f"{name}={v}" for name, found in self.catalog[item_id].attributes.items() for v in found if v
            }
            for item_id in self.catalog
        }
        counts = Counter(value for found in values.values() for value in found)
        least = COMMON * len(values)
        return {
            item_id: tuple(sorted((v for v in found if counts[v] >= least), key=lambda v: (counts[v], v)))
            for item_id, found in values.items()
        }

    def view(self, user_id: str) -> FoldView:
        """The statistics that may answer this user."""
        return self.cooccurrence.without(self.cooccurrence.fold_of(user_id))

    def exists(self, item_id: str, user_id: str) -> bool:
        """Whether anybody outside the user's fold has taken the item in training."""
        at = self.cooccurrence.index.get(item_id)
        return at is not None and self._by_popularity(self.cooccurrence.fold_of(user_id))[2][at]

    def fit(self, user_id: str, item_ids: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """How much a user's items (oldest first) speak for each candidate: succession in the training parts of
        others, and likeness of titles; older items say less."""
        index = self.cooccurrence.index
        rows = np.array([index[i] for i in item_ids], dtype=np.int64)
        others = np.array([index[i] for i in candidates], dtype=np.int64)
        weight = FADING ** np.arange(len(rows) - 1, -1, -1)
        succession = self.view(user_id).score(rows[:, None], others[None, :])
        vectors = self.grounding.likeness
        titled = rows < len(vectors), others < len(vectors)
        cosine = np.zeros(succession.shape)
        cosine[np.ix_(*titled)] = vectors[rows[titled[0]]] @ vectors[others[titled[1]]].T
        found: list[float] = (
            weight @ (succession + ALIKE_TITLE * np.square(np.maximum(cosine, 0.0)))
        ).tolist()
        return found

    def ground(
        self, words: Sequence[str], user_id: str, *, top_k: int, threshold: float
    ) -> list[list[Grounded]]:
        """Catalogue items meant by these words that exist for this user (see :meth:`Grounding.ground`)."""
        exists = self.view(user_id).exists
        return self.grounding.ground(
            words, top_k=top_k, threshold=threshold, allowed=exists[: len(self.catalog)]
        )

    def options(
        self,
        item_id: str,
        user_id: str,
        count: int,
        taken: Collection[str],
        rng: random.Random,
    ) -> tuple[tuple[ShownItem, ...], int]:
        """A closed choice: the item among distractors of like popularity and of like title, in drawn order.

        Args:
            item_id: the true endpoint.
            user_id: the user asked about.
            count: distractors wanted.
            taken: items that may not be distractors.
            rng: a local generator.

        Returns:
            The options and the index of the true one.
        """
        fold = self.cooccurrence.fold_of(user_id)
        index, ids = self.cooccurrence.index, self.cooccurrence.item_ids
        order, rank, exists = self._by_popularity(fold)
        true = index.get(item_id, -1)
        chosen: dict[str, None] = {}
        uniform = rng.random

        def draw(pool: Sequence[int], wanted: int) -> None:
            size = len(pool)
            for _ in range(TRIES * count if size else 0):
                if len(chosen) >= wanted:
                    return
                other = pool[int(uniform() * size)]
                if other != true and exists[other] and ids[other] not in taken:
                    chosen[ids[other]] = None

        if 0 <= true < len(self._near):
            draw(self._nearest(fold, true), (2 * count) // 3)
        middle = rank[true] if true >= 0 else len(order) // 2
        reach = max(ALIKE, 3 * count)
        draw(order[max(0, middle - reach) : middle + reach + 1], count)
        options = [item_id, *chosen]
        rng.shuffle(options)
        return tuple(self.shown(i) for i in options), options.index(item_id)

    def ranked(self, titles: Sequence[str], options: Sequence[ShownItem]) -> list[int]:
        """Options (indexes) by how near they lie to the nearest of these titles, best first; ties as given."""
        near = self.grounding.similarity(titles, [option.item_id for option in options]).max(axis=0)
        return [int(i) for i in np.argsort(-near, kind="stable")]

    @cached_property
    def _near(self) -> npt.NDArray[np.int32]:
        return self.grounding.nearest(NEAR)[0]

    def _nearest(self, fold: int, item: int) -> list[int]:
        """The nearest items by succession and by title: what else might well stand in its place."""
        found = self._neighbours.get((fold, item))
        if found is None:
            partners = self.cooccurrence.without(fold).neighbours
            close = partners.item[item, :NEAR][partners.score[item, :NEAR] > 0].tolist()
            found = list(dict.fromkeys([*close, *self._near[item].tolist()]))
            self._neighbours[(fold, item)] = found
        return found

    def _by_popularity(self, fold: int) -> tuple[list[int], list[int], list[bool]]:
        """Existing items by popularity; everyone's place among them; who exists. [n'], [n], [n]"""
        if fold not in self._ranks:
            popularity = self.cooccurrence.without(fold).popularity
            order = np.argsort(popularity, kind="stable")
            order = order[popularity[order] > 0]
            rank = np.searchsorted(popularity[order], popularity)
            rank[order] = np.arange(len(order))
            # lists, because single elements of them are read many thousand times
            self._ranks[fold] = order.tolist(), rank.tolist(), (popularity > 0).tolist()
        return self._ranks[fold]
