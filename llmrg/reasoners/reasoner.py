"""What every reasoner is: something that answers one request at a time.

Promise: a request says everything that affects its answer and nothing else (no user id, no clock, no
address), so its content hash may key a cache; the embedded reasoner reads the payload, a language model the
messages rendered from it, and both answer in the same schema.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol, runtime_checkable

from llmrg.errors import ReplyError
from llmrg.fingerprint import fingerprint_text
from llmrg.reasoners.tasks import TASK_OF, Payload, ReplyContent, Task, document


@dataclass(frozen=True)
class ReasonerRequest:
    """One question.

    Args:
        payload: what is shown; its type says which task it is.
        scope: whose evidence may answer (see :meth:`Reasoner.scope`); empty where that makes no difference.
    """

    payload: Payload
    scope: str = ""

    @property
    def task(self) -> Task:
        """The task the payload belongs to."""
        return TASK_OF[type(self.payload)]

    @cached_property
    def content_hash(self) -> str:
        """Tagged hash of task, scope and payload."""
        return fingerprint_text(
            [
                self.task,
                self.scope,
                json.dumps(document(self.payload), ensure_ascii=False, separators=(",", ":")),
            ]
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost; all zero for the embedded reasoner but ``calls``.

    >>> Usage(1, 10, 2) + Usage(1, 5, 1)
    Usage(calls=2, prompt_tokens=15, completion_tokens=3)
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class Rung(StrEnum):
    """How a language model's reply was understood: one of the first five, and what happened on the way."""

    VALID = "valid"
    """As it came."""
    LENIENT = "lenient"
    """After fences, prose, surplus keys or the like were taken away."""
    REPAIRED = "repaired"
    """After it was asked again with its problems."""
    SALVAGED = "salvaged"
    """In part: what was still wrong is left out."""
    FAILED = "failed"
    """Not at all: refused, or nothing in it could be used."""
    LIMIT_RAISED = "limit_raised"
    """It had been cut off, and was asked for again with room for more."""
    SHORTENED = "shortened"
    """The prompt was too long, and was sent again with less history."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, valid against its task's schema.

    Args:
        parsed: the answer.
        usage: what it cost.
        cached: it came from a record, not from a call.
        rungs: how it was understood; empty where nothing had to be (the embedded reasoner).
    """

    parsed: ReplyContent
    usage: Usage = Usage(calls=1)
    cached: bool = False
    rungs: tuple[Rung, ...] = ()


class UnusableReplyError(ReplyError):
    """An answer that was had and is no use; what it cost all the same.

    Args:
        message: why.
        problems: one sentence each.
        usage: what it cost.
        cached: it came from a record, not from a call.
        rungs: as in :class:`Reply`.
    """

    def __init__(
        self,
        message: str,
        *,
        problems: tuple[str, ...],
        usage: Usage,
        cached: bool,
        rungs: tuple[Rung, ...],
    ) -> None:
        super().__init__(message, problems=problems)
        self.usage, self.cached, self.rungs = usage, cached, rungs


@runtime_checkable
class Reasoner(Protocol):
    """Anything that answers the four tasks."""

    @property
    def name(self) -> str:
        """A short name for reports."""

    @property
    def fingerprint(self) -> str:
        """Content hash of everything that affects its answers."""

    def scope(self, user_id: str) -> str:
        """Users of one scope are answered from the same evidence; the embedded reasoner has one per fold."""

    def answer(self, request: ReasonerRequest) -> Reply:
        """The answer.

        Raises:
            ReasonerError: it could not be had.
            ReplyError: it was had and is not valid.
        """
