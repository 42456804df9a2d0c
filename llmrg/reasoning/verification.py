"""Self-verification: hide an endpoint, let the reasoner name it, score how well it did.

Promise: the request never holds the answer. Every reason hides one item it stands on; an item hidden by one
mask is visible to none of the same request, and an imagined item is in no history. In a closed choice the
score is the share of distractors that the true endpoint was ranked above; in a free fill (the paper's way) the
share of the same distractors that lie further than the true endpoint from the titles named, by sentence vectors.
Either way 0.5 is what guessing earns. The score of an imagined item is the geometric mean of that share and of how
plausible the reply that imagined it found it: neither makes up for the other's zero. A claim that was reused and is
only audited keeps its score.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import seed_from
from llmrg.reasoners.reply_checks import verdict_problem
from llmrg.reasoners.tasks import (
    FillPayload,
    FillReply,
    FillVerdict,
    Mask,
    ShownItem,
    VerificationPayload,
    VerificationReply,
)
from llmrg.reasoning.chained import Shown
from llmrg.reasoning.draft import Imagined, Thought
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

NO_VERDICT = 0.0  # what was asked about and no verdict speaks for is not verified
GUESS = 0.5
"""The score of what cannot be asked about: text that is no catalogue item, a link whose items other masks hide or are
all that is shown."""

Claim = Thought | Imagined


@dataclass(frozen=True, slots=True)
class Masked:
    """Masks and what they hide, in the same order.

    Args:
        payload: the question.
        claims: what each mask is about.
        options: the true endpoint among its distractors.
        truth: index of the true option of each.
    """

    payload: VerificationPayload | FillPayload
    claims: tuple[Claim, ...]
    options: tuple[tuple[ShownItem, ...], ...]
    truth: tuple[int, ...]


def masked(
    history: UserHistory,
    world: World,
    shown: Shown,
    thoughts: Sequence[Thought],
    imagined: Sequence[tuple[Imagined, tuple[int, ...]]],
    settings: GenerationSettings,
) -> Masked | None:
    """One question over all claims; ``None`` where nothing is claimed.

    Args:
        history: whose.
        world: for distractors.
        shown: the stretch the claims were made from.
        thoughts: new reasons; one that starts a chain claims no link and is left out.
        imagined: imagined items with the positions of the chain they continue.
        settings: the mode, the seed, and how many wrong options a mask has.
    """
    rng = random.Random(seed_from(settings.seed, history.user_id, shown.end))
    hidden: dict[int, Thought] = {}
    answers: set[str] = set()  # hidden wherever they stand: an item that the user has twice would tell itself
    stretch = set(history.item_ids[shown.start : shown.end])
    for thought in thoughts:
        for p in (*thought.sources, *thought.targets) if thought.links else ():
            if p >= shown.start and p not in hidden and stretch > {*answers, history.item_ids[p]}:
                hidden[p] = thought
                answers.add(history.item_ids[p])
                break
    visible = [p for p in range(shown.start, shown.end) if history.item_ids[p] not in answers]
    place = {p: i for i, p in enumerate(visible)}
    taken = {*history.item_ids[: shown.end], *(i.item_id for i, _ in imagined if i.item_id)}
    masks: list[Mask] = []
    claims: list[Claim] = []
    truth: list[int] = []

    def add(claim: Claim, item_id: str, items: Sequence[int], words: str) -> None:
        options, true = world.options(item_id, history.user_id, settings.distractors, taken, rng)
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
    payload: VerificationPayload | FillPayload = VerificationPayload(side, tuple(masks))
    if settings.verification == "free":
        payload = FillPayload(side, tuple(replace(mask, options=()) for mask in masks))
    return Masked(payload, tuple(claims), tuple(mask.options for mask in masks), tuple(truth))


def scores_of(
    question: Masked, reply: VerificationReply | FillReply, world: World
) -> tuple[list[float], list[str]]:
    """A score for every claim, in order; and what was wrong with the reply."""
    problems: list[str] = []
    found: dict[int, float] = {}
    for verdict in reply.verdicts:
        problem = verdict_problem(question.payload, verdict)
        at = verdict.mask
        if problem is None and at in found:
            problem = f"verdict of mask {at}: a second one"
        if problem is not None:
            problems.append(problem)
            continue
        options, true = question.options[at], question.truth[at]
        ranking = (
            world.ranked(verdict.titles, options) if isinstance(verdict, FillVerdict) else verdict.ranking
        )
        found[at] = share_beaten(ranking, true, len(options))
    problems += [f"mask {at} has no verdict" for at in range(len(question.claims)) if at not in found]
    scores = [weighed(claim, found.get(at, NO_VERDICT)) for at, claim in enumerate(question.claims)]
    return scores, problems


def weighed(claim: Claim, score: float) -> float:
    """The score of a claim: of an imagined item the geometric mean with its plausibility."""
    return math.sqrt(score * claim.plausibility) if isinstance(claim, Imagined) else score


def unasked(claim: Claim) -> float:
    """The score of a claim that no mask could be made of; a reason that starts a chain claims nothing."""
    return 1.0 if isinstance(claim, Thought) and not claim.links else weighed(claim, GUESS)


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
