"""Remembering: what the knowledge base answers for one user, what of it is audited, and what the user teaches.

Promise: only what verification found true often enough is recalled (support, mean score), in the order of
:mod:`~llmrg.reasoning.premises`; a seeded share of users has every reuse verified all the same, so that the
false-reuse rate is a measurement; and only a user's training part teaches (law 1). A reused claim teaches nothing
by being reused, only by being audited.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import seed_from
from llmrg.reasoning.chained import link_contributions, starts_chain
from llmrg.reasoning.divergent import Extended, next_contributions
from llmrg.reasoning.draft import Thought
from llmrg.reasoning.knowledge_base import Contribution, Known, Snapshot
from llmrg.reasoning.premises import REACH, link_premises, next_premises
from llmrg.reasoning.verification import Claim
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

AGREE = 0.75  # share of the supporters of a premise who must say the same: linked, or a new chain


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
class Audit:
    """Reused claims of one kind that were verified all the same.

    Args:
        count: how many.
        total: sum of the scores they got.
        false: of them, under tau: verification would have rejected them.
    """

    count: int = 0
    total: float = 0.0
    false: int = 0

    def add(self, other: Audit) -> None:
        """Add up."""
        self.count, self.total, self.false = (
            self.count + other.count,
            self.total + other.total,
            self.false + other.false,
        )

    @property
    def score(self) -> float:
        """Mean score."""
        return self.total / self.count if self.count else 0.0

    @property
    def false_rate(self) -> float:
        """Share of false reuses."""
        return self.false / self.count if self.count else 0.0


@dataclass(slots=True)
class Reuse:
    """What the knowledge base answered.

    Args:
        links: reasons reused.
        imagined: imagined items reused.
        requests_saved: ends of windows at which nothing had to be asked.
        audited_links: of the reasons reused.
        audited_imagined: of the imagined items reused.
    """

    links: int = 0
    imagined: int = 0
    requests_saved: int = 0
    audited_links: Audit = field(default_factory=Audit)
    audited_imagined: Audit = field(default_factory=Audit)

    def add(self, other: Reuse) -> None:
        """Add up."""
        self.links += other.links
        self.imagined += other.imagined
        self.requests_saved += other.requests_saved
        self.audited_links.add(other.audited_links)
        self.audited_imagined.add(other.audited_imagined)


class Recall:
    """See the module.

    Args:
        history: whose.
        world: categories and like titles.
        settings: the recipe.
        snapshot: the knowledge base as this wave sees it; ``None``: nothing is known.
        asker: scope, wave and recipe of the run.
    """

    def __init__(
        self,
        history: UserHistory,
        world: World,
        settings: GenerationSettings,
        snapshot: Snapshot | None,
        asker: Asker,
    ) -> None:
        self.history, self.world, self.settings, self.asker = history, world, settings, asker
        self.snapshot = snapshot if settings.knowledge else None
        self.reuse = Reuse()
        self.contributions: list[Contribution] = []
        draw = random.Random(seed_from(settings.seed, history.user_id, "audit")).random()
        self.auditing = settings.verify and draw < settings.audit_share

    def link(self, position: int) -> tuple[Known, int] | None:
        """Why the item at ``position`` was taken, and the position it follows from; asked where users disagree."""
        if self.snapshot is None:
            return None
        for key, source in link_premises(self.world, self.history.item_ids, position):
            found = self._look_up(self.snapshot, key)
            support = sum(known.support for known in found)
            for starts in (False, True) if source < position else (True,):
                side = [known for known in found if starts_chain(known) is starts]
                if side and sum(known.support for known in side) >= AGREE * support:
                    self.reuse.links += 1
                    return side[0], source
        return None

    def following(self, position: int, newest: int, taken: set[str]) -> list[Known]:
        """What may follow a chain that ends at ``position``: as many items as are asked for, or none.

        Premises propose; a proposal is taken only where the user's newest items speak for it (the training parts
        of others, and titles), the best spoken for first. What exists for those who taught it, in another fold, need
        not exist for this user (law 1).

        Args:
            position: where the chain ends.
            newest: the newest position that may be looked at.
            taken: items that may not be imagined.
        """
        if self.snapshot is None:
            return []
        found: dict[str, Known] = {}
        newest_items = self.history.item_ids[max(0, newest - REACH) : newest + 1]
        for item_id in dict.fromkeys([self.history.item_ids[position], *reversed(newest_items)]):
            for key in next_premises(self.world, item_id):
                for known in self._look_up(self.snapshot, key):
                    if known.name not in taken:
                        found.setdefault(known.name, known)
        wanted, user_id = self.settings.imagined_per_chain, self.history.user_id
        proposed = [known for known in found.values() if self.world.exists(known.name, user_id)]
        if len(proposed) < wanted:
            return []
        fit = self.world.fit(
            user_id,
            [self.history.item_ids[position], *newest_items],
            [known.name for known in proposed],
        )
        best = sorted(range(len(proposed)), key=lambda i: -fit[i])[:wanted]
        if fit[best[-1]] < self.settings.knowledge_min_fit:
            return []
        self.reuse.imagined += wanted
        return [proposed[i] for i in best]

    def audit(self, claim: Claim, known: Known, score: float | None, end: int) -> None:
        """Count a reused claim that was verified after all, and tell the knowledge base what came of it.

        Args:
            claim: the reused claim.
            known: where it came from.
            score: what verification says now; ``None``: there was nothing to hide.
            end: positions shown to that verification.
        """
        if score is None:
            return
        holds = score >= self.settings.tau
        of_kind = self.reuse.audited_links if isinstance(claim, Thought) else self.reuse.audited_imagined
        of_kind.add(Audit(1, score, int(not holds)))
        if end <= self.history.train_length:
            self.contributions.append(
                Contribution(known.entry, known.name, known.words, score, known.request, supports=holds)
            )

    def learn(self, thoughts: Iterable[Thought], extended: Iterable[Extended], end: int) -> None:
        """Keep what was asked and verified, if all that was shown (positions before ``end``) is training."""
        if end > self.history.train_length or not self.settings.knowledge:
            return
        items, tau = self.history.item_ids, self.settings.tau
        for thought in thoughts:
            if thought.score >= tau:
                self.contributions += link_contributions(items, self.world, thought)
        for one in extended:
            self.contributions += next_contributions(items, self.world, one, tau)

    def _look_up(self, snapshot: Snapshot, key: str) -> list[Known]:
        found = snapshot.look_up(key, scope=self.asker.scope, user_id=self.history.user_id)
        return [known for known in found if known.score >= self.settings.knowledge_min_score]
