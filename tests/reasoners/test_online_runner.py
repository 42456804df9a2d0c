"""The online runner against real faults: nothing lost, nothing asked twice, the same results at any speed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer, first_time

from llmrg.errors import BudgetReached, ReplyError, StoreError
from llmrg.reasoners.budget import Budget, BudgetLimits
from llmrg.reasoners.calls import MOST_REFUSED, Calls
from llmrg.reasoners.endpoint import Completion, CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.reasoners.ledger import Ledger, LedgerTotals
from llmrg.reasoners.limits import Limits
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
from llmrg.reasoners.prices import Price, price_table
from llmrg.reasoners.retry import Breaker, RetryPolicy
from llmrg.reasoners.runner import OnlineRunner, Steps
from llmrg.reasoners.traffic import EventLog, newest_events
from llmrg.settings import LanguageModelSettings

PRICE = Price(1.0, 2.0)
IMPATIENT = RetryPolicy(attempts=4, first_wait=0.01, longest_wait=0.02)


def ask(words: str, room: int = 100) -> CompletionRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": words}], "max_completion_tokens": room}
    return CompletionRequest(body)


def talk(user: int, turns: int = 3) -> Steps[list[str]]:
    """A user whose every question depends on the answer before; an answer that fails is told, too."""
    heard: list[str] = []
    for turn in range(turns):
        try:
            completion = yield ask(f"user {user} turn {turn} after {heard[-1:]}")
        except EndpointError as error:
            heard.append(error.kind.value)
        else:
            heard.append(completion.text)
    return heard


class Parrot:
    """An endpoint that answers at random speed; counts, and can be made to fail."""

    def __init__(self, seed: int = 0, fail: dict[int, EndpointError] | None = None) -> None:
        self.rng, self.fail, self.asked = random.Random(seed), fail or {}, []
        self.flying = self.most_flying = 0

    async def complete(self, request: CompletionRequest) -> Completion:
        self.asked.append(request.content_hash)
        number = len(self.asked)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        try:
            await asyncio.sleep(self.rng.random() / 500)
        finally:
            self.flying -= 1
        if number in self.fail:
            raise self.fail[number]
        words = request.body["messages"][0]["content"]
        return Completion(f"so {words[-30:]}", model="m-1", prompt_tokens=len(words), completion_tokens=7)


class Room:
    """A ledger and runners over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self,
        endpoint: Endpoint,
        steps: list[Steps],
        *,
        users: int = 64,
        limits: BudgetLimits | None = None,
        policy: RetryPolicy = IMPATIENT,
        breaker: int = 5,
        pulse=None,
    ):
        with Ledger.open(self.folder / "ledger") as ledger, EventLog(self.folder / "events") as events:
            budget = Budget(limits or BudgetLimits(), price_table(), own_price=PRICE, before=ledger.totals())
            calls = Calls(
                endpoint,
                ledger,
                budget,
                Limits(users, clock=time.monotonic),
                policy=policy,
                breaker=Breaker(breaker),
                events=events,
                rng=random.Random(0),
            )
            at_end = getattr(endpoint, "aclose", None)
            with OnlineRunner(calls, users_in_flight=users, at_end=at_end) as runner:
                self.runner = runner
                return runner.run(steps, pulse)

    @property
    def totals(self) -> LedgerTotals:
        with Ledger.open(self.folder / "ledger") as ledger:
            return ledger.totals()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def endpoint(server: FaultServer, **more: object) -> OpenAIEndpoint:
    settings = LanguageModelSettings(model="m", base_url=server.base_url, **more)
    return OpenAIEndpoint(settings, environ={})


# ------------------------------------------------------------ order, speed, sharing


def test_one_and_64_in_flight_give_the_same_results_in_the_order_of_the_users(tmp_path: Path) -> None:
    found = []
    for place, users in enumerate((1, 7, 64)):
        parrot = Parrot(place)
        room = Room(tmp_path / str(users))
        found.append(room.run(parrot, [talk(n) for n in range(100)], users=users))
        assert parrot.most_flying <= users
        assert len(parrot.asked) == len(set(parrot.asked)) == 300
    assert found[0] == found[1] == found[2]
    assert [heard[0][:8] for heard in found[0]] == [f"so user {n}"[:8] for n in range(100)]


def test_users_are_begun_as_they_are_needed(room: Room) -> None:
    begun = 0

    def many() -> Generator[Steps, None, None]:
        nonlocal begun
        for number in range(200):
            begun += 1
            yield talk(number, 1)

    ends = 0

    def pulse() -> None:
        nonlocal ends
        ends += 1
        assert begun <= ends + 8

    room.run(Parrot(), many(), users=8, pulse=pulse)  # type: ignore[arg-type]
    assert ends == begun == 200


def test_a_question_two_users_ask_at_once_is_sent_once(room: Room) -> None:
    def same() -> Steps[Completion]:
        return (yield ask("the same for all"))

    parrot = Parrot()
    heard = room.run(parrot, [same() for _ in range(20)])
    assert len(parrot.asked) == 1
    assert len({completion.text for completion in heard}) == 1
    assert sum(not completion.recorded for completion in heard) == 1
    assert room.runner.traffic.shared == 19


def test_a_second_run_asks_nothing_and_hears_the_same(room: Room) -> None:
    first = room.run(Parrot(), [talk(n) for n in range(30)])
    parrot = Parrot()
    assert room.run(parrot, [talk(n) for n in range(30)]) == first
    assert parrot.asked == []
    assert room.runner.traffic.recorded == 90


# ------------------------------------------------------------ faults, over the wire


@pytest.mark.parametrize(
    "fault",
    [
        "retry_after_1",
        "retry_after_date",
        "error_408",
        "error_409",
        "error_500",
        "error_503",
        "drop",
        "not_json",
        "error_inside",
    ],
)
def test_a_passing_fault_is_tried_again_and_survived(room: Room, fault: str) -> None:
    with FaultServer([fault, "ok"]) as server:
        policy = RetryPolicy(attempts=3, first_wait=0.01)
        heard = room.run(endpoint(server), [talk(0, 1)], policy=policy)
    assert heard == [['{"ok": true}']]
    assert len(server.requests) == room.totals.attempts == 2
    assert room.totals.done == 1


def test_a_server_that_hangs_is_left_and_asked_again(room: Room) -> None:
    with FaultServer(["hang", "ok"]) as server:
        heard = room.run(endpoint(server, timeout=0.3), [talk(0, 1)])
    assert heard == [['{"ok": true}']]
    totals = room.totals
    assert (totals.attempts, totals.done) == (2, 1)
    assert totals.unsure_tokens > 0  # it may have answered, and billed, unheard


def test_a_pause_of_five_minutes_is_kept_to_by_everybody(tmp_path: Path) -> None:
    """With a clock of the test's own: one 429 silences all 16 users for as long as the server asked."""
    now, sent = 0.0, []

    class Throttled(Parrot):
        async def complete(self, request: CompletionRequest) -> Completion:
            sent.append(now)
            if len(sent) == 20:
                raise EndpointError("slow down", kind=FaultKind.RETRY, status=429, retry_after=300.0)
            return await super().complete(request)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    with Ledger.open(tmp_path / "l") as ledger:
        limits = Limits(16, clock=lambda: now, sleep=sleep)
        calls = Calls(
            Throttled(), ledger, Budget(BudgetLimits(), price_table()), limits, clock=lambda: now, sleep=sleep
        )
        with OnlineRunner(calls, users_in_flight=16) as runner:
            heard = runner.run([talk(n) for n in range(30)])
    assert all(len(one) == 3 for one in heard)
    assert not [at for at in sent[36:] if at < 300.0]  # 16 may have been on their way
    assert runner.traffic.throttled == 1
    assert runner.traffic.slots < 16


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("bad_request", "rejected"),
        ("overflow_openai", "context_overflow"),
        ("overflow_vllm", "context_overflow"),
        ("overflow_llama_cpp", "context_overflow"),
        ("overflow_ollama", "context_overflow"),
    ],
)
def test_a_final_fault_reaches_the_user_once_and_is_never_asked_again(
    room: Room, fault: str, kind: str
) -> None:
    with FaultServer([fault]) as server:
        assert room.run(endpoint(server), [talk(0, 2)]) == [[kind, '{"ok": true}']]
        assert room.run(endpoint(server), [talk(0, 2)]) == [[kind, '{"ok": true}']]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault", ["insufficient_quota", "bad_key", "forbidden", "unknown_model", "unknown_model_ollama"]
)
def test_a_fault_that_stops_ends_the_run_and_a_later_one_goes_on(room: Room, fault: str) -> None:
    with FaultServer(["ok"] * 30 + [fault] * 99) as server:
        with pytest.raises(EndpointError) as caught:
            room.run(endpoint(server), [talk(n) for n in range(40)], users=8)
        assert caught.value.kind is FaultKind.STOP
        refused = sum(one.fault is not None for one in server.requests)
        assert refused <= 8  # those on their way
        server._queue = iter(())
        heard = room.run(endpoint(server), [talk(n) for n in range(40)], users=8)
    assert heard == [['{"ok": true}'] * 3] * 40
    assert len(server.requests) == 120 + refused == room.totals.attempts
    assert (room.totals.prompt_tokens, room.totals.completion_tokens) == (
        server.prompt_tokens,
        server.completion_tokens,
    )


@pytest.mark.parametrize("users", [1, 8, 64])
def test_a_server_that_refuses_everybody_stops_the_run_and_is_asked_again_in_the_next(
    room: Room, users: int
) -> None:
    with FaultServer(lambda *_: "bad_request") as server:
        with pytest.raises(EndpointError, match="in a row were refused and none was answered") as caught:
            room.run(endpoint(server), [talk(n, 1) for n in range(500)], users=users)
        assert caught.value.kind is FaultKind.STOP
        assert "Invalid schema" in str(caught.value)
        assert len(server.requests) <= MOST_REFUSED + 2 * users
        server.script, before = lambda *_: None, len(server.requests)
        heard = room.run(endpoint(server), [talk(n, 1) for n in range(500)], users=users)
    assert heard == [['{"ok": true}']] * 500  # nobody is refused from the record
    assert len(server.requests) == before + 500


def test_refusals_with_answers_between_are_final_and_stop_nothing(room: Room) -> None:
    with FaultServer(lambda number, _: "bad_request" if number % MOST_REFUSED else None) as server:
        for _ in range(2):
            heard = room.run(endpoint(server), [talk(n, 1) for n in range(80)], users=1)
            assert Counter(one for (one,) in heard) == {"rejected": 76, '{"ok": true}': 4}
    assert len(server.requests) == 80


def test_refusals_that_come_home_while_more_calls_are_on_their_way_stop_nothing(room: Room) -> None:
    class Filter:
        async def complete(self, request: CompletionRequest) -> Completion:
            number = int(request.body["messages"][0]["content"].split()[1])
            if number % 3 == 0:
                raise EndpointError("filtered", kind=FaultKind.REJECTED, status=400)
            await asyncio.sleep(0.3)
            return Completion("yes", prompt_tokens=1, completion_tokens=1)

    heard = room.run(Filter(), [talk(n, 1) for n in range(120)], users=100)
    assert Counter(one for (one,) in heard) == {"rejected": 40, "yes": 80}


@pytest.mark.parametrize(
    ("fault", "counted"),
    [("error_503", False), ("error_408", True), ("error_inside", True), ("no_choice", True), ("drop", True)],
)
def test_what_may_have_been_billed_unheard_is_counted_at_its_worst(
    room: Room, fault: str, counted: bool
) -> None:
    with FaultServer([fault]) as server:
        room.run(endpoint(server), [talk(0, 1)])
    assert len(server.requests) == room.totals.attempts == 2
    assert (room.totals.unsure_usd > 0) == (room.totals.unsure_tokens > 0) == counted


def test_a_server_nobody_reaches_uses_up_no_money(room: Room) -> None:
    away = OpenAIEndpoint(LanguageModelSettings(model="m", base_url="http://127.0.0.1:9/v1"), environ={})
    stopped = pytest.raises(EndpointError, match=r"no connection to 127\.0\.0\.1: refused")
    with stopped:
        room.run(away, [talk(n) for n in range(50)], users=8, limits=BudgetLimits(usd=0.01))
    assert room.totals.attempts > 5
    assert room.totals.unsure_usd == room.totals.unsure_tokens == room.totals.open == 0


def test_a_dead_server_stops_the_run_before_it_has_failed_every_user(room: Room) -> None:
    stopped = pytest.raises(EndpointError, match=r"\d+ requests in a row failed")
    with FaultServer(lambda *_: "error_500") as server, stopped:
        room.run(endpoint(server), [talk(n) for n in range(500)], users=8)
    assert len(server.requests) <= 13 * IMPATIENT.attempts


def test_a_request_that_fails_with_all_attempts_fails_its_user_and_is_asked_in_a_later_run(
    room: Room,
) -> None:
    parrot = Parrot(fail={n: EndpointError("500", kind=FaultKind.RETRY, status=500) for n in (1, 2, 3, 4)})
    assert room.run(parrot, [talk(0, 2)])[0][0] == "retry"
    assert room.run(parrot, [talk(0, 1)])[0][0].startswith("so user 0")


def test_a_storm_of_faults_loses_nothing_and_asks_nothing_answered_twice(room: Room) -> None:
    faults = ["error_500", "error_503", "error_408", "drop", "not_json", "missing_usage", "wrong_model"]
    with FaultServer(first_time(faults, share=0.4)) as server:
        heard = room.run(endpoint(server), [talk(n) for n in range(60)], users=32)
    assert heard == [['{"ok": true}'] * 3] * 60
    answered = Counter(
        one.key for one in server.requests if one.fault in (None, "missing_usage", "wrong_model")
    )
    assert len(answered) == 180
    assert set(answered.values()) == {1}
    totals, told = (
        room.totals,
        [one for one in server.requests if one.fault not in ("missing_usage", "not_json")],
    )
    assert totals.attempts == len(server.requests)
    assert totals.done == 180
    assert totals.prompt_tokens == sum(one.tokens for one in told if one.fault in (None, "wrong_model"))
    assert totals.unsure_tokens > 0


# ------------------------------------------------------------ budgets, ends


@pytest.mark.parametrize(
    "limits", [BudgetLimits(calls=50), BudgetLimits(usd=0.005), BudgetLimits(tokens=4000)]
)
def test_64_in_flight_never_pass_a_budget_and_a_higher_one_goes_on(room: Room, limits: BudgetLimits) -> None:
    with FaultServer(first_time(["error_500", "drop"], share=0.2)) as server:
        with pytest.raises(BudgetReached):
            room.run(endpoint(server), [talk(n) for n in range(100)], limits=limits)
        usd = PRICE.usd(server.prompt_tokens, server.completion_tokens)
        assert len(server.requests) <= (limits.calls or 10**9)
        assert usd <= (limits.usd or 10**9)
        assert server.tokens <= (limits.tokens or 10**9)
        if limits.calls:
            assert len(server.requests) == limits.calls
        with pytest.raises(BudgetReached):  # the same limit once more buys nothing
            room.run(endpoint(server), [talk(n) for n in range(100)], limits=limits)
        assert len(server.requests) <= (limits.calls or 10**9)
        heard = room.run(endpoint(server), [talk(n) for n in range(100)])
    assert heard == [['{"ok": true}'] * 3] * 100
    answered = Counter(one.key for one in server.requests if one.fault is None)
    assert set(answered.values()) == {1}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process started in the background may have been handed SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_come_home_and_starts_no_other(room: Room, which: signal.Signals) -> None:
    parrot, sent_at_signal = Parrot(), 0

    def pulse() -> None:
        nonlocal sent_at_signal
        if len(parrot.asked) >= 40 and not sent_at_signal:
            sent_at_signal = len(parrot.asked)
            os.kill(os.getpid(), which)

    with pytest.raises(KeyboardInterrupt):
        room.run(parrot, [talk(n) for n in range(60)], users=8, pulse=pulse)
    assert len(parrot.asked) <= sent_at_signal + 8
    assert room.totals.done == room.totals.attempts == len(parrot.asked)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    heard = room.run(parrot, [talk(n) for n in range(60)], users=8)
    assert len(heard) == 60
    assert len(parrot.asked) == len(set(parrot.asked)) == 180


@pytest.mark.parametrize("kind", [FaultKind.OVERFLOW, FaultKind.REJECTED])
def test_a_call_that_comes_home_refused_after_the_end_is_followed_by_no_other(
    room: Room, kind: FaultKind
) -> None:
    class Slow:
        asked = 0

        async def complete(self, request: CompletionRequest) -> Completion:
            self.asked += 1
            if "user 0" in request.text:
                await asyncio.sleep(0.05)
                raise EndpointError("no money", kind=FaultKind.STOP, status=402)
            await asyncio.sleep(0.2)
            raise EndpointError("too long", kind=kind, status=400)

    slow = Slow()
    with pytest.raises(EndpointError, match="no money"):
        room.run(slow, [talk(n) for n in range(8)], users=8)
    assert slow.asked == room.totals.attempts == 8


@pytest.mark.usefixtures("interruptible")
def test_a_signal_ends_long_waits_at_once(room: Room) -> None:
    wait = EndpointError("later", kind=FaultKind.RETRY, status=503, retry_after=600.0)
    parrot = Parrot(fail=dict.fromkeys(range(1, 9), wait))
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        room.run(parrot, [talk(n) for n in range(8)], users=8)
    assert len(parrot.asked) == 8


def test_an_error_of_ours_ends_the_run_with_itself(room: Room) -> None:
    def broken() -> Steps[str]:
        yield ask("fine")
        raise ReplyError("this one has no guard")

    with pytest.raises(ReplyError, match="no guard"):
        room.run(Parrot(), [talk(0), broken(), talk(1)])


def test_a_ledger_that_stays_locked_is_waited_for_once_and_nobody_fails_for_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []

    def locked(*_: object, **__: object) -> None:
        waits.append(1)
        raise StoreError("in use")

    monkeypatch.setattr(Ledger, "send", locked)
    with pytest.raises(StoreError, match="in use"):
        room.run(Parrot(), [talk(n) for n in range(64)])
    assert len(waits) == 1


def test_the_log_tells_what_happened_and_names_no_prompt(room: Room) -> None:
    with FaultServer(["error_500"]) as server:
        room.run(endpoint(server), [talk(n) for n in range(3)])
    events = list(newest_events(room.folder / "events"))
    assert Counter(event["event"] for event in events) == {"answered": 9, "retry": 1}
    assert "user" not in (room.folder / "events").read_text()
    (room.folder / "events").write_bytes(b'{"event": "a"}\n{"event": "b"}\n{"eve')
    assert [event["event"] for event in newest_events(room.folder / "events")] == ["b", "a"]
    assert list(newest_events(room.folder / "none")) == []


def test_words_that_no_encoding_takes_are_asked_and_counted_like_others(room: Room) -> None:
    def odd() -> Steps[str]:
        return (yield ask("é \ud800")).text

    assert ask("é \ud800").size == len(ask("ab").text) + 4  # two bytes, a blank, three bytes
    assert room.run(Parrot(), [odd()]) == ["so é \ud800"]
