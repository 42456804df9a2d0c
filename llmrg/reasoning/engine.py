"""Where thinking finds its answers: in this process, or from a language model through a runner.

Promise (law 4): an engine only drives. Composed with its reasoner, one user's thinking is a generator of completions,
so the same thinking runs online, from batch files, from a ledger or on a cluster, and ends the same. A reasoner that
answers by itself asks for no completion at all, and costs what a plain loop costs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar, runtime_checkable

from threadpoolctl import threadpool_limits

from llmrg.errors import ReasonerError
from llmrg.reasoners.endpoint import Completion, CompletionRequest
from llmrg.reasoners.reasoner import Reasoner, ReasonerRequest, Reply, UnusableReplyError
from llmrg.reasoners.traffic import Traffic
from llmrg.reasoning.agent import Reasoned, Thinking

T = TypeVar("T")
Steps = Generator[CompletionRequest, Completion, T]
Note = Callable[[ReasonerRequest, Reply | UnusableReplyError], None]


@runtime_checkable
class LanguageReasoner(Protocol):
    """A reasoner that needs completions to answer."""

    @property
    def name(self) -> str:
        """A short name for reports."""

    @property
    def fingerprint(self) -> str:
        """Content hash of everything that affects its answers."""

    def scope(self, user_id: str) -> str:
        """See :meth:`~llmrg.reasoners.reasoner.Reasoner.scope`."""

    def steps(self, request: ReasonerRequest) -> Steps[Reply]:
        """Answer one question with completions."""


AnyReasoner = Reasoner | LanguageReasoner


class Engine(Protocol):
    """Drives many users' steps."""

    @property
    def traffic(self) -> Traffic:
        """What went over the line so far."""

    def run(self, steps: Iterable[Steps[T]], pulse: Callable[[], None] | None = None) -> Sequence[T]:
        """Drive every generator to its end.

        Args:
            steps: one a user, taken as they are needed.
            pulse: called whenever something moved.

        Returns:
            What each returned, in their order.
        """


class InProcess:
    """The engine of reasoners that need no completion."""

    traffic = Traffic()

    def run(self, steps: Iterable[Steps[T]], pulse: Callable[[], None] | None = None) -> list[T]:
        """See :meth:`Engine.run`.

        Raises:
            ReasonerError: a completion is asked for.
        """
        results = []
        for one in steps:
            try:
                next(one)
            except StopIteration as end:
                results.append(end.value)
            else:
                one.close()
                raise ReasonerError(
                    "a language model cannot be asked in process: give generate(...) an engine that asks it"
                )
        return results


def one_blas_thread() -> AbstractContextManager[object]:
    """From the call on, and until its context is left, OpenBLAS and MKL keep to one thread, so that the number of cores
    changes no last bit of a sum.

    What the embedded reasoner multiplies is small: more threads wait for each other longer than they work.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


def answered(thinking: Thinking, reasoner: AnyReasoner, note: Note) -> Steps[Reasoned]:
    """Thinking composed with what answers it.

    Args:
        thinking: one user's.
        reasoner: answers by itself, or by completions.
        note: called with each question and its reply, also one that was no use.

    Yields:
        Completions to be had.

    Returns:
        What thinking ends in. An answer that could not be had is thrown into the thinking, which may go on
        without it.
    """
    by_steps = isinstance(reasoner, LanguageReasoner)
    try:
        request = next(thinking)
        while True:
            try:
                if by_steps:
                    reply = yield from reasoner.steps(request)  # type: ignore[union-attr]
                else:
                    reply = reasoner.answer(request)  # type: ignore[union-attr]
            except ReasonerError as error:
                if isinstance(error, UnusableReplyError):
                    note(request, error)
                request = thinking.throw(error)
            else:
                note(request, reply)
                request = thinking.send(reply)
    except StopIteration as end:
        reasoned: Reasoned = end.value
        return reasoned
