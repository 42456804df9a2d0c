"""One user's mind: items met one by one, windows closed, what is known reused, what is not asked, all of it verified.

Promise (law 4): generators without effects; every question leaves by ``yield``. A question whose answer was no use is
noted, and thinking goes on without it: its items stay without a reason, its claims count as not verified.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReplyError
from llmrg.graph.schema import Provenance
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.reasoners.tasks import (
    ChainedPayload,
    ChainedReply,
    DivergentPayload,
    DivergentReply,
    Extension,
    FillReply,
    Task,
    VerificationPayload,
    VerificationReply,
)
from llmrg.reasoning.chained import Shown, chained_payload, thought_from_knowledge, thoughts_from
from llmrg.reasoning.divergent import (
    Extended,
    Tip,
    chain_tips,
    divergent_payload,
    extension_from_knowledge,
    extensions_from,
    tips_by_item,
)
from llmrg.reasoning.draft import Draft, Imagined, Thought
from llmrg.reasoning.knowledge_base import Known
from llmrg.reasoning.recall import Asker, Recall
from llmrg.reasoning.verification import NO_VERDICT, Claim, masked, scores_of, unasked
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

Content = TypeVar("Content", ChainedReply, DivergentReply, VerificationReply, FillReply)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reply got wrong and the agent left out."""

    task: Task
    message: str
    request: str


@dataclass(slots=True)
class Mind:
    """The state of thinking about one user.

    Args:
        recall: what the knowledge base answers.
        history: whose.
        world: titles, grounding and distractors.
        settings: the recipe.
        asker: scope, wave and recipe of the run.
        draft: the graph so far.
        pending: positions of the items that nothing explains yet.
        audits: reused claims to be verified all the same, where they came from, and the items they stand on.
        problems: what was wrong with replies.
        answered: a reply was of use.
        failed: the last one that was not.
    """

    recall: Recall
    history: UserHistory
    world: World
    settings: GenerationSettings
    asker: Asker
    draft: Draft = field(init=False)
    pending: list[int] = field(default_factory=list)
    audits: list[tuple[Claim, Known, tuple[int, ...]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    answered: bool = False
    failed: ReplyError | None = None

    def __post_init__(self) -> None:
        labels = [self.world.shown(item_id).title for item_id in self.history.item_ids]
        self.draft = Draft(self.history, labels, self.asker.attributes)

    def meet(self, position: int) -> None:
        """The next item: linked by what is known, or left pending."""
        self.draft.add_items(position, position + 1)
        found = self.recall.link(position)
        if found is None:
            self.pending.append(position)
            return
        known, source = found
        thought = thought_from_knowledge(known, source, position, self.asker.wave)
        self.draft.add_thought(thought)
        if self.recall.auditing:
            self.audits.append((thought, known, thought.items))

    def close(self, end: int, *, divergent: bool) -> Generator[ReasonerRequest, Reply, None]:
        """Ask about what is pending and, where due, what may come next; then verify the answers.

        Pending items are worth a call of their own once they fill a window, or are too old to be shown later.
        """
        width, context = self.settings.window, self.settings.context_items
        pressing = len(self.pending) >= width or (bool(self.pending) and self.pending[0] < end - context)
        shown = Shown(max(0, min([end - width, *self.pending[:1]]) - context), end)
        taken = set(self.history.item_ids[:end])
        known: list[Extended] = []
        thoughts: list[Thought] = []
        imagined: list[Extended] = []
        wanted = 0
        if divergent:
            known, complete = self._extend_from_knowledge(shown, taken)
            wanted = 0 if complete and not pressing else self.settings.chains_per_call - len(known)
            self.recall.reuse.requests_saved += complete and not pressing
        joint = wanted if self.settings.joint_extension else 0
        if pressing or (self.pending and wanted):
            thoughts, imagined = yield from self._chain(shown, joint, taken)
            wanted -= joint
        if wanted:
            known_of = {extended.tip.items[-1] for extended in known}
            tips = chain_tips([*self.draft.thoughts, *thoughts], shown, self.settings.chains_per_call)
            open_tips = [tip for tip in tips if tip.items[-1] not in known_of][:wanted]
            imagined = (yield from self._extend(open_tips, shown, taken)) if open_tips else []
        yield from self._verify(shown, thoughts, imagined)
        for thought in thoughts:
            self.draft.add_thought(thought)
        self._add_extensions([*known, *imagined])
        self.recall.learn(thoughts, imagined, end)

    def _ask(
        self, request: ReasonerRequest, kind: type[Content]
    ) -> Generator[ReasonerRequest, Reply, Content | None]:
        """The reply; ``None`` where none was of use: thinking goes on without it, and says so."""
        try:
            reply = (yield request).parsed
        except ReplyError as error:
            self._note(request, [str(error)])
            self.failed = error
            return None
        if not isinstance(reply, kind):
            raise ReplyError(
                f"expected an answer to {request.task}, found {type(reply).__name__}; "
                "the reasoner mixed up its replies"
            )
        self.answered = True
        return reply

    def _extend_from_knowledge(self, shown: Shown, taken: set[str]) -> tuple[list[Extended], bool]:
        """What is known to follow the chains, and whether that is all of them."""
        reused: list[Extended] = []
        complete = True
        for tip in chain_tips(self.draft.thoughts, shown, self.settings.chains_per_call):
            fresh = self.recall.following(tip.items[-1], shown.newest, taken)
            if not fresh:
                complete = False
                continue
            extended = extension_from_knowledge(fresh, tip, shown, self.world, taken, self.asker.wave)
            reused.append(extended)
            if self.recall.auditing:
                pairs = zip(extended.imagined, fresh, strict=True)
                self.audits += [(one, known, tip.items) for one, known in pairs]
        return reused, complete

    def _chain(
        self, shown: Shown, extend: int, taken: set[str], rejected: Sequence[Thought] = ()
    ) -> Generator[ReasonerRequest, Reply, tuple[list[Thought], list[Extended]]]:
        new = sorted({p for thought in rejected for p in thought.targets}) if rejected else self.pending
        recent = [t for t in self.draft.thoughts if not t.suggests and t.score >= self.settings.tau]
        recent = recent[len(recent) - min(len(recent), self.settings.context_reasons) :]
        words = tuple(thought.words for thought in rejected)
        payload = chained_payload(self.history, self.world, shown, new, self.asker.attributes, recent, words)
        if extend:
            payload = replace(
                payload, extend=extend, per_chain=self.settings.imagined_per_chain, known=tuple(sorted(taken))
            )
        request = ReasonerRequest(payload, self.asker.scope)
        reply = yield from self._ask(request, ChainedReply)
        self.pending = []
        if reply is None:
            return [], []
        thoughts, problems = thoughts_from(payload, reply, shown, recent, self._provenance(request))
        self._note(request, problems)
        if not extend:
            return thoughts, []
        tips = tips_by_item([*self.draft.thoughts, *thoughts], shown)
        return thoughts, self._extensions(request, payload, reply.extensions, tips, shown, taken)

    def _extend(
        self, tips: list[Tip], shown: Shown, taken: set[str]
    ) -> Generator[ReasonerRequest, Reply, list[Extended]]:
        per_chain = self.settings.imagined_per_chain
        payload = divergent_payload(
            self.history, self.world, shown, tips, per_chain, self.asker.attributes, taken
        )
        request = ReasonerRequest(payload, self.asker.scope)
        reply = yield from self._ask(request, DivergentReply)
        if reply is None:
            return []
        by_item = {tip.items[-1] - shown.start: tip for tip in tips}
        return self._extensions(request, payload, reply.extensions, by_item, shown, taken)

    def _extensions(
        self,
        request: ReasonerRequest,
        payload: ChainedPayload | DivergentPayload,
        extensions: Sequence[Extension],
        tips: Mapping[int, Tip],
        shown: Shown,
        taken: set[str],
    ) -> list[Extended]:
        found, problems = extensions_from(
            payload,
            extensions,
            tips,
            shown,
            self.world,
            self.history.user_id,
            taken,
            self._provenance(request),
            top_k=self.settings.ground_top_k,
            threshold=self.settings.ground_threshold,
        )
        self._note(request, problems)
        return found

    def _verify(
        self, shown: Shown, thoughts: list[Thought], imagined: list[Extended]
    ) -> Generator[ReasonerRequest, Reply, None]:
        """Score new claims; ask once more about rejected ones where that is wanted; audit some reused ones."""
        if not self.settings.verify:
            return
        claims = [(one, extended.tip.items) for extended in imagined for one in extended.imagined]
        audited, self.audits = self.audits, []
        scores = yield from self._scores(
            shown,
            [*thoughts, *(claim for claim, _, _ in audited if isinstance(claim, Thought))],
            [*claims, *((claim, items) for claim, _, items in audited if isinstance(claim, Imagined))],
        )
        for claim, known, _ in audited:
            self.recall.audit(claim, known, scores.pop(id(claim), None), shown.end)
        made: list[Claim] = [*thoughts, *(one for one, _ in claims)]
        for new in made:
            new.score = scores.get(id(new), unasked(new))
        rejected = [t for t in thoughts if t.score < self.settings.tau]
        if self.settings.recalibrate and rejected:
            again, _ = yield from self._chain(shown, 0, set(), rejected)
            scores = yield from self._scores(shown, again, [])
            for thought in again:
                thought.score = scores.get(id(thought), unasked(thought))
            thoughts += again

    def _scores(
        self, shown: Shown, thoughts: Sequence[Thought], imagined: Sequence[tuple[Imagined, tuple[int, ...]]]
    ) -> Generator[ReasonerRequest, Reply, dict[int, float]]:
        """Verification scores by the identity of the claim; a claim without an endpoint to hide has none."""
        question = masked(self.history, self.world, shown, thoughts, imagined, self.settings)
        if question is None:
            return {}
        request = ReasonerRequest(question.payload, self.asker.scope)
        reply: VerificationReply | FillReply | None
        if isinstance(question.payload, VerificationPayload):
            reply = yield from self._ask(request, VerificationReply)
        else:
            reply = yield from self._ask(request, FillReply)
        scores = [NO_VERDICT] * len(question.claims)
        problems: list[str] = []
        spoken_of: set[int] = set()
        if reply is not None:
            scores, problems = scores_of(question, reply, self.world)
            spoken_of = {verdict.mask for verdict in reply.verdicts}
        self._note(request, problems)
        return {
            id(claim): scores[at]
            for at, claim in enumerate(question.claims)
            # that no verdict came says nothing against what was reused
            if at in spoken_of or claim.provenance.knowledge_entry is None
        }

    def _add_extensions(self, extensions: Sequence[Extended]) -> None:
        for extended in extensions:
            if extended.thought.suggests and not extended.thought.key:
                extended.thought.score = max(i.score for i in extended.imagined)
                self.draft.add_thought(extended.thought)
            for one in extended.imagined:
                self.draft.add_imagined(one)

    def _provenance(self, request: ReasonerRequest) -> Provenance:
        return Provenance(request.content_hash, self.asker.wave)

    def _note(self, request: ReasonerRequest, problems: list[str]) -> None:
        self.problems += [Problem(request.task, message, request.content_hash) for message in problems]
