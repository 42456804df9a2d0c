"""The embedded reasoner's divergent extension: what follows a chain in the training parts of other folds.

Promise: only items with a training interaction outside the fold are imagined, none the user has, and none
twice in one call.

The constants here and in :mod:`~llmrg.reasoners.offline_evidence` were chosen on validation targets alone, by
``benchmarks/imagination_hits.py`` on ml-100k (all users) and amazon-beauty (the first 3,000): one at a time over
a few values, by the product of both hit rates of the newest window's imagined items.
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

DECAY = 0.7  # per step back: how much less an older shown item says about what comes next
CHAIN = 0.15  # extra weight of the chain's own items, each, with its age
POOL = 24  # candidates looked at beyond those taken


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
    """The chains to continue: the newest item's first, then others by their newest item, each of its own words."""
    found = {max(r.items): (r.words, r.items) for r in payload.reasons if r.items}
    found |= {link.item: (link.reason, (*link.sources, link.item)) for link in links}
    last = len(payload.items) - 1
    chains = [] if last in found else [ShownChain((), (last,))]
    said: set[str] = set()
    for newest in sorted(found, reverse=True):
        words, items = found[newest]
        if words not in said:
            said.add(words)
            chains.append(ShownChain((words,), tuple(sorted(items))))
    return tuple(chains[: payload.extend])


def extensions_of(evidence: Evidence, fold: FoldTables, payload: DivergentPayload) -> list[Extension]:
    """What follows each chain, in the order asked."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    following = fold.following(shown)
    recency = DECAY ** np.arange(len(shown) - 1, -1, -1)
    open_ = fold.view.exists.copy()
    open_[[evidence.index[i] for i in payload.known if i in evidence.index]] = False
    ground = np.where(open_, recency @ following, 0.0)
    extensions = []
    strongest = 1e-9
    for chain in payload.chains:
        own = np.array(chain.items, dtype=np.int64)
        newest = recency[own] / recency[own].max()
        score = np.where(open_, ground + CHAIN * (newest @ following[own]), 0.0)
        best = _best(score, payload.per_chain)
        if not len(best):
            best = _best(np.where(open_, fold.view.popularity, 0).astype(np.float64), payload.per_chain)
        open_[best] = False
        strongest = max(strongest, float(score[best].max(initial=0.0)))
        items = [
            ImaginedItem.model_construct(
                title=evidence.grounding.label(evidence.ids[i]),
                score=round(100 * float(score[i]) / strongest),
            )
            for i in best
        ]
        extensions.append(Extension.model_construct(item=chain.items[-1], reason="", items=items))
    return extensions


def _best(score: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Indexes of the highest positive scores, best first, ties by index. [<= count]"""
    pool = min(count + POOL, len(score))
    found = np.argpartition(-score, pool - 1)[:pool]
    found = found[np.lexsort((found, -score[found]))][:count]
    return found[score[found] > 0]
