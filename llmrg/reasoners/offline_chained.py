"""The embedded reasoner's chained reasoning: what each new item follows from, and why.

Promise: the words come from a bounded vocabulary (succession, shared attributes of the most frequent
values, alike titles, a new interest) and never name a title, so all the reasons of a data set are some
hundreds of texts.
"""

from __future__ import annotations

import numpy as np

from llmrg.reasoners.offline_divergent import answer_joint
from llmrg.reasoners.offline_evidence import Evidence, FoldTables
from llmrg.reasoners.tasks import ChainedPayload, ChainedReply, Connection, Link

SUCCESSION, ATTRIBUTES, TITLES = 1.0, 0.35, 0.5  # weights of the three kinds of evidence, each in [0, 1]
LINK = 0.30  # least evidence a source needs
SECOND = 0.75  # a second source must come this near to the best
OFTEN, ALIKE = 0.25, 0.55  # from which share of the best succession, and which cosine, the words say so
NEARER = 0.98  # per step: of equal sources the later one counts
NAMES = 2  # attribute values named in one reason

SOON_AFTER = "often taken soon after"
SIMILAR = "similar titles"
NEW = "starts a new interest"


def answer_chained(evidence: Evidence, fold: FoldTables, payload: ChainedPayload) -> ChainedReply:
    """One link per new item, and the extensions asked for."""
    links = links_of(evidence, fold, payload)
    extensions = answer_joint(evidence, fold, payload, links) if payload.extend else []
    return ChainedReply.model_construct(links=links, extensions=extensions)


def links_of(evidence: Evidence, fold: FoldTables, payload: ChainedPayload) -> list[Link]:
    """One link per new item; a reason that was rejected before starts a new chain instead."""
    shown = evidence.indexes([item.item_id for item in payload.items])
    new = np.array(payload.new, dtype=np.int64)
    n = len(shown)
    rows = shown[new]
    succession = np.minimum(fold.view.score(shown[None, :], rows[:, None]) / fold.best[shown][None, :], 1.0)
    shared = evidence.attributes[rows] @ evidence.attributes[shown].T
    alike = evidence.titles[rows] @ evidence.titles[shown].T
    age = new[:, None] - np.arange(n)[None, :]
    strength = (SUCCESSION * succession + ATTRIBUTES * shared + TITLES * np.square(np.maximum(alike, 0))) * (
        NEARER ** np.maximum(age, 0)
    )
    strength = np.where(age > 0, strength, -1.0)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :2]
    links = []
    for row, item in enumerate(payload.new):
        sources = [
            int(s)
            for rank, s in enumerate(order[row])
            if strength[row, s] >= LINK
            and (rank == 0 or strength[row, s] >= SECOND * strength[row, order[row, 0]])
        ]
        own = evidence.named[rows[row]]
        if not sources:
            links.append(_link(item, _named(NEW, own[:NAMES]), [], [], "none"))
            continue
        best = sources[0]
        often = bool(succession[row, best] >= OFTEN)
        common = [v for v in own if v in evidence.named[shown[best]]][:NAMES]
        words = []
        if often:
            words.append(SOON_AFTER)
        if common:
            words.append(_named("shared", common))
        if alike[row, best] >= ALIKE or not words:
            words.append(SIMILAR)
        text = "; ".join(words)
        if text in payload.rejected:
            links.append(_link(item, _named(NEW, own[:NAMES]), [], [], "none"))
            continue
        earlier = _continued(payload, sources)
        relation: Connection = "none"
        if earlier is not None:
            relation = _relation(payload.reasons[earlier].words, common, often)
        links.append(_link(item, text, sources, [] if earlier is None else [earlier], relation))
    return links


def _continued(payload: ChainedPayload, sources: list[int]) -> int | None:
    """The newest shown reason that stands on one of the sources."""
    for at in range(len(payload.reasons) - 1, -1, -1):
        if any(source in payload.reasons[at].items for source in sources):
            return at
    return None


def _relation(words: str, common: list[tuple[str, str]], often: bool) -> Connection:
    """The theme goes on, or succession carries it over, or it changes."""
    if any(value in words for _, value in common):
        return "refines"
    return "causes" if often else "contrasts"


def _named(words: str, values: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    if not values:
        return words
    by_name: dict[str, list[str]] = {}
    for name, value in values:
        by_name.setdefault(name, []).append(value)
    said = "; ".join(f"{name}: {', '.join(sorted(found))}" for name, found in sorted(by_name.items()))
    return f"{words} {said}" if words == "shared" else f"{words}: {said}"


def _link(item: int, reason: str, sources: list[int], earlier: list[int], relation: Connection) -> Link:
    return Link.model_construct(
        item=item,
        reason=reason,
        sources=sorted(sources),
        attributes=[],
        earlier_reasons=earlier,
        relation=relation,
    )
