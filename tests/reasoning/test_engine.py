"""A language model in the offline job: any speed, any interruption, the same store; nothing asked twice."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import pytest
from toy_reasoning import toy_catalog, toy_histories, toy_reasoner, toy_world

from llmrg.data.interactions import UserHistory
from llmrg.errors import BudgetReached, ReasonerError
from llmrg.graph.store import GraphStore
from llmrg.reasoners.budget import Budget, BudgetLimits
from llmrg.reasoners.calls import Calls
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.ledger import Ledger
from llmrg.reasoners.limits import Limits
from llmrg.reasoners.prices import Price, price_table
from llmrg.reasoners.reasoner import Usage
from llmrg.reasoners.runner import OnlineRunner
from llmrg.reasoning.engine import InProcess, LanguageReasoner
from llmrg.reasoning.generate import generate
from llmrg.settings import GenerationSettings, LanguageModelSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import answer, shown

RECIPE = GenerationSettings(wave=16, knowledge_min_support=1, audit_share=0.1)
MODEL = LanguageModel(LanguageModelSettings(model="toy", structured_output="json_schema"))


class Answering:
    """Answers as the fault server does, without a network, at random speed; can be made to fail."""

    def __init__(self, fail=lambda number, body: None, seed: int = 0) -> None:
        self.fail, self.rng, self.asked = fail, random.Random(seed), []

    async def complete(self, request: CompletionRequest) -> Completion:
        self.asked.append(request.content_hash)
        number = len(self.asked)
        await asyncio.sleep(self.rng.choice((0.0, 0.0, 0.001)))
        error = self.fail(number, request.body)
        if error is not None:
            raise error
        text = json.dumps(answer(shown(dict(request.body))))
        return Completion(text, model="toy-1", prompt_tokens=1000, completion_tokens=100)


def run(folder, histories, endpoint, *, users=64, limits=None, settings=RECIPE, model=MODEL, **more):
    reasoner = toy_reasoner(histories)
    with Ledger.open(folder / "ledger") as ledger, GraphStore.open(folder / "graphs") as store:
        budget = Budget(
            limits or BudgetLimits(), price_table(), own_price=Price(1.0, 10.0), before=ledger.totals()
        )
        calls = Calls(endpoint, ledger, budget, Limits(users, clock=time.monotonic))
        with OnlineRunner(calls, users_in_flight=users) as engine:
            return generate(
                histories,
                toy_catalog(),
                model,
                store,
                engine=engine,
                world=toy_world(reasoner),
                settings=settings,
                **more,
            )


def content(folder):
    with GraphStore.open(folder / "graphs") as store:
        return (
            store.content_hash(),
            store.failures(),
            [(r.scope, r.key, r.wave, r.document) for r in store.knowledge()],
            store.last_wave,
        )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    endpoint = Answering()
    report = run(folder, toy_histories(), endpoint)
    return content(folder), report, endpoint.asked


@pytest.mark.parametrize("users", [1, 5])
def test_any_number_in_flight_leaves_the_same_store_and_the_same_report(tmp_path, uninterrupted, users):
    same, report, asked = uninterrupted
    endpoint = Answering(seed=users)
    again = run(tmp_path, toy_histories(), endpoint, users=users)
    assert content(tmp_path) == same
    assert sorted(endpoint.asked) == sorted(asked)
    again.seconds = report.seconds
    assert again == report


def test_the_report_is_honest_about_calls_tokens_dollars_and_rungs(tmp_path, uninterrupted):
    _, report, asked = uninterrupted
    assert len(asked) == len(set(asked))
    assert report.done == 40
    assert report.usage == Usage(len(asked), 1000 * len(asked), 100 * len(asked))
    assert report.usd == pytest.approx(len(asked) * (1000 * 1.0 + 100 * 10.0) / 1e6)
    assert report.cached == report.requests.total() - len(asked)
    assert set(report.rungs) <= {"valid"}
    assert report.rungs["valid"] == report.requests.total()


@pytest.mark.parametrize("at", [1, 40, 77])
def test_a_fault_that_stops_leaves_whole_waves_and_the_rest_is_not_asked_twice(tmp_path, uninterrupted, at):
    same, _, asked = uninterrupted
    stop = EndpointError("no money", kind=FaultKind.STOP, status=429)
    first = Answering(lambda number, body: stop if number >= at else None)
    with pytest.raises(EndpointError, match="no money"):
        run(tmp_path, toy_histories(), first)
    second = Answering()
    run(tmp_path, toy_histories(), second)
    assert content(tmp_path) == same
    assert sorted([*first.asked[: at - 1], *second.asked]) == sorted(asked)


def test_a_budget_ends_the_run_and_a_higher_one_ends_in_the_same_store(tmp_path, uninterrupted):
    same, _, asked = uninterrupted
    endpoint = Answering()
    for calls in (20, 50, 60):
        with pytest.raises(BudgetReached):
            run(tmp_path, toy_histories(), endpoint, limits=BudgetLimits(calls=calls))
        assert len(endpoint.asked) == calls
    run(tmp_path, toy_histories(), endpoint)
    assert content(tmp_path) == same
    assert sorted(endpoint.asked) == sorted(asked)


def test_a_pilot_pays_for_its_users_only_and_changes_no_later_result(tmp_path, uninterrupted):
    same, _, asked = uninterrupted
    endpoint, seen = Answering(), []
    report = run(tmp_path, toy_histories(), endpoint, pilot=21, progress=seen.append)
    assert report.done == seen[-1].done == seen[-1].total == 21
    paid = len(endpoint.asked)
    assert paid < 0.7 * len(asked)
    with GraphStore.open(tmp_path / "graphs") as store:
        assert len(store) == RECIPE.wave  # the second wave was not whole
    run(tmp_path, toy_histories(), endpoint)
    assert content(tmp_path) == same
    assert sorted(endpoint.asked) == sorted(asked)


def test_progress_tells_the_traffic_as_it_goes(tmp_path):
    seen = []
    run(tmp_path, toy_histories(users=8), Answering(), progress=seen.append)
    assert [p.traffic.answered for p in seen if p.done == 0][:3] == [1, 2, 3]
    last = seen[-1]
    assert (last.done, last.failed, last.traffic.in_flight) == (8, 0, 0)
    assert last.traffic.usd > 0
    assert last.rejected_share > 0


def test_a_request_that_is_refused_for_good_fails_nobody_else_and_is_not_asked_again(tmp_path):
    def refuse(number, body):
        return EndpointError("400", kind=FaultKind.REJECTED, status=400) if number == 3 else None

    endpoint = Answering(refuse)
    report = run(tmp_path, toy_histories(), endpoint)
    asked = len(endpoint.asked)
    assert report.done + report.failed == 40
    assert report.failed <= 1
    run(tmp_path, toy_histories(), endpoint)
    assert len(endpoint.asked) == len(set(endpoint.asked)) < asked + 10


@pytest.mark.parametrize("verify", [False, True])
def test_a_history_that_grew_asks_only_what_is_new(tmp_path, verify):
    """Windows that both histories have in common are shown in the same words. (Masks are not: they draw their
    distractors by statistics of all users, which the new interactions change.)"""
    changes = {"verify": verify, "tau": 0.3 * verify, "knowledge": False, "window": 4}
    settings = RECIPE.model_copy(update=changes)
    short = [UserHistory(h.user_id, h.item_ids[:8], 8) for h in toy_histories(users=10)]
    long = [UserHistory(h.user_id, h.item_ids[:12], 12) for h in toy_histories(users=10)]
    endpoint = Answering()
    run(tmp_path, short, endpoint, settings=settings)
    before = len(endpoint.asked)
    run(tmp_path, long, endpoint, settings=settings)
    fresh, other = Answering(), tmp_path / "fresh"
    other.mkdir()
    run(other, long, fresh, settings=settings)
    assert content(tmp_path)[0] == content(other)[0]
    new = len(endpoint.asked) - before
    if verify:
        assert new < 0.9 * len(fresh.asked)
    else:
        assert (before, new, len(fresh.asked)) == (20, 10, 30)
    assert len(endpoint.asked) == len(set(endpoint.asked))


def test_a_language_model_without_an_engine_is_told_what_is_missing(tmp_path):
    histories = toy_histories(users=2)
    with GraphStore.open(tmp_path / "s") as store, pytest.raises(ReasonerError, match="give generate"):
        generate(histories, toy_catalog(), MODEL, store)


def test_the_two_kinds_of_reasoner_are_told_apart():
    assert isinstance(MODEL, LanguageReasoner)
    assert not isinstance(toy_reasoner(toy_histories(users=4)), LanguageReasoner)
    assert InProcess().run([]) == []
