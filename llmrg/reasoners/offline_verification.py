"""The embedded reasoner's self-verification: rank the options of a mask by how well they fit the visible
side.

Promise: the ranking uses the visible items, the words and the options only; nothing in a mask tells which
option is true, and options that fit equally well keep the order they were drawn in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrg.reasoners.offline_evidence import Evidence, FoldTables
from llmrg.reasoners.tasks import Verdict, VerificationPayload, VerificationReply

ATTRIBUTES, TITLES = 0.05, 0.05  # beside succession
CONTEXT = 0.5  # weight of the shown items that are not on the visible side
DECAY = 0.8  # per step back among the shown items
WORDS = 0.1  # for each value a reason names that an option has
ARGUMENT = "succession and likeness to the visible side"


def answer_verification(
    evidence: Evidence, fold: FoldTables, payload: VerificationPayload
) -> VerificationReply:
    """One verdict per mask, all options ranked."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    s, n = len(shown), len(evidence.ids)
    recency = DECAY ** np.arange(s - 1, -1, -1)
    item, weight = fold.item[shown], fold.weight[shown]
    sides: dict[tuple[int, ...], int] = {}
    shares: list[npt.NDArray[np.float64]] = []
    for mask in payload.masks:
        if mask.visible not in sides:
            sides[mask.visible] = len(sides)
            share: npt.NDArray[np.float64] = (CONTEXT * recency).astype(np.float64)
            if mask.visible:
                own = np.array(mask.visible, dtype=np.int64)
                share[own] += recency[own] / recency[own].max()
            shares.append(share)
    share = np.stack(shares)  # [V, S]: sides, shown items
    strength = np.concatenate([np.bincount(item.ravel(), (weight * of[:, None]).ravel(), n) for of in shares])
    sizes = np.array([len(mask.options) for mask in payload.masks])
    options = evidence.indexes([option.item_id for mask in payload.masks for option in mask.options])
    of_mask = np.repeat(np.arange(len(sizes)), sizes)
    side = np.array([sides[mask.visible] for mask in payload.masks])[of_mask]
    said = np.stack([evidence.said(mask.reason) for mask in payload.masks])
    fit = strength[side * n + options] + WORDS * (evidence.namable[options] * said[of_mask]).sum(axis=1)
    for likeness, table in ((ATTRIBUTES, evidence.attributes), (TITLES, evidence.titles)):
        # all options against all sides, though each needs one: small matrix products are the quickest way
        near = table[options] @ (share.astype(np.float32) @ table[shown]).T
        fit = fit + likeness * near[np.arange(len(side)), side]
    order = np.lexsort((-fit, of_mask))  # stable: options that fit equally well stay as drawn
    start = np.cumsum(sizes) - sizes
    places = (order - start[of_mask]).tolist()
    verdicts = [
        Verdict.model_construct(mask=at, reasoning=ARGUMENT, ranking=places[first : first + size])
        for at, (first, size) in enumerate(zip(start.tolist(), sizes.tolist(), strict=True))
    ]
    return VerificationReply.model_construct(verdicts=verdicts)
