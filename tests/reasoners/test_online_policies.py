"""Rates, retries, the breaker, prices and the budget, each by itself and on a clock of the test's own."""

from __future__ import annotations

import asyncio
import random

import pytest

from llmrg.errors import BudgetReached, SettingsError
from llmrg.reasoners.budget import Budget, BudgetLimits, Cost
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.ledger import LedgerTotals
from llmrg.reasoners.limits import Limits, Rate, Slots
from llmrg.reasoners.prices import MODES, Price, price_table
from llmrg.reasoners.retry import Breaker, RetryPolicy


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def ask(model: str = "gpt-4.1-mini", room: int | None = 100, **more: object) -> CompletionRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    return CompletionRequest(body if room is None else {**body, "max_completion_tokens": room})


# ---------------------------------------------------------------- limits


def test_no_minute_sees_more_calls_than_the_rate_allows_and_a_seconds_worth() -> None:
    now, sent = 0.0, []
    rate = Rate(60, clock=lambda: now)
    for _ in range(200):
        now += rate.take(1)
        sent.append(now)
    for start in sent:
        assert sum(start <= t < start + 60 for t in sent) <= 61


def test_tokens_taken_too_many_are_given_back() -> None:
    rate = Rate(6000, clock=lambda: 0.0)
    assert rate.take(1000) == pytest.approx(9.0)
    rate.give_back(900)
    assert rate.take(100) == pytest.approx(1.0)


def test_calls_at_once_halve_when_the_server_is_overrun_and_grow_slowly() -> None:
    time = Time()
    slots = Slots(64, time.clock)

    async def crowd() -> None:
        for _ in range(64):
            await slots.take()
        for _ in range(64):
            slots.overrun()  # one crowd counts once

    asyncio.run(crowd())
    assert slots.limit == 32
    time.now = 10.0
    slots.overrun()
    assert slots.limit == 16
    for _ in range(16):
        slots.went_well()
    assert 16.9 < slots.limit <= 17
    for _ in range(10_000):
        slots.went_well()
    assert slots.limit == 64


def test_a_pause_holds_for_everybody_and_slots_are_freed_by_those_who_give_up() -> None:
    time = Time()
    limits = Limits(2, clock=time.clock, sleep=time.sleep)

    async def scene() -> list[float]:
        limits.pause(30.0)
        entered = []

        async def one() -> None:
            await limits.enter(1)
            entered.append(time.now)
            limits.leave(1, 1)

        await asyncio.gather(*(one() for _ in range(5)))
        await limits.enter(1)
        await limits.enter(1)
        waiting = asyncio.create_task(limits.enter(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        limits.leave(1, 1)
        await asyncio.wait_for(limits.enter(1), 1)  # nobody took the slot along
        return entered

    entered = asyncio.run(scene())
    assert len(entered) == 5
    assert min(entered) >= 30.0
    assert limits.slots.taken == 2


# ---------------------------------------------------------------- retry


def failing(errors: list[EndpointError | None], policy: RetryPolicy, time: Time, seed: int = 0) -> str:
    async def attempt() -> str:
        error = errors.pop(0)
        if error is not None:
            raise error
        return "answer"

    retrying = policy.retrying(clock=time.clock, sleep=time.sleep, rng=random.Random(seed))
    return asyncio.run(retrying(attempt))


def busy(after: float | None = None) -> EndpointError:
    return EndpointError("busy", kind=FaultKind.RETRY, status=429, retry_after=after)


def test_the_wait_is_a_random_share_of_a_growing_span() -> None:
    waits = []
    for seed in range(200):
        time = Time()
        assert failing([busy(), busy(), busy(), None], RetryPolicy(), time, seed) == "answer"
        waits.append(time.slept)
    for place, span in enumerate((1.0, 2.0, 4.0)):
        drawn = [one[place] for one in waits]
        assert 0 <= min(drawn) < span / 4
        assert 3 * span / 4 < max(drawn) <= span


def test_what_the_server_asked_to_wait_wins() -> None:
    time = Time()
    assert failing([busy(7.0), busy(300.0), None], RetryPolicy(), time) == "answer"
    assert time.slept == [7.0, 300.0]


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [(RetryPolicy(attempts=3), 3), (RetryPolicy(attempts=99, deadline=20.0), 3)],
)
def test_attempts_and_the_deadline_end_it_with_the_last_error(policy: RetryPolicy, attempts: int) -> None:
    time, errors = Time(), [busy(8.0)] * 50
    with pytest.raises(EndpointError, match="busy"):
        failing(errors, policy, time)
    assert len(errors) == 50 - attempts
    assert time.now <= policy.deadline


@pytest.mark.parametrize("kind", [FaultKind.STOP, FaultKind.REJECTED, FaultKind.OVERFLOW])
def test_what_another_attempt_cannot_mend_is_not_tried_again(kind: FaultKind) -> None:
    errors = [EndpointError("no", kind=kind), None]
    with pytest.raises(EndpointError, match="no"):
        failing(errors, RetryPolicy(), Time())
    assert len(errors) == 1


def test_the_breaker_counts_in_a_row_only() -> None:
    breaker = Breaker(3)
    for _ in range(5):
        assert breaker.failed(busy()) is None
        assert breaker.failed(busy()) is None
        breaker.went_well()
    breaker.failed(busy())
    breaker.failed(busy())
    stop = breaker.failed(busy())
    assert stop is not None
    assert stop.kind is FaultKind.STOP
    assert "3 requests in a row" in str(stop)


# ---------------------------------------------------------------- prices and budget


def test_the_table_is_dated_and_every_mode_has_its_share() -> None:
    table = price_table()
    assert len(table.as_of) == len("2026-01-01")
    standard, flex, batch = (table.price("gpt-5-mini", mode) for mode in MODES)
    assert standard is not None
    assert flex == batch == standard.times(0.5)
    assert table.price("gpt-4o-mini", "flex") is None
    assert table.price("gpt-4o-mini-of-mine") is None
    assert all(p.cached is not None and p.cached < p.input < p.output for p in table.models.values())


def test_the_worst_case_covers_what_is_sent_and_the_flex_tier_has_its_price() -> None:
    budget = Budget(BudgetLimits(), price_table())
    worst = budget.worst(ask(room=1000))
    assert worst.tokens >= 1000 + len("hello")
    assert worst.usd >= 1000 * 1.6e-6
    cheaper = Budget(BudgetLimits(), price_table(), mode="flex").price(ask("gpt-5-mini"))
    assert cheaper == Price(0.125, 1.0, 0.0125)
    cached = budget.actual(ask(), Completion("", prompt_tokens=1000, completion_tokens=10, cached_tokens=500))
    assert cached == Cost(1, 1010, pytest.approx((500 * 0.4 + 500 * 0.1 + 10 * 1.6) / 1e6))


@pytest.mark.parametrize(
    ("limits", "request_", "words"),
    [
        (BudgetLimits(usd=1), ask("my-own"), "the price of 'my-own' is unknown; set llmrg.job.input_price"),
        (BudgetLimits(tokens=9), ask(room=None), "max_completion_tokens"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused(
    limits: BudgetLimits, request_: CompletionRequest, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        Budget(limits, price_table()).worst(request_)
    assert (
        Budget(BudgetLimits(), price_table()).worst(request_).usd == 0 or request_.body["model"] != "my-own"
    )


@pytest.mark.parametrize(
    "limits", [BudgetLimits(usd=0.004), BudgetLimits(calls=7), BudgetLimits(tokens=5000)], ids=str
)
def test_64_at_once_never_pass_a_limit_and_use_nearly_all_of_it(limits: BudgetLimits) -> None:
    """Half of what a call may cost is used, so much is left over again and again."""
    budget = Budget(limits, price_table(), before=LedgerTotals(attempts=1, usd=0.0005))
    rng, most = random.Random(0), Cost()

    async def call(number: int) -> None:
        nonlocal most
        worst = await budget.reserve(ask(room=500 + number))
        total = budget.spent + budget.reserved
        most = Cost(max(most.calls, total.calls), max(most.tokens, total.tokens), max(most.usd, total.usd))
        await asyncio.sleep(rng.random() / 1000)
        budget.settle(worst, Cost(1, worst.tokens // 2, worst.usd / 2))

    async def scene() -> list[BaseException | None]:
        return await asyncio.gather(*(call(n) for n in range(64)), return_exceptions=True)

    ends = asyncio.run(scene())
    assert any(isinstance(end, BudgetReached) for end in ends)
    assert all(end is None or isinstance(end, BudgetReached) for end in ends)
    assert most.usd <= (limits.usd or 1)
    assert most.calls <= (limits.calls or 99)
    assert most.tokens <= (limits.tokens or 10**9)
    left = budget.spent + budget.worst(ask(room=563))
    assert (
        left.usd > (limits.usd or 1)
        or left.calls > (limits.calls or 99)
        or left.tokens > (limits.tokens or 10**9)
    )


def test_the_words_at_the_end_say_what_was_spent_and_what_to_do() -> None:
    budget = Budget(BudgetLimits(calls=2), price_table(), before=LedgerTotals(attempts=2, usd=0.5))
    with pytest.raises(
        BudgetReached, match=r"limit of 2 calls is reached \(2 calls, .*\$0.5000 so far.*raise the limit"
    ):
        asyncio.run(budget.reserve(ask()))
