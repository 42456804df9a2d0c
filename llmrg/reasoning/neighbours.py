"""The control that reasoning must beat: imagined items that are plain neighbours of the newest ones.

Promise: same windows, same number of imagined items, same exclusions and same folds as the agent's graphs
(law 1: counts of other folds only, positions of the newest item used), but no chains, no verification, no
knowledge base and one reason for all. Recency weights are no reasoning, so this control has them too; its
constants were chosen on the validation targets the embedded reasoner's were chosen on. (Half of the items by
title instead of only where co-occurrence runs out made it weaker there, on MovieLens by a fifth.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import fingerprint
from llmrg.graph.schema import SCHEMA_VERSION, Provenance, ReasoningGraph
from llmrg.reasoning.chained import windows
from llmrg.reasoning.draft import Draft, Imagined, Thought, user_attributes
from llmrg.reasoning.generate import informative_attributes
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

VERSION = 2  # raise it when the same input gives another graph
WORDS = "neighbours of the newest items"
NEWEST = 10  # items whose neighbours are imagined
DECAY = 0.75  # per step back
KEPT = 50  # nearest titles looked at per item, as many as the embedded reasoner keeps

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def neighbour_graphs(
    histories: Sequence[UserHistory], world: World, settings: GenerationSettings
) -> Iterator[ReasoningGraph]:
    """One graph per user with a history, by user id.

    Args:
        histories: all users of the data set.
        world: statistics and titles, the same the reasoner's graphs are made with.
        settings: windows and number of imagined items; what is about reasoning is not read.
    """
    recipe = neighbours_recipe(world, settings)
    kept = informative_attributes(histories)
    for history in sorted(histories, key=lambda history: history.user_id):
        if len(history):
            yield _graph(history, world, settings, user_attributes(history, kept), recipe)


def neighbours_recipe(world: World, settings: GenerationSettings) -> str:
    """Content hash of everything that affects a graph beside the user's own history."""
    read = (settings.window, settings.max_history, settings.divergent_every, _budget(settings))
    constants = (NEWEST, DECAY, KEPT, WORDS)
    return fingerprint(["neighbours", VERSION, SCHEMA_VERSION, world.fingerprint, *read, *constants])


def _budget(settings: GenerationSettings) -> int:
    return settings.chains_per_call * settings.imagined_per_chain


def _graph(
    history: UserHistory, world: World, settings: GenerationSettings, attributes: tuple[str, ...], recipe: str
) -> ReasoningGraph:
    index = world.cooccurrence.index
    items = np.array([index[item_id] for item_id in history.item_ids], dtype=np.int64)
    draft = Draft(history, [world.shown(item_id).title for item_id in history.item_ids], attributes)
    cuts = windows(len(history), settings.window, settings.max_history)
    draft.add_items(0, cuts[0][0])
    for number, (start, end) in enumerate(cuts, start=1):
        draft.add_items(start, end)
        if number % settings.divergent_every == 0 or end == len(history):
            found, strength = _neighbours(items[:end], history.user_id, world, _budget(settings))
            if len(found):
                _imagine(draft, world, found, strength, end - 1, recipe)
    return draft.finish(recipe=recipe, tau=0.0)


def _imagine(
    draft: Draft, world: World, found: IntArray, strength: FloatArray, newest: int, recipe: str
) -> None:
    origin = Provenance(recipe)
    behind = tuple(range(max(0, newest + 1 - NEWEST), newest + 1))
    thought = Thought(WORDS, newest, behind, {}, origin, suggests=True)
    draft.add_thought(thought)
    for item, score in zip(found.tolist(), strength.tolist(), strict=True):
        item_id = world.cooccurrence.item_ids[item]
        title = world.shown(item_id).title
        draft.add_imagined(Imagined(title, item_id, None, thought, newest, origin, score=score))


def _neighbours(known: IntArray, user_id: str, world: World, count: int) -> tuple[IntArray, FloatArray]:
    """Items the user does not have, and how near each is of its kind, in [0.5, 1]. [<= count] each

    By co-occurrence; where that names too few by title; where that does, too, by popularity.
    """
    view = world.view(user_id)
    open_ = view.exists.copy()
    open_[known] = False
    newest = known[-NEWEST:]
    weight = DECAY ** np.arange(len(newest) - 1, -1, -1, dtype=np.float64)
    near, cosine = world.grounding.nearest(KEPT)
    titled = newest < len(near)  # an item of a held-out position only is not in the catalogue
    successors = view.neighbours
    kinds = (
        (successors.item[newest], successors.score[newest] * weight[:, None]),
        (near[newest[titled]], np.square(cosine[newest[titled]]) * weight[titled, None]),
        (np.arange(view.n), view.popularity.astype(np.float64)),
    )
    found, strengths, left = [], [], count
    for item, score in kinds:
        best, strength = _best(item, score, open_, left)
        open_[best] = False
        left -= len(best)
        found.append(best)
        strengths.append((1 + strength / strength.max(initial=1e-9)) / 2)
    return np.concatenate(found), np.concatenate(strengths)


def _best(
    item: npt.NDArray[np.integer], score: npt.NDArray[np.floating], open_: npt.NDArray[np.bool_], count: int
) -> tuple[IntArray, FloatArray]:
    """Open items of the highest summed positive score, ties by index. [<= count] each"""
    candidates, at = np.unique(item.ravel(), return_inverse=True)
    strength = np.bincount(at.ravel(), score.ravel(), minlength=len(candidates)).astype(np.float64)
    may = open_[candidates] & (strength > 0)
    candidates, strength = candidates[may].astype(np.int64), strength[may]
    order = np.lexsort((candidates, -strength))[:count]
    return candidates[order], strength[order]
