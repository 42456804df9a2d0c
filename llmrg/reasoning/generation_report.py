"""What the offline job says about itself: where it stands, and what it did.

Promise: only counts and sums; nothing here names a user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from llmrg.graph.schema import NodeKind
from llmrg.reasoners.reasoner import ReasonerRequest, Reply, UnusableReplyError, Usage
from llmrg.reasoners.traffic import Traffic
from llmrg.reasoning.agent import Reasoned, Reuse
from llmrg.reasoning.recall import Audit

REUSE = "reuse"  # key in the store's meta


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the job stands, after each user.

    Args:
        done: users finished in this run, failed ones too.
        total: users this run has to think about.
        failed: users without a graph so far.
        requests: requests answered so far.
        seconds: since the start.
        traffic: what went over the line; all zero for the embedded reasoner.
        reused: requests that the knowledge base saved.
        repaired: replies that had to be asked for again.
        rejected_share: share of claims under tau so far.
    """

    done: int
    total: int
    failed: int
    requests: int
    seconds: float
    traffic: Traffic = field(default_factory=Traffic)
    reused: int = 0
    repaired: int = 0
    rejected_share: float = 0.0


@dataclass(slots=True)
class GenerationReport:
    """What the job did.

    Args:
        recipe: fingerprint of everything that made the graphs.
        users: users given.
        done: users who got a graph in this run.
        skipped: users whose graph was there already.
        failed: users without a graph.
        problems: salvaged replies, by task.
        requests: requests answered, by task.
        cached: of those, answered from records.
        usage: calls and tokens of this run.
        usd: US dollars of this run, as far as prices are known.
        rungs: how replies were understood (see :class:`~llmrg.reasoners.reasoner.Rung`).
        reuse: what the knowledge base answered.
        claims: reasons and imagined items made.
        rejected: of those, under tau.
        total_score: sum of the claims' scores.
        seconds: wall clock.
    """

    recipe: str
    users: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    rungs: Counter[str] = field(default_factory=Counter)
    reuse: Reuse = field(default_factory=Reuse)
    claims: int = 0
    rejected: int = 0
    total_score: float = 0.0
    seconds: float = 0.0

    @property
    def mean_score(self) -> float:
        """Mean verification score of all claims."""
        return self.total_score / self.claims if self.claims else 0.0

    @property
    def rejected_share(self) -> float:
        """Share of claims under tau."""
        return self.rejected / self.claims if self.claims else 0.0

    def note(self, request: ReasonerRequest, reply: Reply | UnusableReplyError) -> None:
        """Take in one question and what it was answered, also where that was no use."""
        self.requests[request.task.value] += 1
        self.usage += reply.usage
        self.cached += reply.cached
        self.rungs.update(rung.value for rung in reply.rungs)

    def add_answers(self, other: GenerationReport) -> None:
        """Take in the questions and answers that another report has noted."""
        self.requests.update(other.requests)
        self.usage += other.usage
        self.cached += other.cached
        self.rungs.update(other.rungs)

    def count(self, reasoned: Reasoned) -> None:
        """Take in one user's graph."""
        self.done += 1
        self.reuse.add(reasoned.reuse)
        for node in reasoned.graph.nodes:
            if node.kind in (NodeKind.REASON, NodeKind.IMAGINED_ITEM):
                self.claims += 1
                self.total_score += node.score
                self.rejected += node.score < reasoned.graph.tau


def reuse_meta(before: Reuse, report: GenerationReport) -> dict[str, Any]:
    """What the knowledge base answered, over all committed waves of a recipe, for the store's meta.

    Args:
        before: what earlier runs recorded.
        report: of this run so far.
    """
    total = Reuse()
    total.add(before)
    total.add(report.reuse)
    return {REUSE: {"recipe": report.recipe, **asdict(total)}}


def recorded_reuse(meta: Mapping[str, Any]) -> Reuse | None:
    """What a store's meta says the knowledge base answered for its recipe; ``None``: nothing is recorded."""
    values = meta.get(REUSE)
    if not isinstance(values, dict) or values.get("recipe") != meta.get("recipe"):
        return None
    return Reuse(
        links=values["links"],
        imagined=values["imagined"],
        requests_saved=values["requests_saved"],
        audited_links=Audit(**values["audited_links"]),
        audited_imagined=Audit(**values["audited_imagined"]),
    )
