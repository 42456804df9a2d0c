"""Money, calls and tokens: a hard stop that is never passed.

Promise: what an attempt may cost at worst is reserved before it is sent, and settled with what it did cost after;
the sum of both never passes a limit, whatever is in flight. An attempt that nobody heard the end of (a timeout, a
dropped connection, a gateway that stopped waiting, a 200 that is no answer, a kill) counts at its worst; one that was
refused, or that never reached anybody, is a call that costs nothing. Limits hold for all runs into one ledger together.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from llmrg.errors import BudgetReached, SettingsError
from llmrg.reasoners.endpoint import Completion, CompletionRequest
from llmrg.reasoners.ledger import LedgerTotals
from llmrg.reasoners.prices import FREE, Mode, Price, PriceTable


@dataclass(frozen=True, slots=True)
class Cost:
    """Calls, tokens (in and out) and US dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.calls - other.calls, self.tokens - other.tokens, self.usd - other.usd)


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What may be spent at most, over all runs into one ledger; ``None``: no limit.

    Args:
        usd: US dollars.
        calls: attempts sent, failed ones too.
        tokens: in and out.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None


class Budget:
    """See the module.

    Args:
        limits: what may be spent.
        prices: prices of hosted models.
        own_price: instead of the table's.
        before: what earlier runs spent.
        mode: in which everything is asked.

    Raises:
        SettingsError: (by :meth:`reserve`) a limit cannot be held for a request.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        prices: PriceTable,
        *,
        own_price: Price | None = None,
        before: LedgerTotals | None = None,
        mode: Mode = "standard",
    ) -> None:
        self.limits, self._prices, self._own_price, self._mode = limits, prices, own_price, mode
        totals = before or LedgerTotals()
        self.spent = Cost(
            totals.attempts,
            totals.prompt_tokens + totals.completion_tokens + totals.unsure_tokens,
            totals.usd + totals.unsure_usd,
        )
        self.reserved = Cost()
        self._open = 0
        self._settled = asyncio.Event()

    def price(self, request: CompletionRequest) -> Price | None:
        """The price of a request's model; ``None`` where nobody knows it."""
        if self._own_price is not None:
            return self._own_price
        return self._prices.price(str(request.body.get("model", "")), self._mode)

    def worst(self, request: CompletionRequest) -> Cost:
        """What one attempt costs at most: no token is shorter than a byte, no reply longer than asked for.

        Raises:
            SettingsError: a limit is set that cannot be held: no price, or no bound on the reply.
        """
        price = self.price(request)
        if price is None and self.limits.usd is not None:
            raise SettingsError(
                f"--budget-usd: the price of {request.body.get('model')!r} is unknown; set llmrg.job.input_price and "
                "llmrg.job.output_price (US dollars per million tokens; 0 for a server of your own)",
                name="llmrg.job.input_price",
            )
        room = request.body.get("max_completion_tokens", request.body.get("max_tokens"))
        if room is None and (self.limits.usd is not None or self.limits.tokens is not None):
            raise SettingsError("a budget needs max_completion_tokens in every request; found none")
        tokens_in, tokens_out = request.size, int(room or 0)
        return Cost(1, tokens_in + tokens_out, (price or FREE).usd(tokens_in, tokens_out))

    def actual(self, request: CompletionRequest, completion: Completion) -> Cost:
        """What an answer cost, by the server's own count."""
        tokens_in, tokens_out = completion.prompt_tokens, completion.completion_tokens
        usd = (self.price(request) or FREE).usd(tokens_in, tokens_out, completion.cached_tokens)
        return Cost(1, tokens_in + tokens_out, usd)

    async def reserve(self, request: CompletionRequest) -> Cost:
        """Set the worst case of one attempt aside; waits while what is in flight may still leave enough.

        Raises:
            BudgetReached: not even with nothing else in flight is there enough.
            SettingsError: see :meth:`worst`.
        """
        while True:
            try:
                return self.take(request)
            except BudgetReached:
                if not self._open:
                    raise
            self._settled.clear()
            await self._settled.wait()

    def take(self, request: CompletionRequest) -> Cost:
        """Set the worst case of one attempt aside, without waiting for what is in flight.

        Raises:
            BudgetReached: there is not enough now.
            SettingsError: see :meth:`worst`.
        """
        worst = self.worst(request)
        limit = self._passed(self.spent + self.reserved + worst)
        if limit is not None:
            raise BudgetReached(
                f"{limit} is reached ({self.spent.calls} calls, {self.spent.tokens} tokens, "
                f"${self.spent.usd:.4f} so far, the next call may need {worst.tokens} tokens, ${worst.usd:.4f}); "
                "everything paid for is kept: raise the limit and run the same command again"
            )
        self.reserved += worst
        self._open += 1
        return worst

    def settle(self, worst: Cost, actual: Cost) -> None:
        """Put what an attempt did cost in the place of what was reserved for it."""
        self._open -= 1
        self.reserved = self.reserved - worst if self._open else Cost()
        self.spent += actual
        self._settled.set()

    def _passed(self, sum_: Cost) -> str | None:
        limits = self.limits
        if limits.usd is not None and sum_.usd > limits.usd:
            return f"the budget of ${limits.usd:g}"
        if limits.calls is not None and sum_.calls > limits.calls:
            return f"the limit of {limits.calls} calls"
        if limits.tokens is not None and sum_.tokens > limits.tokens:
            return f"the limit of {limits.tokens} tokens"
        return None
