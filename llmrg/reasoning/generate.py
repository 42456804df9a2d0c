"""The offline job: every user's reasoning graph, wave by wave, into a store.

Promise: all users of a wave read one frozen snapshot of the knowledge base, and a wave is committed whole;
so the result depends on the users' order and the recipe alone, and an interrupted job that is started again
ends in the store that an uninterrupted one would have left. What fails for one user is recorded and stops
no other.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from llmrg.data.catalog import ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence
from llmrg.data.interactions import UserHistory
from llmrg.errors import GraphError, MissingExtraError, SettingsError
from llmrg.fingerprint import fingerprint
from llmrg.graph.checks import refuse_unsound
from llmrg.graph.schema import SCHEMA_VERSION, ReasoningGraph
from llmrg.graph.store import Failure, GraphStore
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import ReasonerRequest, Reply, Rung, UnusableReplyError
from llmrg.reasoning.agent import Asker, Reasoned, Reuse, reason_about
from llmrg.reasoning.draft import user_attributes
from llmrg.reasoning.engine import AnyReasoner, Engine, InProcess, Steps, answered
from llmrg.reasoning.generation_report import GenerationReport, Progress, recorded_reuse, reuse_meta
from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase, Snapshot
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings
from llmrg.text.grounding import Grounding

AGENT_VERSION = 4  # of the reasoning modules; raise it when the same replies give another graph
MOST_VALUES = 100  # a user attribute with more values (a zip code) says little and identifies much

__all__ = [
    "GenerationReport",
    "Progress",
    "decided",
    "generate",
    "informative_attributes",
    "recipe_fingerprint",
]

log = logging.getLogger(__name__)


def generate(
    histories: Sequence[UserHistory],
    catalog: ItemCatalog,
    reasoner: AnyReasoner,
    store: GraphStore,
    *,
    engine: Engine | None = None,
    settings: GenerationSettings | None = None,
    data_fingerprint: str = "",
    world: World | None = None,
    attributes: Sequence[str] | None = None,
    pilot: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> GenerationReport:
    """Think about every user who has no graph of this recipe and history yet.

    Graphs, failures and knowledge of another recipe are removed from the store first. Users who failed in an
    earlier run are tried again after all others, but for those whose history is still empty.

    Args:
        histories: in the order the waves are made of.
        catalog: the items.
        reasoner: what answers.
        store: where to.
        engine: gets the completions a language model needs; by default none can be had.
        settings: the recipe.
        data_fingerprint: of the data set; noted in the store.
        world: statistics and grounding; by default the embedded reasoner's own, else labels only.
        attributes: names of the user attributes worth showing; by default :func:`informative_attributes`.
        pilot: think about so many users only. Those of a wave that is not whole get no graph: their replies are in
            the engine's records, so that a later run asks for none of them again and ends as if there had been no
            pilot.
        progress: called after each user, and whenever the engine had a completion.
        clock: seconds, monotonic.

    Raises:
        EndpointError: what ends the run; waves before it are committed, and answers are in the engine's records.
        BudgetReached: the same.
    """
    chosen = decided(settings or GenerationSettings(), reasoner)
    world = world or _world(histories, catalog, reasoner)
    kept = informative_attributes(histories) if attributes is None else tuple(attributes)
    recipe = recipe_fingerprint(chosen, reasoner, world, kept)
    report = GenerationReport(recipe, users=len(histories))
    job = _Job(chosen, world, reasoner, engine or InProcess(), report, kept, progress, clock)
    store.keep_recipe(recipe)
    store.set_meta(
        data_fingerprint=data_fingerprint, reasoner=reasoner.name, settings=chosen.model_dump(mode="json")
    )
    job.knowledge.load(store.knowledge())
    job.reuse_before = recorded_reuse(store.meta()) or Reuse()
    waves = _pending(histories, store, recipe, chosen.wave)
    job.total = sum(len(users) for _, users in waves)
    job.report.skipped = len(histories) - job.total
    if pilot is not None:
        job.total = min(job.total, pilot)
    log.info("%d users to think about, %d done already", job.total, job.report.skipped)
    left = job.total
    for wave, users in waves:
        if left > 0:
            job.run(wave, users[:left], store, whole=len(users) <= left)
        left -= len(users)
    job.report.seconds = clock() - job.started
    job.report.usd = job.engine.traffic.usd
    return job.report


def decided(settings: GenerationSettings, reasoner: AnyReasoner) -> GenerationSettings:
    """The settings with what depends on the reasoner decided: what is known is reused where asking costs."""
    if settings.knowledge is not None:
        return settings
    return settings.model_copy(update={"knowledge": not isinstance(reasoner, EmbeddedReasoner)})


def recipe_fingerprint(
    settings: GenerationSettings, reasoner: AnyReasoner, world: World, attributes: Iterable[str] = ()
) -> str:
    """Content hash of everything that affects a graph beside the user's own history."""
    return fingerprint(
        {
            "settings": decided(settings, reasoner).fingerprint,
            "reasoner": reasoner.fingerprint,
            "world": world.fingerprint,
            "attributes": sorted(attributes),
            "versions": [SCHEMA_VERSION, AGENT_VERSION],
        }
    )


def informative_attributes(histories: Iterable[UserHistory]) -> tuple[str, ...]:
    """User attributes whose values are shared by enough users to be worth showing.

    >>> users = [UserHistory(str(i), (), 0, attributes={"sex": ("F",), "zip": (str(i),)}) for i in range(9)]
    >>> informative_attributes(users)
    ('sex',)
    """
    values: dict[str, set[str]] = {}
    holders: Counter[str] = Counter()
    for history in histories:
        for name, found in history.attributes.items():
            values.setdefault(name, set()).update(found)
            holders[name] += 1
    return tuple(
        sorted(
            name for name, found in values.items() if len(found) <= min(MOST_VALUES, (holders[name] + 1) // 2)
        )
    )


def _world(histories: Sequence[UserHistory], catalog: ItemCatalog, reasoner: AnyReasoner) -> World:
    if isinstance(reasoner, EmbeddedReasoner):
        return World(catalog, reasoner.cooccurrence, reasoner.grounding)
    return World(catalog, Cooccurrence(histories, catalog), Grounding(catalog))


def _pending(
    histories: Sequence[UserHistory], store: GraphStore, recipe: str, size: int
) -> list[tuple[int, list[UserHistory]]]:
    """Waves still to run, with their numbers.

    A wave's number is its place in the order given. What is left over in waves that were committed before
    (new users, changed histories, failures) runs in waves of its own after all others.
    """
    done = store.states(recipe)
    failed = {failure.user_id for failure in store.failures()}
    last = store.last_wave

    def pending(history: UserHistory) -> bool:
        if history.user_id in done:
            return done[history.user_id] != history.fingerprint
        return len(history) > 0 or history.user_id not in failed

    waves: list[tuple[int, list[UserHistory]]] = []
    left_over: list[UserHistory] = []
    for number, start in enumerate(range(0, len(histories), size)):
        users = [history for history in histories[start : start + size] if pending(history)]
        if number <= last:
            left_over += users
        elif users:
            waves.append((number, users))
    after = max([last, *(number for number, _ in waves)], default=-1) + 1
    for start in range(0, len(left_over), size):
        waves.append((after + start // size, left_over[start : start + size]))
    return waves


class _Job:
    """One run of the job."""

    def __init__(
        self,
        settings: GenerationSettings,
        world: World,
        reasoner: AnyReasoner,
        engine: Engine,
        report: GenerationReport,
        attributes: tuple[str, ...],
        progress: Callable[[Progress], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.settings, self.world, self.reasoner, self.report = settings, world, reasoner, report
        self.engine, self.live = engine, GenerationReport(report.recipe)  # live: as users end, in any order
        self.attributes, self.progress, self.clock = attributes, progress, clock
        self.knowledge = KnowledgeBase(salt=report.recipe, min_support=settings.knowledge_min_support)
        self.reuse_before = Reuse()
        self.started = clock()
        self.total = 0

    def run(self, wave: int, users: Sequence[UserHistory], store: GraphStore, *, whole: bool) -> None:
        """Think about the users of one wave and, if they are all of it, commit it."""
        snapshot = self.knowledge.snapshot()
        graphs: list[ReasoningGraph] = []
        failures: list[Failure] = []
        learnt: list[tuple[str, str, Contribution]] = []
        outcomes = self.engine.run((self._guarded(history, wave, snapshot) for history in users), self._pulse)
        for history, outcome in zip(users, outcomes, strict=True):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                self.report.failed += 1
                continue
            graphs.append(outcome.graph)
            for problem in outcome.problems:
                failures.append(
                    Failure(history.user_id, problem.task.value, problem.message, problem.request)
                )
                self.report.problems[problem.task.value] += 1
            scope = self.reasoner.scope(history.user_id)
            learnt += [(history.user_id, scope, contribution) for contribution in outcome.contributions]
            self.report.count(outcome)
        if whole:
            rows = self.knowledge.merge(learnt, wave=wave)
            store.put_wave(wave, graphs, failures, rows, reuse_meta(self.reuse_before, self.report))

    def _guarded(self, history: UserHistory, wave: int, snapshot: Snapshot) -> Steps[Reasoned | Failure]:
        outcome: Reasoned | Failure
        try:
            outcome = yield from self._think(history, wave, snapshot)
        except (SettingsError, MissingExtraError):  # would fail for everybody
            raise
        except Exception as error:  # the per-user boundary: whatever it was, the others go on
            log.warning("user %r failed: %s", history.user_id, error)
            outcome = Failure(history.user_id, type(error).__name__, str(error) or repr(error))
            self.live.failed += 1
        else:
            self.live.count(outcome)
        self._pulse()
        return outcome

    def _think(self, history: UserHistory, wave: int, snapshot: Snapshot) -> Steps[Reasoned]:
        if not len(history):
            raise GraphError("empty history: there is nothing to reason about before the cut-off")
        asker = Asker(
            scope=self.reasoner.scope(history.user_id),
            wave=wave,
            recipe=self.report.recipe,
            attributes=user_attributes(history, self.attributes),
        )
        thinking = reason_about(history, self.world, self.settings, snapshot, asker)
        reasoned = yield from answered(thinking, self.reasoner, self._note)
        refuse_unsound(reasoned.graph, history)
        return reasoned

    def _note(self, request: ReasonerRequest, reply: Reply | UnusableReplyError) -> None:
        self.report.requests[request.task.value] += 1
        self.report.usage += reply.usage
        self.report.cached += reply.cached
        for rung in reply.rungs:
            self.report.rungs[rung.value] += 1

    def _pulse(self) -> None:
        if self.progress is not None:
            self.progress(self._progress())

    def _progress(self) -> Progress:
        live = self.live
        return Progress(
            done=live.done + live.failed,
            total=self.total,
            failed=live.failed,
            requests=self.report.requests.total(),
            seconds=self.clock() - self.started,
            traffic=self.engine.traffic,
            reused=live.reuse.requests_saved,
            repaired=self.report.rungs[Rung.REPAIRED.value],
            rejected_share=live.rejected_share,
        )
