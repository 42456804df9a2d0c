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
    tables: list[npt.NDArray[np.float64]] = []
    shares: list[npt.NDArray[np.float64]] = []
    for mask in payload.masks:
        if mask.visible not in sides:
            sides[mask.visible] = len(tables)
            share: npt.NDArray[np.float64] = (CONTEXT * recency).astype(np.float64)
            if mask.visible:
                own = np.array(mask.visible, dtype=np.int64)
                share[own] += recency[own] / recency[own].max()
            tables.append(
                np.bincount(item.ravel(), (weight * share[:, None]).ravel(), minlength=n).astype(np.float64)
            )
            shares.append(share)
    sizes = [len(mask.options) for mask in payload.masks]
    options = evidence.indexes([option.item_id for mask in payload.masks for option in mask.options])
    side = np.repeat([sides[mask.visible] for mask in payload.masks], sizes)
    said = np.repeat(np.stack([evidence.said(mask.reason) for mask in payload.masks]), sizes, axis=0)
    fit = np.stack(tables)[side, options] + WORDS * (evidence.namable[options] * said).sum(axis=1)
    share = np.stack(shares).astype(np.float32)
    for likeness, table in ((ATTRIBUTES, evidence.attributes), (TITLES, evidence.titles)):
        # all options against all sides, though each needs one: small matrix products are the quickest way
        fit = fit + likeness * (table[options] @ (share @ table[shown]).T)[np.arange(len(side)), side]
    verdicts, start = [], 0
    for at, size in enumerate(sizes):
        ranking = np.argsort(-fit[start : start + size], kind="stable").tolist()
        verdicts.append(Verdict.model_construct(mask=at, reasoning=ARGUMENT, ranking=ranking))
        start += size
    return VerificationReply.model_construct(verdicts=verdicts)
