"""What passes between this library and a language model's server: one completion asked, one had, or why not.

Promise: a :class:`CompletionRequest` holds everything that affects the answer and nothing else (no address, no
key), so its hash may key a ledger, name a line of a batch file and be sent to any worker. Whoever talks to a
server satisfies :class:`Endpoint`, one method, and tells every failure as an :class:`EndpointError` whose
``kind`` says what may be done about it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from llmrg.errors import ReasonerError
from llmrg.fingerprint import fingerprint_text


@dataclass(frozen=True)
class CompletionRequest:
    """One chat completion, as the OpenAI format words it.

    Args:
        body: ``model``, ``messages``, ``temperature``, ``max_completion_tokens``, ``response_format`` and whatever
            else affects the answer.
    """

    body: Mapping[str, Any]

    @cached_property
    def text(self) -> str:
        """The body as JSON with sorted keys: what the hash covers and a ledger keeps."""
        return json.dumps(self.body, ensure_ascii=False, sort_keys=True)

    @cached_property
    def size(self) -> int:
        """Bytes of :attr:`text`, also of one that no encoding takes whole."""
        return len(self.text.encode("utf-8", "surrogatepass"))

    @cached_property
    def content_hash(self) -> str:
        """Tagged hash of the body."""
        return fingerprint_text([self.text])


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server answered.

    Args:
        text: of the first choice; empty where there was none.
        finish_reason: ``stop``, ``length``, ``content_filter`` … as the server words it.
        refusal: the words of a refusal, if it was one.
        model: the model that was served, as the server names it.
        prompt_tokens: tokens in; 0 where the server did not say.
        completion_tokens: tokens out; 0 where the server did not say.
        cached_tokens: of the tokens in, those served from the server's prompt cache.
        recorded: it came from a record and cost nothing now.
    """

    text: str
    finish_reason: str = "stop"
    refusal: str | None = None
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    recorded: bool = False


UNHEARD = frozenset({408, 499, 502, 504, *range(520, 525)})
"""Statuses of somebody in between who stopped waiting: the model behind may have answered, and sent the bill."""


class FaultKind(StrEnum):
    """What may be done about a failure."""

    RETRY = "retry"
    """Ask again later: 408, 409, 425, 429, 499, 5xx, connection, timeout."""
    STOP = "stop"
    """End the run, resumable: 401, 403, 407, unknown model, no money left, too many failures in a row."""
    REJECTED = "rejected"
    """Record this request as failed: 400, unless its words concern everybody."""
    OVERFLOW = "context_overflow"
    """The prompt is longer than the model reads: shorten what is shown, once."""


class EndpointError(ReasonerError):
    """A completion that could not be had.

    Args:
        message: what happened, without secrets.
        kind: what may be done about it.
        status: HTTP status, if one came back.
        retry_after: seconds the server asked to wait, if it did.
        known_end: it costs nothing: the server said no, or nothing was sent. ``None``: kind and status decide.

    >>> [EndpointError("", kind=FaultKind.RETRY, status=status).known_end for status in (503, 504, None)]
    [True, False, False]
    """

    def __init__(
        self,
        message: str,
        *,
        kind: FaultKind,
        status: int | None = None,
        retry_after: float | None = None,
        known_end: bool | None = None,
    ) -> None:
        super().__init__(message)
        if known_end is None:
            known_end = kind is not FaultKind.RETRY or (status is not None and status not in UNHEARD)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.known_end = known_end


@runtime_checkable
class Endpoint(Protocol):
    """Anything that completes."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """The completion.

        Raises:
            EndpointError: it could not be had.
        """
