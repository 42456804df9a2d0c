"""Chained graph reasoning: why the new items of a window follow from what came before.

Promise (law 1): a reason made by a reply stands at the newest item shown in that prompt, whatever it links; a
reason reused from the knowledge base stands at the item it explains, because it needed to see no further.
Reasons that say the same in the same reply become one reason shared by their items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import Provenance, Relation
from llmrg.reasoners.reply_checks import link_problem
from llmrg.reasoners.tasks import ChainedPayload, ChainedReply, ShownReason
from llmrg.reasoning.draft import Thought
from llmrg.reasoning.knowledge_base import Contribution, Known
from llmrg.reasoning.premises import REACH, link_lessons
from llmrg.reasoning.world import World

START = "start: "  # begins the name of a continuation that says: nothing before led to this item


@dataclass(frozen=True, slots=True)
class Shown:
    """The stretch of a history that a prompt shows: positions ``start`` to ``end`` (exclusive)."""

    start: int
    end: int

    @property
    def newest(self) -> int:
        """The position that everything made from this prompt gets."""
        return self.end - 1


def windows(length: int, width: int, max_history: int | None = None) -> list[tuple[int, int]]:
    """Windows of new items: closed at multiples of ``width`` and at the end.

    With ``max_history`` the older positions are in no window; the multiples are counted from the start of the
    history all the same, so that a growing history keeps its windows.

    >>> windows(12, 5)
    [(0, 5), (5, 10), (10, 12)]
    >>> windows(12, 5, max_history=4)
    [(8, 10), (10, 12)]
    """
    first = 0 if max_history is None else max(0, length - max_history)
    cuts = sorted({*(cut for cut in range(0, length, width) if cut > first), first, length})
    return list(pairwise(cuts))


def chained_payload(
    history: UserHistory,
    world: World,
    shown: Shown,
    new: Sequence[int],
    attributes: tuple[str, ...],
    reasons: Sequence[Thought],
    rejected: tuple[str, ...] = (),
) -> ChainedPayload:
    """The question why the items at positions ``new`` were taken, if not for the reasons ``rejected``."""
    return ChainedPayload(
        items=tuple(world.shown(item_id) for item_id in history.item_ids[shown.start : shown.end]),
        new=tuple(p - shown.start for p in new),
        attributes=attributes,
        reasons=tuple(
            ShownReason(t.words, tuple(p - shown.start for p in t.items if shown.start <= p < shown.end))
            for t in reasons
        ),
        rejected=rejected,
    )


def thoughts_from(
    payload: ChainedPayload,
    reply: ChainedReply,
    shown: Shown,
    reasons: Sequence[Thought],
    provenance: Provenance,
) -> tuple[list[Thought], list[str]]:
    """The reply's valid links as thoughts, joined where they say the same; and what was wrong otherwise."""
    problems: list[str] = []
    merged: dict[str, Thought] = {}
    linked: set[int] = set()
    for link in reply.links:
        problem = link_problem(payload, link)
        if problem is None and link.item in linked:
            problem = f"link of item {link.item}: a second one"
        if problem is not None:
            problems.append(problem)
            continue
        linked.add(link.item)
        words = " ".join(link.reason.split())
        target = link.item + shown.start
        sources = tuple(sorted(i + shown.start for i in link.sources))
        items = {target, *sources}
        names = tuple(payload.attributes[i] for i in link.attributes)
        earlier = tuple(reasons[i] for i in link.earlier_reasons)
        relation = None if link.relation == "none" else Relation(link.relation)
        thought = merged.get(words)
        if thought is None:
            merged[words] = Thought(
                words=words,
                position=shown.newest,
                items=tuple(sorted(items)),
                follows={target: sources},
                provenance=provenance,
                attributes=names,
                earlier=earlier,
                relation=relation,
            )
        else:
            thought.items = tuple(sorted(items.union(thought.items)))
            thought.follows[target] = sources
            thought.attributes = tuple(dict.fromkeys((*thought.attributes, *names)))
            if thought.relation in (None, relation):
                thought.earlier = tuple({t.key: t for t in (*thought.earlier, *earlier)}.values())
                thought.relation = relation or thought.relation
    problems += [f"item {i} has no link" for i in payload.new if i not in linked]
    return list(merged.values()), problems


def thought_from_knowledge(known: Known, source: int, position: int, wave: int) -> Thought:
    """A reused reason why the item at ``position`` was taken: from the one at ``source``, or as a new chain."""
    sources = () if starts_chain(known) else (source,)
    return Thought(
        words=known.words,
        position=position,
        items=(*sources, position),
        follows={position: sources},
        provenance=Provenance(known.request, wave, known.entry),
        score=known.score,
    )


def starts_chain(known: Known) -> bool:
    """Whether what is known of an item is that nothing before led to it."""
    return known.name.startswith(START)


def link_contributions(item_ids: Sequence[str], world: World, thought: Thought) -> list[Contribution]:
    """What a verified reason teaches: why each item it explains follows the nearest of those it was said to follow
    from, or nothing."""
    lessons = []
    for p, sources in thought.follows.items():
        if sources and sources[-1] < p - REACH:
            continue
        source = sources[-1] if sources else None
        name = thought.words if sources else START + thought.words
        for key in link_lessons(world, item_ids, p, source):
            origin = thought.provenance.request
            lessons.append(Contribution(key, name, thought.words, thought.score, origin))
    return lessons
