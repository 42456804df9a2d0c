"""The embedded reasoner's self-verification: which option, or which item at all, fits the visible side of a mask.

Promise: a verdict uses the visible items, the words and the options only; nothing in a mask tells which
option is true, and options that fit equally well keep the order they were drawn in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmrg.reasoners.offline_evidence import Evidence, FloatArray, FoldTables, IntArray
from llmrg.reasoners.tasks import (
    MAX_TITLES,
    FillPayload,
    FillReply,
    FillVerdict,
    Mask,
    Verdict,
    VerificationPayload,
    VerificationReply,
)

ATTRIBUTES, TITLES = 0.05, 0.05  # beside succession
CONTEXT = 0.5  # weight of the shown items that are not on the visible side
DECAY = 0.8  # per step back among the shown items
WORDS = 0.1  # for each value a reason names that an option has
ARGUMENT = "what follows and resembles the visible side"


def answer_verification(
    evidence: Evidence, fold: FoldTables, payload: VerificationPayload
) -> VerificationReply:
    """One verdict per mask, all options ranked."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    n = len(evidence.ids)
    side_of, share, strength = _sides(fold, shown, payload.masks)
    sizes = np.array([len(mask.options) for mask in payload.masks])
    options = evidence.indexes([option.item_id for mask in payload.masks for option in mask.options])
    of_mask = np.repeat(np.arange(len(sizes)), sizes)
    side = np.array(side_of)[of_mask]
    said = np.stack([evidence.said(mask.reason) for mask in payload.masks])
    fit = strength.ravel()[side * n + options]
    fit = fit + WORDS * (evidence.namable[options] * said[of_mask]).sum(axis=1)
    for likeness, table in ((ATTRIBUTES, evidence.attributes), (TITLES, evidence.titles)):
        # all options against all sides, though each needs one: small matrix products are the quickest way
        near = table[options] @ (share @ table[shown]).T
        fit = fit + likeness * near[np.arange(len(side)), side]
    order = np.lexsort((-fit, of_mask))  # stable: options that fit equally well stay as drawn
    start = np.cumsum(sizes) - sizes
    places = (order - start[of_mask]).tolist()
    verdicts = [
        Verdict.model_construct(mask=at, reasoning=ARGUMENT, ranking=places[first : first + size])
        for at, (first, size) in enumerate(zip(start.tolist(), sizes.tolist(), strict=True))
    ]
    return VerificationReply.model_construct(verdicts=verdicts)


def answer_fill(evidence: Evidence, fold: FoldTables, payload: FillPayload) -> FillReply:
    """One verdict per mask, naming the items of the whole catalogue that fit best and are not shown."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    side_of, share, strength = _sides(fold, shown, payload.masks)
    for likeness, table in ((ATTRIBUTES, evidence.attributes), (TITLES, evidence.titles)):
        strength = strength + likeness * (share @ table[shown]) @ table.T
    verdicts = []
    for at, mask in enumerate(payload.masks):
        fit = strength[side_of[at]] + WORDS * evidence.namable @ evidence.said(mask.reason)
        fit = np.where(fold.view.exists, fit, -np.inf)
        fit[shown] = -np.inf
        best = np.argsort(-fit, kind="stable")[:MAX_TITLES]
        titles = [evidence.grounding.label(evidence.ids[i]) for i in best if fit[i] > -np.inf] or [""]
        verdicts.append(FillVerdict.model_construct(mask=at, reasoning=ARGUMENT, titles=titles))
    return FillReply.model_construct(verdicts=verdicts)


def _sides(
    fold: FoldTables, shown: IntArray, masks: Sequence[Mask]
) -> tuple[list[int], FloatArray, npt.NDArray[np.float64]]:
    """The distinct visible sides: of each mask its side, the weight of each shown item, what follows. [V, S], [V, n]"""
    recency = DECAY ** np.arange(len(shown) - 1, -1, -1)
    sides: dict[tuple[int, ...], int] = {}
    shares: list[npt.NDArray[np.float64]] = []
    for mask in masks:
        if mask.visible not in sides:
            sides[mask.visible] = len(sides)
            share: npt.NDArray[np.float64] = (CONTEXT * recency).astype(np.float64)
            if mask.visible:
                own = np.array(mask.visible, dtype=np.int64)
                share[own] += recency[own] / recency[own].max()
            shares.append(share)
    weights = np.stack(shares)
    # stretches are of all shown items, for every side
    strength = weights @ fold.following(shown) + fold.around(shown)
    return [sides[mask.visible] for mask in masks], weights.astype(np.float32), strength
