"""One completion through all that stands between a question and a server.

Promise: what was answered once is never asked again, whoever asks and however often. A request passes these wrappers,
outermost first::

    log > ledger > share > retry > budget > limits > call

*log* counts and writes events; the *ledger* answers what was answered before; what somebody else is asking for right
now is *shared*; a *retry* takes each attempt through the *budget* (an attempt that timed out may have been billed, so
every one is reserved), then the *limits*, and is written down before it is sent.

Where a server refuses :data:`MOST_REFUSED` requests in a row and answers none, what is wrong is not the requests: that
ends the run, and those of this run are asked again in the next.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from typing import Any

from llmrg.errors import StoreError
from llmrg.reasoners.budget import Budget, Cost
from llmrg.reasoners.endpoint import Completion, CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.reasoners.ledger import Ledger
from llmrg.reasoners.limits import Clock, Limits, Sleep, TokenRatio
from llmrg.reasoners.retry import Breaker, RetryPolicy
from llmrg.reasoners.traffic import EventLog, Traffic

OVERRUN = (429, 503)  # statuses that say: fewer at once
MOST_REFUSED = 20  # in a row, and none answered: what is wrong is not the requests


class Calls:
    """See the module.

    Args:
        endpoint: completes.
        ledger: remembers.
        budget: money, calls and tokens.
        limits: rates and calls at once.
        policy: retries of one request.
        breaker: failures in a row.
        events: the log.
        rng: draws the waits before retries.
        clock: seconds, monotonic.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        budget: Budget,
        limits: Limits,
        *,
        policy: RetryPolicy | None = None,
        breaker: Breaker | None = None,
        events: EventLog | None = None,
        rng: random.Random | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._endpoint, self._ledger, self._budget, self._limits = endpoint, ledger, budget, limits
        self._policy, self._breaker = policy or RetryPolicy(), breaker or Breaker(5)
        self.events, self._rng = events or EventLog(None), rng or random.Random()
        self._clock, self._sleep = clock, sleep
        self._ratio = TokenRatio()
        self._traffic = Traffic()
        self._refused: list[str] = []  # requests of late, which the ledger holds to be final
        self._refused_in_a_row = 0
        self._shared: dict[str, asyncio.Future[Completion]] = {}
        self.on_their_way: set[asyncio.Task[Any]] = set()
        self._unusable: StoreError | None = None
        self.closing = False  # then a failed call is not tried again

    @property
    def traffic(self) -> Traffic:
        """What was asked so far, as it stands now."""
        slots = int(self._limits.slots.limit)
        return replace(self._traffic, in_flight=len(self.on_their_way), slots=slots)

    async def complete(self, request: CompletionRequest) -> Completion:
        """One completion through all wrappers.

        Raises:
            EndpointError: it could not be had, now or when it was asked before.
            BudgetReached: it is not asked for.
            StoreError: the ledger cannot be used; then nothing more is asked.
        """
        if self._unusable is not None:
            raise self._unusable  # each would wait as long for a ledger that somebody keeps locked
        known = self._ledger.look_up(request)
        if isinstance(known, EndpointError):
            raise known
        if known is not None:
            self._traffic.recorded += 1
            return known
        name = request.content_hash
        if name in self._shared:
            self._traffic.shared += 1
            return replace(await asyncio.shield(self._shared[name]), recorded=True)
        mine: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        mine.add_done_callback(_looked_at)  # nobody may be waiting for it
        self._shared[name] = mine
        try:
            completion = await self._with_retries(request)
        except EndpointError as error:
            mine.set_exception(error)
            self._traffic.failed += 1
            raise
        except StoreError as error:
            self._unusable = error
            raise
        else:
            mine.set_result(completion)
            return completion
        finally:
            mine.cancel()
            del self._shared[name]

    async def _with_retries(self, request: CompletionRequest) -> Completion:
        def before_sleep(error: EndpointError, wait: float) -> None:
            if self.closing:
                raise asyncio.CancelledError
            self._traffic.retries += 1
            if error.status == 429:
                self._limits.pause(wait)
            self.events.write("retry", request=request.content_hash, status=error.status, wait=round(wait, 3))

        retrying = self._policy.retrying(
            clock=self._clock, sleep=self._sleep, rng=self._rng, before_sleep=before_sleep
        )
        try:
            completion: Completion = await retrying(self._attempt, request)
        except EndpointError as error:
            self.events.write(
                "failed", request=request.content_hash, kind=error.kind.value, status=error.status
            )
            last = self._last(request.content_hash, error)
            if last is not None:
                raise last from error
            raise
        self._breaker.went_well()
        self._refused.clear()
        self._refused_in_a_row = 0
        return completion

    def _last(self, name: str, error: EndpointError) -> EndpointError | None:
        """The error that ends the run, when a failure is one too many in a row."""
        if error.kind is FaultKind.RETRY:
            return self._breaker.failed(error)
        if error.kind is not FaultKind.REJECTED:
            return None
        self._refused.append(name)
        self._refused_in_a_row += 1
        # refusals come home before answers do: as many as are on their way say nothing yet
        if self._refused_in_a_row < max(MOST_REFUSED, len(self.on_their_way)):
            return None
        last = EndpointError(
            f"{self._refused_in_a_row} requests in a row were refused and none was answered; the last one: {error}; "
            "mend the settings or the server and run the same command again: they will be asked again",
            kind=FaultKind.STOP,
            status=error.status,
        )
        for refused in self._refused:  # a fault that stops is not final in the ledger
            self._ledger.fail(refused, last)
        self._refused.clear()
        return last

    async def _attempt(self, request: CompletionRequest) -> Completion:
        worst = await self._budget.reserve(request)
        actual = Cost()  # nothing, unless something is sent
        try:
            room = request.body.get("max_completion_tokens", 0)
            expected = self._ratio.tokens(request.size) + room
            used = expected
            await self._limits.enter(expected)
            try:
                actual = worst  # until the end is known
                completion, actual = await self._send(request, worst)
                used = completion.prompt_tokens + completion.completion_tokens
            except EndpointError as error:
                if error.known_end:
                    actual = Cost(calls=1)
                raise
            finally:
                self._limits.leave(expected, used)
        finally:
            self._budget.settle(worst, actual)
        return completion

    async def _send(self, request: CompletionRequest, worst: Cost) -> tuple[Completion, Cost]:
        task = asyncio.current_task()
        assert task is not None
        name, traffic = request.content_hash, self._traffic
        self._ledger.send(request, worst_tokens=worst.tokens, worst_usd=worst.usd)
        traffic.calls += 1
        self.on_their_way.add(task)
        started = self._clock()
        try:
            completion = await self._endpoint.complete(request)
        except EndpointError as error:
            seconds = self._clock() - started
            self._ledger.fail(name, error, seconds=seconds, known_end=error.known_end)
            traffic.throttled += error.status == 429
            if error.status in OVERRUN:
                self._limits.slots.overrun()
            raise
        finally:
            self.on_their_way.discard(task)
        seconds, actual = self._clock() - started, self._budget.actual(request, completion)
        unsure = not completion.prompt_tokens and not completion.completion_tokens
        self._ledger.settle(name, completion, usd=actual.usd, seconds=seconds, unsure=unsure)
        self._limits.slots.went_well()
        self._ratio.learn(request.size, completion.prompt_tokens)
        traffic.answered += 1
        traffic.prompt_tokens += completion.prompt_tokens
        traffic.completion_tokens += completion.completion_tokens
        traffic.cached_tokens += completion.cached_tokens
        traffic.usd += actual.usd
        self.events.write(
            "answered",
            request=name,
            model=completion.model,
            seconds=round(seconds, 3),
            tokens_in=completion.prompt_tokens,
            tokens_out=completion.completion_tokens,
            usd=round(actual.usd, 6),
        )
        return completion, worst if unsure else actual


def _looked_at(future: asyncio.Future[Completion]) -> None:
    if not future.cancelled():
        future.exception()
