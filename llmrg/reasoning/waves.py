"""One run of the offline job: which waves are left, and how each is thought about and committed.

Promise: the users of a wave are committed together or not at all, in their own order, wherever they were thought about;
where no wave learns from another, workers begin one before the last is committed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import Failure, GraphStore
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import Rung
from llmrg.reasoning.agent import Reasoned, Reuse
from llmrg.reasoning.chained import windows
from llmrg.reasoning.engine import Engine, LanguageReasoner, Steps, one_blas_thread
from llmrg.reasoning.generation_report import GenerationReport, Progress, reuse_meta
from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase
from llmrg.reasoning.thinker import Thinker
from llmrg.reasoning.workers import Thought, Workers, thought_of

WORTH_A_WORKER = (
    2000  # windows (some seconds of thinking) that each further process needs to be worth its start
)

Outcome = Reasoned | Failure

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

    def first(self, count: int) -> Wave:
        """The first ``count`` users of it."""
        return Wave(self.number, self.users[:count], whole=len(self.users) <= count)


def pending_waves(histories: Sequence[UserHistory], store: GraphStore, recipe: str, size: int) -> list[Wave]:
    """Waves still to run.

    What is left over in waves that were committed before (new users, changed histories, failures) runs in waves of
    its own after all others.
    """
    done = store.states(recipe)
    failed = {failure.user_id for failure in store.failures()}
    last = store.last_wave

    def pending(history: UserHistory) -> bool:
        if history.user_id in done:
            return done[history.user_id] != history.fingerprint
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


class WaveJob:
    """One run of the job.

    Args:
        thinker: what every user is thought about with.
        engine: drives the thinking.
        report: of the run; counted up in it.
        progress: called after each user, and whenever the engine had a completion.
        clock: seconds, monotonic.

    Attributes:
        total: users to think about; those of later waves are left.
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
        self._workers: Workers | None = None

    def run(self, waves: Sequence[Wave], store: GraphStore, *, processes: int = 1) -> None:
        """Think about the first ``total`` users of these waves, in so many processes at most."""
        left = self.total
        wanted = []
        for wave in waves:
            if left > 0:
                wanted.append(wave.first(left))
            left -= len(wave.users)
        with self._prepared(wanted, processes):
            ahead = 1 if self._workers is not None and not self.thinker.settings.knowledge else 0
            begun: deque[tuple[Wave, Iterable[Steps[Outcome]]]] = deque()
            for wave in wanted:
                begun.append((wave, self._begin(wave)))
                if len(begun) > ahead:
                    self._finish(*begun.popleft(), store)
            while begun:
                self._finish(*begun.popleft(), store)

    def _prepared(self, waves: Sequence[Wave], processes: int) -> ExitStack:
        """While the context lasts a reasoner that answers by itself keeps to one thread in as many workers as there
        is work for, or in this process."""
        stack = ExitStack()
        reasoner, settings = self.thinker.reasoner, self.thinker.settings
        if isinstance(reasoner, LanguageReasoner):
            return stack
        stack.enter_context(one_blas_thread())
        users = [user for wave in waves for user in wave.users]
        work = sum(len(windows(len(user), settings.window, settings.max_history)) for user in users)
        processes = min(processes, 1 + work // WORTH_A_WORKER)
        if isinstance(reasoner, EmbeddedReasoner) and processes > 1:
            reasoner.prepare()
            self._workers = stack.enter_context(Workers(self.thinker, processes))
        return stack

    def _begin(self, wave: Wave) -> Iterable[Steps[Outcome]]:
        """What the engine has to drive for the users of a wave."""
        snapshot = self.knowledge.snapshot()
        if self._workers is None:
            think, note = self.thinker.steps, self.report.note
            return (self._counted(think(user, wave.number, snapshot, note)) for user in wave.users)
        thoughts = self._workers.begin(wave.users, wave.number, snapshot)
        return (self._counted(self._awaited(thought)) for thought in thoughts)

    def _finish(self, wave: Wave, steps: Iterable[Steps[Outcome]], store: GraphStore) -> None:
        """Have a wave thought about to its end and, if it is whole, commit it."""
        graphs: list[ReasoningGraph] = []
        failures: list[Failure] = []
        learnt: list[tuple[str, str, Contribution]] = []
        for history, outcome in zip(wave.users, self.engine.run(steps, self._pulse), strict=True):
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
            scope = self.thinker.reasoner.scope(history.user_id)
            learnt += [(history.user_id, scope, contribution) for contribution in outcome.contributions]
            self.report.count(outcome)
        if wave.whole:
            rows = self.knowledge.merge(learnt, wave=wave.number)
            store.put_wave(wave.number, graphs, failures, rows, reuse_meta(self.reuse_before, self.report))

    def _awaited(self, future: Future[Thought]) -> Steps[Outcome]:
        thought = thought_of(future)
        self.report.add_answers(thought.answers)
        return thought.outcome
        yield  # nothing: to the engine it is thinking that asks for no completion

    def _counted(self, steps: Steps[Outcome]) -> Steps[Outcome]:
        outcome = yield from steps
        if isinstance(outcome, Failure):
            log.warning("user %r failed: %s", outcome.user_id, outcome.message)
            self.live.failed += 1
        else:
            self.live.count(outcome)
        self._pulse()
        return outcome

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
