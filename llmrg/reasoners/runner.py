"""The online runner: many users' thinking at once in one asyncio loop.

Promise: results come in the order of the users whatever the speed, and are the same for one call at a time and for
many. What ends the run (a budget, a fault that stops, Ctrl-C, SIGTERM) lets calls in flight come home and be written
down, and starts no other.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from llmrg.reasoners.calls import Calls
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.traffic import Traffic

T = TypeVar("T")
Steps = Generator[CompletionRequest, Completion, T]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OnlineRunner:
    """See the module; use as a context manager.

    Args:
        calls: gets completions.
        users_in_flight: thought about at the same time, at most.
        at_end: awaited when the runner is closed, in its loop.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        users_in_flight: int = 64,
        at_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._calls, self._users, self._at_end = calls, users_in_flight, at_end
        self._loop = asyncio.Runner()
        self._workers: set[asyncio.Task[None]] = set()
        self._ending: BaseException | None = None
        self._pulse: Callable[[], None] = _nothing

    def __enter__(self) -> OnlineRunner:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._at_end is not None:
                self.wait_for(self._at_end())
        finally:
            self._loop.close()

    def wait_for(self, something: Awaitable[T]) -> T:
        """Run one awaitable in the runner's loop."""

        async def waiting() -> T:
            return await something

        return self._loop.run(waiting())

    @property
    def traffic(self) -> Traffic:
        """What was asked so far, as it stands now."""
        return self._calls.traffic

    def run(self, steps: Iterable[Steps[T]], pulse: Callable[[], None] | None = None) -> list[T]:
        """Drive every generator to its end; at most ``users_in_flight`` of them have begun and not ended.

        An :class:`EndpointError` is thrown into the generator whose completion could not be had, unless it ends
        the run.

        Args:
            steps: taken as they are needed.
            pulse: called after each completion.

        Returns:
            What each returned, in their order.

        Raises:
            EndpointError: of kind ``STOP``; what was answered is in the ledger.
            BudgetReached: the same.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the same.
        """
        self._pulse, self._ending, self._calls.closing = pulse or _nothing, None, False
        results = self._loop.run(self._drive_all(steps))
        if self._ending is not None:
            raise self._ending
        return results

    async def _drive_all(self, steps: Iterable[Steps[T]]) -> list[T]:
        results: dict[int, T] = {}
        source = enumerate(steps)

        async def work() -> None:
            for number, one in source:
                results[number] = await self._drive(one)
                if self._ending is not None:
                    return

        with self._signals():
            self._workers = {asyncio.create_task(work()) for _ in range(self._users)}
            left: set[asyncio.Task[None]] = set(self._workers)
            while left:
                ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    error = None if task.cancelled() else task.exception()
                    if error is not None:
                        self._end(error)
        return [results[number] for number in sorted(results)]

    async def _drive(self, one: Steps[T]) -> T:
        try:
            request = next(one)
            while True:
                try:
                    completion = await self._calls.complete(request)
                except EndpointError as error:
                    if error.kind is FaultKind.STOP:
                        raise
                    if self._ending is not None:
                        raise asyncio.CancelledError from None
                    request = one.throw(error)
                else:
                    self._pulse()
                    if self._ending is not None:
                        raise asyncio.CancelledError
                    request = one.send(completion)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            one.close()

    def _end(self, why: BaseException) -> None:
        """Start nothing more: whoever waits for something else than a call in flight is cancelled."""
        if self._ending is None:
            self._ending = why
            self._calls.closing = True
            self._calls.events.write(
                "ending", why=type(why).__name__, in_flight=len(self._calls.on_their_way)
            )
            for task in self._workers - self._calls.on_their_way:
                task.cancel()

    def _interrupt(self) -> None:
        """Ctrl-C or SIGTERM: the first time let calls come home, the second time drop them."""
        if self._ending is None:
            self._end(KeyboardInterrupt())
        else:
            for task in self._workers:
                task.cancel()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        mine: Sequence[signal.Signals] = ()
        if threading.current_thread() is threading.main_thread():
            mine = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
        loop = asyncio.get_running_loop()
        for one in mine:
            loop.add_signal_handler(one, self._interrupt)
        try:
            yield
        finally:
            for one in mine:
                loop.remove_signal_handler(one)


def _nothing() -> None:
    return None
