"""How fast a server may be asked: calls and tokens a minute, calls at once, and silence when it says so.

Promise: no rate that was set is passed over any minute by more than one second's worth; the number of calls at once
falls by half when the server is overrun and rises again slowly; a pause holds for everybody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

BURST = 1.0  # seconds' worth of a rate that may be used at once
COOL_DOWN = 2.0  # seconds within which one crowd of refusals counts once


class Rate:
    """So many units a minute, handed out in the order they were asked for.

    Args:
        per_minute: units.
        clock: seconds, monotonic.
    """

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._per_second, self._clock = per_minute / 60, clock
        self._paid_until = clock() - BURST

    def take(self, amount: float) -> float:
        """Take units; how many seconds to wait before they may be used.

        >>> rate = Rate(60, clock=lambda: 0.0)
        >>> rate.take(1), rate.take(1), rate.take(2)
        (0.0, 1.0, 3.0)
        """
        now = self._clock()
        self._paid_until = max(self._paid_until, now - BURST) + amount / self._per_second
        return max(0.0, self._paid_until - now)

    def give_back(self, amount: float) -> None:
        """Correct an earlier :meth:`take` that was too high (or, negative, too low)."""
        self._paid_until -= amount / self._per_second


class Slots:
    """Calls at once: as many as the server bears, at most ``most``."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.most, self.limit, self.taken = most, float(most), 0
        self._clock, self._cut_at = clock, float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a free slot and take it."""
        while self._waiting or self.taken >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
                break
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.taken -= 1
                    self._wake()
                raise
        else:
            self.taken += 1

    def free(self) -> None:
        """Give a slot back."""
        self.taken -= 1
        self._wake()

    def went_well(self) -> None:
        """Room for one more after as many good calls as there are slots."""
        self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def overrun(self) -> None:
        """Half as many from now on; a crowd of refusals counts once."""
        if self._clock() - self._cut_at >= COOL_DOWN:
            self._cut_at = self._clock()
            self.limit = max(1.0, min(self.limit, float(max(self.taken, 1))) / 2)

    def _wake(self) -> None:
        while self._waiting and self.taken < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)


class Limits:
    """See the module.

    Args:
        calls_at_once: at most.
        requests_per_minute: ``None``: no limit.
        tokens_per_minute: ``None``: no limit.
        clock: seconds, monotonic.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        calls_at_once: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.slots = Slots(calls_at_once, clock)
        self._requests = Rate(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Rate(tokens_per_minute, clock) if tokens_per_minute else None
        self._clock, self._sleep = clock, sleep
        self._silent_until = float("-inf")

    async def enter(self, tokens: float) -> None:
        """Wait until one call of about so many tokens may be sent; it holds a slot then."""
        await self.slots.take()
        try:
            wait = max(
                self._requests.take(1) if self._requests else 0.0,
                self._tokens.take(tokens) if self._tokens else 0.0,
            )
            if wait > 0:
                await self._sleep(wait)
            while (wait := self._silent_until - self._clock()) > 0:
                await self._sleep(wait)
        except BaseException:
            self.slots.free()
            raise

    def leave(self, expected_tokens: float, tokens: float) -> None:
        """Give the slot back, and correct the tokens taken for it."""
        if self._tokens:
            self._tokens.give_back(expected_tokens - tokens)
        self.slots.free()

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for so long."""
        self._silent_until = max(self._silent_until, self._clock() + seconds)


class TokenRatio:
    """Tokens per byte of a request, learned from what servers count.

    >>> ratio = TokenRatio()
    >>> ratio.learn(1000, 250)
    >>> round(ratio.tokens(4000))
    1003
    """

    PRIOR = 0.3  # of English JSON, on the safe side
    WEIGHT = 50  # bytes of belief in it

    def __init__(self) -> None:
        self._bytes, self._tokens = float(self.WEIGHT), self.PRIOR * self.WEIGHT

    def learn(self, bytes_: int, tokens: int) -> None:
        """Take in one request's size and the server's count; 0 where it did not say."""
        if tokens > 0:
            self._bytes += bytes_
            self._tokens += tokens

    def tokens(self, bytes_: int) -> float:
        """About how many tokens so many bytes are."""
        return bytes_ * self._tokens / self._bytes
