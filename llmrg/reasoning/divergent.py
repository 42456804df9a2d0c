"""Divergent extension: the most recent, distinct chains continued beyond the newest item.

Promise (law 1): imagined items stand at the newest item shown in the prompt they come from, and only items
that exist for this user are grounded; what the user already has, or another chain of the call imagined, is
left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import Provenance, Relation
from llmrg.reasoners.reply_checks import extension_problem
from llmrg.reasoners.tasks import ChainedPayload, DivergentPayload, Extension, ShownChain
from llmrg.reasoning.chained import Shown
from llmrg.reasoning.draft import Imagined, Thought
from llmrg.reasoning.knowledge_base import Contribution, Known
from llmrg.reasoning.premises import next_keys
from llmrg.reasoning.world import World

DEPTH = 2  # earlier reasons of a chain that are shown with its tip
DEFAULT_WORDS = "what may follow"


@dataclass(frozen=True, slots=True)
class Tip:
    """A chain to extend.

    Args:
        thought: its newest reason; ``None`` for a bare item.
        reasons: words of its reasons, oldest first.
        items: positions it stands on, ascending; the last is its premise in the knowledge base.
    """

    thought: Thought | None
    reasons: tuple[str, ...]
    items: tuple[int, ...]


def chain_tips(thoughts: Sequence[Thought], shown: Shown, count: int) -> list[Tip]:
    """The chains to extend: first the one of the newest item, then others by their newest item.

    Every chain has words and a newest item of its own, so that one call looks in several directions.
    """
    recent = [t for t in thoughts if not t.suggests and t.items and t.items[-1] >= shown.start]
    recent.sort(key=lambda t: t.items[-1], reverse=True)
    tips: list[Tip] = []
    words: set[str] = set()
    last: set[int] = set()
    if not recent or recent[0].items[-1] != shown.newest:
        tips.append(Tip(None, (), (shown.newest,)))
        last.add(shown.newest)
    for thought in recent:
        if len(tips) >= count:
            break
        if thought.words in words or thought.items[-1] in last:
            continue
        words.add(thought.words)
        last.add(thought.items[-1])
        tips.append(_tip(thought, shown))
    return tips[:count]


def tips_by_item(thoughts: Sequence[Thought], shown: Shown) -> dict[int, Tip]:
    """For every shown item (index) the chain that ends in it: of its newest reason, or the bare item."""
    found = {p - shown.start: Tip(None, (), (p,)) for p in range(shown.start, shown.end)}
    for thought in thoughts:
        if not thought.suggests and thought.items and thought.items[-1] >= shown.start:
            found[thought.items[-1] - shown.start] = _tip(thought, shown)
    return found


def divergent_payload(
    history: UserHistory,
    world: World,
    shown: Shown,
    tips: Sequence[Tip],
    per_chain: int,
    attributes: tuple[str, ...],
    taken: Iterable[str],
) -> DivergentPayload:
    """The question where these chains lead; what is ``taken`` (known or just reused) need not be imagined."""
    return DivergentPayload(
        items=tuple(world.shown(item_id) for item_id in history.item_ids[shown.start : shown.end]),
        chains=tuple(ShownChain(tip.reasons, tuple(p - shown.start for p in tip.items)) for tip in tips),
        per_chain=per_chain,
        known=tuple(sorted(taken)),
        attributes=attributes,
    )


@dataclass(frozen=True, slots=True)
class Extended:
    """A reason (new, or the chain's own tip) and the items it suggests."""

    tip: Tip
    thought: Thought
    imagined: list[Imagined]


def extensions_from(
    payload: ChainedPayload | DivergentPayload,
    extensions: Sequence[Extension],
    tips: Mapping[int, Tip],
    shown: Shown,
    world: World,
    user_id: str,
    taken: set[str],
    provenance: Provenance,
    *,
    top_k: int,
    threshold: float,
) -> tuple[list[Extended], list[str]]:
    """The valid extensions of a reply, grounded; and what was wrong with the others.

    Args:
        payload: what was asked.
        extensions: what came back.
        tips: the chains that may be continued, by the index of their newest item.
        shown: the stretch shown.
        world: for grounding.
        user_id: whose.
        taken: items that may not be imagined; grows.
        provenance: of everything made here.
        top_k: items a title is grounded to.
        threshold: least similarity.
    """
    problems: list[str] = []
    extended: list[Extended] = []
    seen: set[int] = set()
    most = payload.extend if isinstance(payload, ChainedPayload) else len(payload.chains)
    for extension in extensions:
        problem = extension_problem(payload, extension)
        if problem is None and extension.item in seen:
            problem = f"extension of item {extension.item}: a second one"
        if problem is None and len(seen) == most:
            problem = f"extension of item {extension.item}: expected at most {most}"
        if problem is not None:
            problems.append(problem)
            continue
        seen.add(extension.item)
        tip = tips[extension.item]
        items = [item for item in extension.items if item.title.strip()][: payload.per_chain]
        titles = [" ".join(item.title.split()) for item in items]
        thought = _extension_thought(tip, " ".join(extension.reason.split()), shown.newest, provenance)
        found: list[Imagined] = []
        grounded = world.ground(titles, user_id, top_k=top_k, threshold=threshold)
        for title, item, hits in zip(titles, items, grounded, strict=True):
            plausible = item.score / 100
            if not hits and world.grounding.labelled(title) is None and title not in taken:
                taken.add(title)
                found.append(Imagined(title, None, None, thought, shown.newest, provenance, plausible))
            for hit in hits:
                if hit.item_id not in taken:
                    taken.add(hit.item_id)
                    words = world.shown(hit.item_id).title
                    found.append(
                        Imagined(
                            words, hit.item_id, hit.similarity, thought, shown.newest, provenance, plausible
                        )
                    )
        if found:
            extended.append(Extended(tip, thought, found))
        else:
            problems.append(f"extension of item {extension.item}: every imagined item is already known")
    if isinstance(payload, DivergentPayload):
        problems += [f"the chain of item {i} has no extension" for i in tips if i not in seen]
    elif payload.extend and not seen:
        problems.append("no chain is continued")
    return extended, problems


def extension_from_knowledge(
    known: Sequence[Known], tip: Tip, shown: Shown, world: World, taken: set[str], wave: int
) -> Extended:
    """Imagined items reused for a chain; ``known`` is already free of what is taken, which grows."""
    taken.update(k.name for k in known)
    first = known[0]
    provenance = Provenance(first.request, wave, first.entry)
    thought = _extension_thought(tip, first.words, shown.newest, provenance)
    imagined = [
        Imagined(
            world.shown(k.name).title,
            k.name,
            1.0,
            thought,
            shown.newest,
            Provenance(k.request, wave, k.entry),
            score=k.score,
        )
        for k in known
    ]
    return Extended(tip, thought, imagined)


def next_contributions(
    item_ids: Sequence[str], world: World, extended: Extended, tau: float
) -> list[Contribution]:
    """What verified imagined items teach: what may follow the chain's newest item."""
    keys = next_keys(world, item_ids[extended.tip.items[-1]])
    # without words of its own an extension hangs on the tip of whichever chain it is reused for
    words = extended.thought.words if extended.thought is not extended.tip.thought else ""
    words = "" if words == DEFAULT_WORDS else words
    return [
        Contribution(key, i.item_id, words, i.score, i.provenance.request)
        for i in extended.imagined
        if i.item_id is not None and i.score >= tau
        for key in keys
    ]


def _tip(thought: Thought, shown: Shown) -> Tip:
    words, items = [thought.words], set(thought.items)
    earlier = thought.earlier
    for _ in range(DEPTH):
        if not earlier:
            break
        words.insert(0, earlier[-1].words)
        items.update(earlier[-1].items)
        earlier = earlier[-1].earlier
    return Tip(
        thought, tuple(words), tuple(sorted(p for p in items if shown.start <= p <= thought.items[-1]))
    )


def _extension_thought(tip: Tip, words: str, position: int, provenance: Provenance) -> Thought:
    """The reason that suggests: the chain's own tip where the extension adds no words."""
    if tip.thought is not None and not words:
        return tip.thought
    return Thought(
        words=words or DEFAULT_WORDS,
        position=position,
        items=tip.items[-1:],
        follows={},
        provenance=provenance,
        earlier=() if tip.thought is None else (tip.thought,),
        relation=None if tip.thought is None else Relation.REFINES,
        suggests=True,
    )
