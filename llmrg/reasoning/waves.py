"""One run of the offline job: which waves are left, and how each is thought about and committed.

Promise: the users of a wave are committed together or not at all, in their own order, wherever they were thought about;
workers, who learn nothing from one wave for the next, are some users ahead of what is committed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import ceil

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import Failure, GraphStore
from llmrg.graph.store_records import attributes_hash
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import Rung
from llmrg.reasoning.agent import Reuse
from llmrg.reasoning.chained import windows
from llmrg.reasoning.draft import user_attributes
from llmrg.reasoning.engine import Engine, Steps, one_blas_thread
from llmrg.reasoning.generation_report import GenerationReport, Progress, reuse_meta
from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase, Snapshot
from llmrg.reasoning.thinker import Outcome, Thinker
from llmrg.reasoning.workers import Thought, Workers, started, thought_of

WORTH_A_WORKER = 2000  # windows (some seconds of thinking) for which one more process is worth its start
AHEAD = 16  # users a worker, begun beyond the wave that is to be committed next

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wave:
    """Users who read one snapshot of the knowledge base.

    Args:
        number: place of the wave in the order given.
        users: of it, those still to be thought about.
        whole: whether these are all; others are not committed.
    """

    number: int
    users: Sequence[UserHistory]
    whole: bool = True


def pending_waves(
    histories: Sequence[UserHistory], store: GraphStore, recipe: str, size: int, attributes: Collection[str]
) -> list[Wave]:
    """Waves still to run.

    What is left over in waves that were committed before (new users, changed histories or attributes, failures) runs
    in waves of its own after all others.

    Args:
        histories: of all users.
        store: what is done.
        recipe: fingerprint of the recipe.
        size: users of a wave.
        attributes: names of the user attributes worth showing.
    """
    done, shown = store.states(recipe), store.attributes(recipe)
    failed = {failure.user_id for failure in store.failures()}
    last = store.last_wave

    def pending(history: UserHistory) -> bool:
        if history.user_id in done:
            now = attributes_hash(user_attributes(history, attributes))
            return done[history.user_id] != history.fingerprint or shown[history.user_id] != now
        return len(history) > 0 or history.user_id not in failed

    waves: list[Wave] = []
    left_over: list[UserHistory] = []
    for number, start in enumerate(range(0, len(histories), size)):
        users = [history for history in histories[start : start + size] if pending(history)]
        if number <= last:
            left_over += users
        elif users:
            waves.append(Wave(number, users))
    after = max([last, *(wave.number for wave in waves)], default=-1) + 1
    for start in range(0, len(left_over), size):
        waves.append(Wave(after + start // size, left_over[start : start + size]))
    return waves


def first_users(waves: Sequence[Wave], count: int) -> list[Wave]:
    """Waves with ``count`` users in all, the last of them perhaps not whole."""
    found: list[Wave] = []
    for wave in waves:
        if count > 0:
            found.append(Wave(wave.number, wave.users[:count], whole=len(wave.users) <= count))
        count -= len(wave.users)
    return found


class WaveJob:
    """One run of the job.

    Args:
        thinker: what every user is thought about with.
        engine: drives the thinking that is done here.
        report: of the run; counted up in it.
        progress: called after each user, and whenever the engine had a completion.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        thinker: Thinker,
        engine: Engine,
        report: GenerationReport,
        progress: Callable[[Progress], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self.thinker, self.engine, self.report = thinker, engine, report
        self.live = GenerationReport(report.recipe)  # as users end, in any order
        self.progress, self.clock = progress, clock
        self.knowledge = KnowledgeBase(salt=report.recipe, min_support=thinker.settings.knowledge_min_support)
        self.reuse_before = Reuse()
        self.started = clock()
        self.total = 0

    def run(self, waves: Sequence[Wave], store: GraphStore, *, processes: int = 1) -> None:
        """Think about the users of these waves, in so many processes at most, and commit each that is whole."""
        self.total = sum(len(wave.users) for wave in waves)
        begun: deque[tuple[Wave, Iterator[Outcome]]] = deque()
        with self._at_work(waves, processes) as workers:
            ahead = 0 if workers is None else AHEAD * len(workers)
            for wave in waves:
                begun.append((wave, self._outcomes(wave, workers)))
                while begun and sum(len(later.users) for later, _ in islice(begun, 1, None)) >= ahead:
                    self._finish(*begun.popleft(), store)
            while begun:
                self._finish(*begun.popleft(), store)

    @contextmanager
    def _at_work(self, waves: Sequence[Wave], processes: int) -> Iterator[Workers | None]:
        """As many workers as there is work for, or none: then thinking is done here."""
        reasoner = self.thinker.reasoner
        if not isinstance(reasoner, EmbeddedReasoner):
            yield None
            return
        with one_blas_thread():
            processes = self._worth(waves, processes)
            if processes == 1:
                yield None
                return
            reasoner.prepare()  # or every copy would find the same again
            self.thinker.world.prepare()
            with started(self.thinker, processes) as workers:
                yield workers

    def _worth(self, waves: Sequence[Wave], processes: int) -> int:
        """How many of these processes are worth their start."""
        settings, folds = self.thinker.settings, self.thinker.world.cooccurrence.folds
        # what one wave learns the next one has to be told, and words that are no titles have to be encoded
        if processes == 1 or settings.knowledge or settings.verification != "closed":
            return 1
        users = (user for wave in waves for user in wave.users)
        work = sum(len(windows(len(user), settings.window, settings.max_history)) for user in users)
        processes = min(processes, 1 + work // WORTH_A_WORKER)
        turns = ceil(folds / processes)  # of the busiest, as a worker has whole folds
        return ceil(folds / turns)

    def _outcomes(self, wave: Wave, workers: Workers | None) -> Iterator[Outcome]:
        """What thinking about the users of a wave ends in, in their order; workers begin at once."""
        return self._here(wave) if workers is None else self._awaited(workers.think(wave.users, wave.number))

    def _here(self, wave: Wave) -> Iterator[Outcome]:
        snapshot = self.knowledge.snapshot()
        steps = (self._steps(user, wave.number, snapshot) for user in wave.users)
        yield from self.engine.run(steps, self._pulse)

    def _steps(self, user: UserHistory, wave: int, snapshot: Snapshot) -> Steps[Outcome]:
        outcome = yield from self.thinker.steps(user, wave, snapshot, self.report.note)
        self._ended(outcome)
        return outcome

    def _awaited(self, thoughts: Iterable[Future[Thought]]) -> Iterator[Outcome]:
        for future in thoughts:
            thought = thought_of(future)
            self.report.add_answers(thought.answers)
            self._ended(thought.outcome)
            yield thought.outcome

    def _ended(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            log.warning("user %r failed: %s", outcome.user_id, outcome.message)
            self.live.failed += 1
        else:
            self.live.count(outcome)
        self._pulse()

    def _finish(self, wave: Wave, outcomes: Iterator[Outcome], store: GraphStore) -> None:
        """Take in what a wave ended in and, if it is whole, commit it."""
        graphs: list[ReasoningGraph] = []
        failures: list[Failure] = []
        learnt: list[tuple[str, str, Contribution]] = []
        kept: list[str] = []
        for history, outcome in zip(wave.users, outcomes, strict=True):
            if isinstance(outcome, Failure):
                failures.append(outcome)
                self.report.failed += 1
                older = store.get(history.user_id)
                if older is not None and older.as_of < len(history) and history.begins_with(older.item_ids):
                    kept.append(history.user_id)  # what an extension could not make longer
                continue
            graphs.append(outcome.graph)
            for problem in outcome.problems:
                failures.append(
                    Failure(history.user_id, problem.task.value, problem.message, problem.request)
                )
                self.report.problems[problem.task.value] += 1
            scope = self.thinker.reasoner.scope(history.user_id)
            learnt += [(history.user_id, scope, contribution) for contribution in outcome.contributions]
            self.report.count(outcome)
        if wave.whole:
            rows = self.knowledge.merge(learnt, wave=wave.number)
            meta = reuse_meta(self.reuse_before, self.report)
            store.put_wave(wave.number, graphs, failures, rows, meta, keep=kept)

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
