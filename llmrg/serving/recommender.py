"""Recommendations for any history: a stored graph where it fits, one made now where it does not, or none.

Promise: a user's stored graph is read where the history agrees with it (law 1: a shorter history sees no node past
its end); every other history gets a graph by the same recipe, with the statistics of the training data, or none if so
chosen, and is then served by what the model does without a graph. Nothing here changes a store or a model.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import DataError, SettingsError, StoreError
from llmrg.graph.arrays import GraphArrays, TextSpace, load_arrays, load_text_space
from llmrg.graph.growth import arrays_in_space, graph_of_one
from llmrg.graph.schema import NodeKind, ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.graph.store_records import STORE_FILE
from llmrg.job.standing_recipe import StandingRecipe, open_recipe, put_over
from llmrg.recbole_adapter.checkpoint import check_origin, load_model
from llmrg.recbole_adapter.configuration import settings_of
from llmrg.recbole_adapter.scoring import Scorer
from llmrg.recbole_adapter.vocabulary import named
from llmrg.settings import LlmrgSettings

GraphsFrom = Literal["any", "stored", "none"]
GRAPHS_FROM: tuple[GraphsFrom, ...] = ("any", "stored", "none")
STRANGER = "(a user without a name)"
_ITEM = tuple(NodeKind).index(NodeKind.ITEM)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Args:
        rank: from 1.
        item_id: external id.
        title: empty where the data set has none.
        score: the model's; comparable within one history only.
    """

    rank: int
    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Recommended:
    """What one history gets.

    Args:
        items: best first.
        graph: where the graph came from: ``stored``, ``made`` or ``none``.
    """

    items: tuple[Recommendation, ...]
    graph: Literal["stored", "made", "none"]


class Recommender:
    """A loaded checkpoint and its graphs; use :func:`open_recommender`.

    Args:
        scorer: the model.
        arrays: its stored graphs, if any.
        folder: where they lie.
        graphs: ``any``, ``stored`` or ``none``.
        settings: of the recipe that graphs are made by.
        stack: closes what is opened on demand.
    """

    def __init__(
        self,
        scorer: Scorer,
        arrays: GraphArrays | None,
        folder: Path | None,
        graphs: GraphsFrom,
        settings: LlmrgSettings,
        stack: ExitStack,
    ) -> None:
        self.scorer, self.arrays, self.folder, self.graphs = scorer, arrays, folder, graphs
        self.settings, self._stack = settings, stack

    def recommend(
        self, history: Sequence[str], k: int = 10, *, user_id: str | None = None, keep_seen: bool = False
    ) -> Recommended:
        """The ``k`` best items after a history.

        Args:
            history: external item ids, oldest first.
            k: how many; fewer come where the catalogue ends.
            user_id: whose, where that is known.
            keep_seen: also recommend items of the history.

        Raises:
            DataError: an empty history, or items the model was not trained with.
            SettingsError: ``k`` under 1.
        """
        if k < 1:
            raise SettingsError(f"expected at least one item to recommend, found k={k}", name="k")
        graph, source = self.graph_of(history, user_id)
        scores = self.scorer.scores(user_id, history, graph)
        words = self.scorer.vocabulary
        if not keep_seen:
            scores[words.numbers_of(history)] = -np.inf
        best = heapq.nsmallest(min(k, int(np.isfinite(scores).sum())), _by_score(scores, k))
        items = tuple(
            Recommendation(rank, words.items[number], words.titles[number], -lost)
            for rank, (lost, number) in enumerate(best, start=1)
        )
        return Recommended(items, source)

    def check(self, history: Sequence[str]) -> None:
        """Refuse what no model could serve, before anything is thought.

        Raises:
            DataError: an empty history, or items the model was not trained with.
        """
        if not history:
            raise DataError("expected a history of one item at least, found an empty one")
        self.scorer.vocabulary.numbers_of(history)

    def graph_of(
        self, history: Sequence[str], user_id: str | None
    ) -> tuple[GraphArrays | None, Literal["stored", "made", "none"]]:
        """The graph this history is served with, as arrays of one, and where it came from.

        Raises:
            StoreError, FingerprintError: a graph has to be made, and the recipe is not to be had.
        """
        if self.arrays is None or self.graphs == "none":
            return None, "none"
        stored = self.stored(history, user_id)
        if stored is not None:
            return stored, "stored"
        if self.graphs == "stored" or not history:
            return None, "none"
        return self.made(history, user_id)[1], "made"

    def known_history(self, user_id: str) -> tuple[str, ...]:
        """What the stored graph knows of a user, oldest first, without items the model was not trained with.

        An extension may have taken such in; they are named in the log, and what is left is a history like any other.

        Raises:
            DataError: no stored graph of that user, or none of its items is known to the model.
        """
        row = -1 if self.arrays is None else int(self.arrays.rows_of([user_id])[0])
        if self.arrays is None or row < 0:
            raise DataError(
                f"nothing is stored of user {user_id!r}: no graph that this model reads; give a history"
            )
        stored = self._items(self.arrays, row)
        unknown = self.scorer.vocabulary.unknown_of(stored)
        if unknown:
            message = "user %r: stored items the model was not trained with are left out (%s); train again"
            log.warning(message, user_id, named(unknown))
        if len(unknown) == len(set(stored)):
            raise DataError(f"the model was trained with none of the items stored of user {user_id!r}")
        return tuple(item for item in stored if item not in unknown)

    def made(self, history: Sequence[str], user_id: str | None) -> tuple[ReasoningGraph, GraphArrays]:
        """A graph of this history made now, and as arrays of one.

        Raises:
            DataError: an empty history, or items the model was not trained with.
            StoreError, FingerprintError: the recipe is not to be had.
        """
        self.check(history)
        graph = self.think(history, user_id)
        assert self.arrays is not None
        return graph, arrays_in_space([graph], self.arrays, self._space, self.recipe.encoder)[0]

    def think(self, history: Sequence[str], user_id: str | None) -> ReasoningGraph:
        """A graph of this history, by the recipe of the stored ones."""
        return self.recipe.think([self.recipe.history(user_id or STRANGER, history)])[0]

    @cached_property
    def recipe(self) -> StandingRecipe:
        """What makes graphs; reads the data of the recipe when it is first asked."""
        assert self.folder is not None
        with GraphStore.open(self.folder / STORE_FILE, create=False) as store:
            laid_out = store.meta().get("arrays") or {}
        assert self.arrays is not None
        if laid_out.get("fingerprint") != self.arrays.fingerprint:
            raise StoreError(
                f"graphs of new histories cannot be made like those of this model: {self.folder} holds graphs that its "
                "arrays were not laid out from; take only stored graphs (--graphs stored), or none"
            )
        return self._stack.enter_context(open_recipe(self.folder, self.settings))

    @cached_property
    def _space(self) -> TextSpace:
        assert self.folder is not None
        assert self.scorer.loaded.graphs is not None
        return load_text_space(self.folder / self.scorer.loaded.graphs.name)

    def stored(self, history: Sequence[str], user_id: str | None) -> GraphArrays | None:
        """A user's stored graph as arrays of one, where the history is the beginning of what it knows, or all of it."""
        if self.arrays is None or user_id is None:
            return None
        row = int(self.arrays.rows_of([user_id])[0])
        if row < 0 or int(self.arrays.as_of[row]) < len(history):
            return None
        known = self._items(self.arrays, row)[: len(history)]
        return graph_of_one(self.arrays, row) if known == list(history) else None

    @staticmethod
    def _items(arrays: GraphArrays, row: int) -> list[str]:
        nodes = slice(int(arrays.node_offset[row]), int(arrays.node_offset[row + 1]))
        items = arrays.node_item[nodes][arrays.node_kind[nodes] == _ITEM]
        known: list[str] = arrays.item_ids[items].tolist()
        return known


@contextmanager
def open_recommender(
    checkpoint: str | Path,
    *,
    graphs: GraphsFrom = "any",
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Recommender]:
    """Load a checkpoint to recommend with.

    One process at a time may have a language model make graphs: from the first one made until the recommender is
    closed, it holds the folder as ``llmrg generate`` does. Any number may read stored graphs, or have the embedded
    reasoner make some.

    Args:
        checkpoint: its folder.
        graphs: ``any``: stored ones where they fit, else made now; ``stored``: only those; ``none``: masked.
        folder: where the graphs lie by now, if not where they lay in training.
        settings: what the stored graphs were made with, where it is not what the model was trained with: sections as
            under ``llmrg:``, such as ``{"generation": {"window": 3}}``.

    Raises:
        StoreError: checkpoint or arrays cannot be read.
        FingerprintError: the graphs are not those the model was trained with, nor an extension of them.
        SettingsError: another word for ``graphs``, or unknown or impossible settings.
    """
    if graphs not in GRAPHS_FROM:
        raise SettingsError.unknown(graphs, GRAPHS_FROM, where="graphs")
    loaded = load_model(Path(checkpoint))
    recipe = put_over(settings_of(loaded.config), settings or {})
    scorer = Scorer(loaded)
    arrays: GraphArrays | None = None
    if loaded.graphs is not None and scorer.reads_graphs and graphs != "none":
        folder = folder or loaded.graphs.parent
        arrays = load_arrays(folder / loaded.graphs.name)
        check_origin(arrays, loaded.origin, where=f"checkpoint {checkpoint}")
    with ExitStack() as stack:
        yield Recommender(scorer, arrays, folder, graphs, recipe, stack)


def recommend(
    checkpoint: str | Path,
    history: Sequence[str],
    k: int = 10,
    *,
    user_id: str | None = None,
    keep_seen: bool = False,
    graphs: GraphsFrom = "any",
    settings: Mapping[str, Any] | None = None,
) -> list[Recommendation]:
    """The ``k`` best items after one history; for many, keep an :func:`open_recommender` open.

    Args:
        checkpoint: folder written by ``llmrg train --out`` or :func:`~llmrg.save_checkpoint`.
        history: external item ids, oldest first.
        k: how many.
        user_id: whose history it is, where that is known.
        keep_seen: also recommend items of the history.
        graphs, settings: see :func:`open_recommender`.

    Raises:
        DataError: an empty history, or items the model was not trained with.
        StoreError, FingerprintError, SettingsError: see :func:`open_recommender`.
    """
    with open_recommender(checkpoint, graphs=graphs, settings=settings) as recommender:
        return list(recommender.recommend(history, k, user_id=user_id, keep_seen=keep_seen).items)


def _by_score(scores: NDArray[np.float32], k: int) -> list[tuple[float, int]]:
    """Candidates for the best ``k``, as (minus score, number): equal scores are taken in the order of numbers."""
    size = len(scores)
    top = np.arange(size) if k >= size else np.flatnonzero(scores >= np.partition(scores, size - k)[size - k])
    return [(-float(scores[number]), int(number)) for number in top if np.isfinite(scores[number])]
