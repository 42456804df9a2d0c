"""When a failed call is tried again, and when asking ends for good.

Promise: only what another attempt can mend is tried again, after what the server asked to wait or else a random
share of a growing span (full jitter), and never past the deadline of the whole request; so many requests in a row
that failed with all their attempts stop the run instead of burning through the users.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from llmrg.reasoners.endpoint import EndpointError, FaultKind
from llmrg.reasoners.limits import Clock, Sleep


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long.

    Args:
        attempts: at most, the first one included.
        deadline: seconds from the first attempt within which the last one must begin.
        first_wait: seconds the first wait is drawn from, doubled each time.
        longest_wait: seconds no drawn wait exceeds; what a server asks for may.
    """

    attempts: int = 6
    deadline: float = 900.0
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def retrying(
        self,
        *,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random,
        before_sleep: Callable[[EndpointError, float], None] = lambda error, wait: None,
    ) -> AsyncRetrying:
        """One request's retries; raises the last error as it was.

        Args:
            clock: seconds, monotonic.
            sleep: waits so many seconds.
            rng: draws the waits.
            before_sleep: called with each failure and the seconds until the next attempt.
        """
        started = clock()

        def wait(state: RetryCallState) -> float:
            error = _error(state)
            if error.retry_after is not None:
                return max(0.0, error.retry_after)
            span = min(self.longest_wait, self.first_wait * 2 ** (state.attempt_number - 1))
            return rng.uniform(0.0, span)

        def stop(state: RetryCallState) -> bool:
            ends = clock() - started + state.upcoming_sleep
            return state.attempt_number >= self.attempts or ends > self.deadline

        return AsyncRetrying(
            retry=retry_if_exception(is_worth_a_retry),
            wait=wait,
            stop=stop,
            sleep=sleep,
            before_sleep=lambda state: before_sleep(_error(state), state.upcoming_sleep),
            reraise=True,
        )


def is_worth_a_retry(error: BaseException) -> bool:
    """Whether another attempt may bring what this one did not.

    >>> is_worth_a_retry(EndpointError("busy", kind=FaultKind.RETRY)), is_worth_a_retry(ValueError())
    (True, False)
    """
    return isinstance(error, EndpointError) and error.kind is FaultKind.RETRY


class Breaker:
    """Ends the run after so many requests in a row that failed with all their attempts.

    >>> breaker = Breaker(2)
    >>> breaker.failed(EndpointError("down", kind=FaultKind.RETRY))
    >>> breaker.failed(EndpointError("down", kind=FaultKind.RETRY)).kind
    <FaultKind.STOP: 'stop'>
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._in_a_row = 0

    def went_well(self) -> None:
        """A request was answered."""
        self._in_a_row = 0

    def failed(self, error: EndpointError) -> EndpointError | None:
        """Count a request that failed with all its attempts; the error that ends the run, when it is time."""
        self._in_a_row += 1
        if self._in_a_row < self.most:
            return None
        return EndpointError(
            f"{self._in_a_row} requests in a row failed with all their attempts; the last one: {error}; "
            "what is finished is kept: run the same command again when the server is back",
            kind=FaultKind.STOP,
            status=error.status,
        )


def _error(state: RetryCallState) -> EndpointError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, EndpointError)
    return error
