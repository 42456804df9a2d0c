"""The embedded reasoner's divergent extension: what follows a chain in the training parts of other folds.

Succession (what follows each shown item) and stretches (what stands around several of the newest ones together in
somebody else's history) say what may be imagined; taste (what goes with everything the user has) and likeness of titles
and attributes weigh it.

Promise: only items with a training interaction outside the fold are imagined, none the user has, and none
twice in one call. How plausible an item is called does not depend on what else is imagined, so that where little
follows from what is shown all of a list is called little plausible (taste alone is relative: to the best item of all).

The constants here, in :mod:`~llmrg.reasoners.offline_evidence`, :mod:`~llmrg.data.sequence_neighbours` and
:mod:`~llmrg.data.item_factors` were chosen on validation targets and training
rows alone, a few values each, by recall of 12 items and NDCG@10 of fresh lists on amazon-beauty, ml-1m and ml-100k;
one set serves all three. ``benchmarks/imagination_hits.py`` measures what they give.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrg.reasoners.offline_evidence import Evidence, FoldTables
from llmrg.reasoners.tasks import (
    ChainedPayload,
    DivergentPayload,
    DivergentReply,
    Extension,
    ImaginedItem,
    Link,
    ShownChain,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DECAY = 0.7  # per step back: how much less an older shown item says about what comes next
CHAIN = 0.15  # extra weight of the chain's own items, each, with its age
# candidates, by succession and stretches, looked at beyond those taken, and ties beyond those chosen
POOL = 100
TASTE = 0.5  # power of how well a candidate goes with all the user has, the best at 1 ...
ANY_TASTE = 0.1  # ... and what is added to that for any
ATTRIBUTES, TITLES = 0.6, 1.0  # how much likeness to all shown items multiplies: powers of e at cosine 1
EVEN = 0.05  # strength that makes an item as plausible as not; the same for all rows, so that scores compare


def answer_divergent(evidence: Evidence, fold: FoldTables, payload: DivergentPayload) -> DivergentReply:
    """One extension per chain, in the order asked."""
    return DivergentReply.model_construct(extensions=extensions_of(evidence, fold, payload))


def answer_joint(
    evidence: Evidence, fold: FoldTables, payload: ChainedPayload, links: list[Link]
) -> list[Extension]:
    """The extensions asked for in the call that asked for these links."""
    chains = newest_chains(payload, links)
    asked = DivergentPayload(payload.items, chains, payload.per_chain, payload.known, payload.attributes)
    return extensions_of(evidence, fold, asked)


def newest_chains(payload: ChainedPayload, links: list[Link]) -> tuple[ShownChain, ...]:
    """The chains to continue: the newest item's first, then others by their newest item, each of its own words.

    Where there are too few words of their own, chains that say the same, too: fewer would imagine fewer items.
    """
    found = {max(r.items): (r.words, r.items) for r in payload.reasons if r.items}
    found |= {link.item: (link.reason, (*link.sources, link.item)) for link in links}
    last = len(payload.items) - 1
    chains = [] if last in found else [ShownChain((), (last,))]
    said: set[str] = set()
    again: list[ShownChain] = []
    for newest in sorted(found, reverse=True):
        words, items = found[newest]
        (again if words in said else chains).append(ShownChain((words,), tuple(sorted(items))))
        said.add(words)
    return tuple([*chains, *again][: payload.extend])


def extensions_of(evidence: Evidence, fold: FoldTables, payload: DivergentPayload) -> list[Extension]:
    """What follows each chain, in the order asked."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    following = fold.following(shown)
    recency = DECAY ** np.arange(len(shown) - 1, -1, -1)
    weights = np.tile(recency, (len(payload.chains), 1))
    for row, chain in zip(weights, payload.chains, strict=True):
        own = np.array(chain.items, dtype=np.int64)
        row[own] += CHAIN * recency[own] / recency[own].max()
    open_ = fold.view.exists.copy()
    known = np.array([evidence.index[i] for i in payload.known if i in evidence.index], dtype=np.int64)
    open_[known] = False
    every = np.where(open_, weights @ following + fold.around(shown), 0.0)  # [C, n]
    pool = _best(every.sum(axis=0), payload.per_chain * len(every) + POOL)
    like = ATTRIBUTES * _likeness(evidence.attributes, pool, shown)
    like += TITLES * _likeness(evidence.titles, pool, shown)
    strength = every[:, pool] * np.exp(like) * _taste(fold, pool, known, open_)  # [C, P]
    extensions = []
    for chain, score in zip(payload.chains, strength, strict=True):
        chosen = _best(score, payload.per_chain)
        best, found = pool[chosen], score[chosen]
        strength[:, chosen] = 0.0
        if not len(best):
            best = _best(np.where(open_, fold.view.popularity, 0).astype(np.float64), payload.per_chain)
            found = np.zeros(len(best))
        open_[best] = False
        items = [
            ImaginedItem.model_construct(
                title=evidence.grounding.label(evidence.ids[i]),
                score=round(100 * value / (value + EVEN)),
            )
            for i, value in zip(best.tolist(), found.tolist(), strict=True)
        ]
        extensions.append(Extension.model_construct(item=chain.items[-1], reason="", items=items))
    return extensions


def _best(score: FloatArray, count: int) -> IntArray:
    """Indexes of the highest positive scores, best first, ties by index. [<= count]"""
    pool = min(count + POOL, len(score))
    if not pool:
        return np.zeros(0, np.int64)
    found = np.argpartition(-score, pool - 1)[:pool]
    found = found[np.lexsort((found, -score[found]))][:count]
    return found[score[found] > 0]


def _taste(fold: FoldTables, items: IntArray, known: IntArray, open_: npt.NDArray[np.bool_]) -> FloatArray:
    """A factor for how well each item goes with all the user has, beside the best that may be imagined. [I]"""
    affinity = np.maximum(fold.taste.affinity(known), 0) * open_
    return np.asarray((ANY_TASTE + affinity[items] / max(affinity.max(), 1e-9)) ** TASTE, np.float64)


def _likeness(table: npt.NDArray[np.float32], items: IntArray, shown: IntArray) -> FloatArray:
    """Mean cosine of items and all shown ones. [I]"""
    return np.asarray(table[items] @ table[shown].mean(axis=0), np.float64)
