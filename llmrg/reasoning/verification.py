"""Self-verification: hide an endpoint, let the reasoner choose among options, score the true one's rank.

Promise: the request never holds the answer. Every reason hides one item it stands on; an item hidden by one
mask is visible to none of the same request, and an imagined item is in no history. The score is the share
of distractors that the true endpoint was ranked above, so 0.5 is what guessing earns; of an imagined item
it is cut by up to half for what the reply that imagined it found less plausible.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.reasoners.reply_checks import verdict_problem
from llmrg.reasoners.tasks import Mask, VerificationPayload, VerificationReply
from llmrg.reasoning.chained import Shown
from llmrg.reasoning.draft import Imagined, Thought
from llmrg.reasoning.world import World

NO_VERDICT = 0.0  # what no verdict speaks for is not verified


@dataclass(frozen=True, slots=True)
class Masked:
    """Masks and what they hide, in the same order.

    Args:
        payload: the question.
        claims: what each mask is about.
        truth: index of the true option of each.
    """

    payload: VerificationPayload
    claims: tuple[Thought | Imagined, ...]
    truth: tuple[int, ...]


def masked(
    history: UserHistory,
    world: World,
    shown: Shown,
    thoughts: Sequence[Thought],
    imagined: Sequence[tuple[Imagined, tuple[int, ...]]],
    distractors: int,
    rng: random.Random,
) -> Masked | None:
    """One question over all claims; ``None`` where nothing is claimed.

    Args:
        history: whose.
        world: for distractors.
        shown: the stretch the claims were made from.
        thoughts: new reasons; one that starts a chain claims no link and is left out.
        imagined: imagined items with the positions of the chain they continue.
        distractors: wrong options per mask.
        rng: a local generator.
    """
    hidden: dict[int, Thought] = {}
    for thought in thoughts:
        for p in thought.sources:
            if p not in hidden:
                hidden[p] = thought
                break
    visible = [p for p in range(shown.start, shown.end) if p not in hidden]
    place = {p: i for i, p in enumerate(visible)}
    taken = {*history.item_ids[: shown.end], *(i.item_id for i, _ in imagined if i.item_id)}
    masks: list[Mask] = []
    claims: list[Thought | Imagined] = []
    truth: list[int] = []

    def add(claim: Thought | Imagined, item_id: str, items: Sequence[int], words: str) -> None:
        options, true = world.options(item_id, history.user_id, distractors, taken, rng)
        side = tuple(place[p] for p in items if p in place)
        masks.append(Mask(side, words, options, isinstance(claim, Imagined)))
        claims.append(claim)
        truth.append(true)

    for p, thought in hidden.items():
        add(thought, history.item_ids[p], thought.items, thought.words)
    for claim, items in imagined:
        if claim.item_id is not None:
            add(claim, claim.item_id, items, claim.parent.words)
    if not masks:
        return None
    side = tuple(world.shown(history.item_ids[p]) for p in visible)
    return Masked(VerificationPayload(side, tuple(masks)), tuple(claims), tuple(truth))


def score_claims(question: Masked, reply: VerificationReply) -> list[str]:
    """Write each claim's score; returns what was wrong with the reply."""
    problems: list[str] = []
    ranked: dict[int, list[int]] = {}
    for verdict in reply.verdicts:
        problem = verdict_problem(question.payload, verdict)
        if problem is None and verdict.mask in ranked:
            problem = f"verdict of mask {verdict.mask}: a second one"
        if problem is None:
            ranked[verdict.mask] = verdict.ranking
        else:
            problems.append(problem)
    for at, (claim, true, mask) in enumerate(
        zip(question.claims, question.truth, question.payload.masks, strict=True)
    ):
        if at not in ranked:
            problems.append(f"mask {at} has no verdict")
            claim.score = NO_VERDICT
        else:
            claim.score = share_beaten(ranked[at], true, len(mask.options))
            if isinstance(claim, Imagined):
                claim.score *= (1 + claim.plausibility) / 2
    return problems


def share_beaten(ranking: Sequence[int], true: int, options: int) -> float:
    """The share of wrong options that the true one stands before; an option left out stands behind all named.

    >>> share_beaten([2, 0, 1], true=0, options=3), share_beaten([2], true=0, options=3)
    (0.5, 0.0)
    """
    if options < 2:
        return 1.0
    if true not in ranking:
        return 0.0
    return (options - 1 - list(ranking).index(true)) / (options - 1)
