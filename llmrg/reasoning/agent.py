"""The reasoning agent: one user's history in, requests out, replies in, a reasoning graph out.

Promise (law 4): :func:`reason_about` is a pure generator. It knows no network, clock, file or thread, and
the same replies give the same graph. It walks the windows of the history oldest first and shows no prompt
anything newer than its window; per window it asks at most three questions (chained reasoning, divergent
extension, verification).
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReplyError
from llmrg.fingerprint import seed_from
from llmrg.graph.schema import Provenance, ReasoningGraph
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.reasoners.tasks import ChainedReply, DivergentReply, Task, VerificationReply
from llmrg.reasoning.chained import (
    Shown,
    chained_payload,
    link_contributions,
    thought_from_knowledge,
    thoughts_from,
    windows,
)
from llmrg.reasoning.divergent import (
    Extended,
    Tip,
    chain_tips,
    divergent_payload,
    extension_from_knowledge,
    extensions_from,
    next_contributions,
)
from llmrg.reasoning.draft import Draft, Thought
from llmrg.reasoning.knowledge_base import Contribution, Known, Snapshot, link_key, next_key
from llmrg.reasoning.verification import masked, score_claims
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

Thinking = Generator[ReasonerRequest, Reply, "Reasoned"]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is reasoned about, and under which name.

    Args:
        scope: see :meth:`~llmrg.reasoners.reasoner.Reasoner.scope`.
        wave: number of the wave.
        recipe: fingerprint written into the graph.
        attributes: of the user, ``name=value``, those worth showing.
    """

    scope: str = ""
    wave: int = 0
    recipe: str = ""
    attributes: tuple[str, ...] = ()


@dataclass(slots=True)
class Reuse:
    """What the knowledge base answered: links, imagined items, and requests that were not made at all."""

    links: int = 0
    imagined: int = 0
    requests_saved: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reply got wrong and the agent left out."""

    task: Task
    message: str
    request: str


@dataclass(frozen=True, slots=True)
class Reasoned:
    """What thinking about one user ends in.

    Args:
        graph: the reasoning graph.
        contributions: what its training part teaches the knowledge base.
        reuse: what the knowledge base answered.
        problems: what was wrong with replies, left out of the graph.
    """

    graph: ReasoningGraph
    contributions: tuple[Contribution, ...]
    reuse: Reuse
    problems: tuple[Problem, ...] = ()


def reason_about(
    history: UserHistory,
    world: World,
    settings: GenerationSettings,
    snapshot: Snapshot | None = None,
    asker: Asker | None = None,
) -> Thinking:
    """Think about one user.

    Args:
        history: what the user did before the cut-off.
        world: titles, grounding and distractors.
        settings: the recipe.
        snapshot: the knowledge base as this wave sees it; ``None``: nothing is known.
        asker: scope, wave and recipe of the run.

    Yields:
        Requests, to be answered by ``send``.

    Returns:
        A :class:`Reasoned`.

    Raises:
        ReplyError: a reply that answers another task, or nothing that was asked.
    """
    mind = _Mind(history, world, settings, snapshot, asker or Asker())
    cuts = windows(len(history), history.train_length, settings.window, settings.max_history)
    done = cuts[0][0] if cuts else 0
    mind.draft.add_items(0, done)
    for number, (start, end) in enumerate(cuts, start=1):
        mind.draft.add_items(start, end)
        due = number % settings.divergent_every == 0 or end in (history.train_length, len(history))
        yield from mind.window(start, end, divergent=due)
    graph = mind.draft.finish(recipe=mind.asker.recipe, tau=settings.tau)
    return Reasoned(graph, tuple(mind.contributions), mind.reuse, tuple(mind.problems))


@dataclass(slots=True)
class _Mind:
    """The state of thinking about one user."""

    history: UserHistory
    world: World
    settings: GenerationSettings
    snapshot: Snapshot | None
    asker: Asker
    draft: Draft = field(init=False)
    contributions: list[Contribution] = field(default_factory=list)
    reuse: Reuse = field(default_factory=Reuse)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        labels = [self.world.shown(item_id).title for item_id in self.history.item_ids]
        self.draft = Draft(self.history, labels, self.asker.attributes)

    def window(self, start: int, end: int, *, divergent: bool) -> Generator[ReasonerRequest, Reply, None]:
        shown = Shown(max(0, start - self.settings.context_items), end)
        reused, asked = yield from self._chain(start, shown)
        tips = chain_tips([*self.draft.thoughts, *reused, *asked], shown, self.settings.chains_per_call)
        known, imagined = (yield from self._extend(tips, shown)) if divergent else ([], [])
        if self.settings.verify:
            yield from self._verify(shown, asked, imagined)
        for thought in (*reused, *asked):
            self.draft.add_thought(thought)
        for extended in (*known, *imagined):
            if extended.thought.suggests and not extended.thought.key:
                extended.thought.score = max(i.score for i in extended.imagined)
                self.draft.add_thought(extended.thought)
            for one in extended.imagined:
                self.draft.add_imagined(one)
        if end <= self.history.train_length and self.settings.knowledge:
            self._learn([*reused, *asked], [*known, *imagined])

    def _chain(
        self, start: int, shown: Shown
    ) -> Generator[ReasonerRequest, Reply, tuple[list[Thought], list[Thought]]]:
        reused: list[Thought] = []
        unresolved: list[int] = []
        for p in range(start, shown.end):
            known = self._known(link_key(self.history.item_ids[p - 1], self.history.item_ids[p])) if p else []
            known = [k for k in known if k.score >= self.settings.tau]
            if known:
                reused.append(thought_from_knowledge(known[0], p, self.asker.wave))
            else:
                unresolved.append(p)
        self.reuse.links += len(reused)
        if not unresolved:
            self.reuse.requests_saved += 1
            return reused, []
        recent = [t for t in self.draft.thoughts if not t.suggests and t.score >= self.settings.tau]
        recent = recent[len(recent) - min(len(recent), self.settings.context_reasons) :]
        payload = chained_payload(self.history, self.world, shown, unresolved, self.asker.attributes, recent)
        request = ReasonerRequest(payload, self.asker.scope)
        reply = (yield request).parsed
        if not isinstance(reply, ChainedReply):
            raise _wrong_kind(request, reply)
        asked, problems = thoughts_from(payload, reply, shown, recent, self._provenance(request))
        self._note(request, problems)
        return reused, asked

    def _extend(
        self, tips: list[Tip], shown: Shown
    ) -> Generator[ReasonerRequest, Reply, tuple[list[Extended], list[Extended]]]:
        taken = set(self.history.item_ids[: shown.end])
        reused: list[Extended] = []
        unresolved: list[Tip] = []
        for tip in tips:
            known = self._known(next_key(self.history.item_ids[tip.items[-1]]))
            fresh = [k for k in known if k.name not in taken and k.score >= self.settings.tau]
            if len(fresh) >= self.settings.imagined_per_chain:
                fresh = fresh[: self.settings.imagined_per_chain]
                reused.append(extension_from_knowledge(fresh, tip, shown, self.world, taken, self.asker.wave))
            else:
                unresolved.append(tip)
        self.reuse.imagined += sum(len(extended.imagined) for extended in reused)
        if not unresolved:
            self.reuse.requests_saved += 1
            return reused, []
        payload = divergent_payload(
            self.history,
            self.world,
            shown,
            unresolved,
            self.settings.imagined_per_chain,
            self.asker.attributes,
            taken,
        )
        request = ReasonerRequest(payload, self.asker.scope)
        reply = (yield request).parsed
        if not isinstance(reply, DivergentReply):
            raise _wrong_kind(request, reply)
        asked, problems = extensions_from(
            payload,
            reply,
            unresolved,
            shown,
            self.world,
            self.history.user_id,
            taken,
            self._provenance(request),
            top_k=self.settings.ground_top_k,
            threshold=self.settings.ground_threshold,
        )
        self._note(request, problems)
        return reused, asked

    def _verify(
        self, shown: Shown, thoughts: list[Thought], imagined: list[Extended]
    ) -> Generator[ReasonerRequest, Reply, None]:
        rng = random.Random(seed_from(self.settings.seed, self.history.user_id, shown.end))
        claims = [(one, extended.tip.items) for extended in imagined for one in extended.imagined]
        question = masked(self.history, self.world, shown, thoughts, claims, self.settings.distractors, rng)
        if question is None:
            return
        request = ReasonerRequest(question.payload, self.asker.scope)
        reply = (yield request).parsed
        if not isinstance(reply, VerificationReply):
            raise _wrong_kind(request, reply)
        self._note(request, score_claims(question, reply))

    def _learn(self, thoughts: list[Thought], extended: list[Extended]) -> None:
        for thought in thoughts:
            if thought.score >= self.settings.tau:
                self.contributions += link_contributions(self.history, thought)
        for one in extended:
            self.contributions += next_contributions(self.history, one, self.settings.tau)

    def _known(self, key: str) -> list[Known]:
        if self.snapshot is None or not self.settings.knowledge:
            return []
        return self.snapshot.look_up(key, scope=self.asker.scope, user_id=self.history.user_id)

    def _provenance(self, request: ReasonerRequest) -> Provenance:
        return Provenance(request.content_hash, self.asker.wave)

    def _note(self, request: ReasonerRequest, problems: list[str]) -> None:
        self.problems += [Problem(request.task, message, request.content_hash) for message in problems]


def _wrong_kind(request: ReasonerRequest, reply: object) -> ReplyError:
    return ReplyError(
        f"expected an answer to {request.task}, found {type(reply).__name__}; "
        "the reasoner mixed up its replies"
    )
