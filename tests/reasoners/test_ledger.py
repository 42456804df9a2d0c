"""The ledger: nothing answered is lost, changed or asked again; what is open counts at its worst."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from llmrg.errors import StoreError
from llmrg.graph.store import GraphStore
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.ledger import Ledger, LedgerTotals

ANSWER = Completion("{}", model="m-1", prompt_tokens=10, completion_tokens=3, cached_tokens=4)


def request(number: int = 0) -> CompletionRequest:
    words = f"question {number} ☃ \ud800"  # a lone surrogate must not break it
    return CompletionRequest({"model": "m", "messages": [{"role": "user", "content": words}]})


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "l") as opened:
        yield opened


def fault(kind: FaultKind, status: int | None = None) -> EndpointError:
    return EndpointError("it did not work", kind=kind, status=status)


def test_an_answer_is_replayed_as_recorded_and_survives_closing(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "l") as ledger:
        assert ledger.look_up(request()) is None
        ledger.send(request(), worst_tokens=50, worst_usd=0.5)
        assert ledger.look_up(request()) is None
        assert ledger.settle(request().content_hash, ANSWER, usd=0.25, seconds=1.5)
    with Ledger.open(tmp_path / "l") as ledger:
        known = ledger.look_up(request())
        assert known == Completion("{}", "stop", None, "m-1", 10, 3, 4, recorded=True)
        assert ledger.totals() == LedgerTotals(
            done=1, attempts=1, prompt_tokens=10, completion_tokens=3, cached_tokens=4, usd=0.25
        )
        assert ledger.served_models() == {"m-1": 1}


def test_the_first_answer_stays_and_an_unknown_request_is_not_settled(ledger: Ledger) -> None:
    ledger.plan([request()])
    assert ledger.settle(request().content_hash, ANSWER)
    assert not ledger.settle(request().content_hash, Completion("other"))
    assert not ledger.settle("b2:unknown", ANSWER)
    ledger.fail(request().content_hash, fault(FaultKind.REJECTED, 400))
    known = ledger.look_up(request())
    assert isinstance(known, Completion)
    assert known.text == "{}"


@pytest.mark.parametrize(
    ("kind", "replayed"),
    [
        (FaultKind.REJECTED, True),
        (FaultKind.OVERFLOW, True),
        (FaultKind.RETRY, False),
        (FaultKind.STOP, False),
    ],
)
def test_only_failures_that_asking_again_cannot_mend_are_replayed(
    ledger: Ledger, kind: FaultKind, replayed: bool
) -> None:
    ledger.send(request())
    ledger.fail(request().content_hash, fault(kind, 400))
    known = ledger.look_up(request())
    assert isinstance(known, EndpointError) == replayed
    if isinstance(known, EndpointError):
        assert (known.kind, known.status) == (kind, 400)
    assert [r.content_hash for r in ledger.unanswered()] == ([] if replayed else [request().content_hash])


def test_an_attempt_without_a_known_end_counts_at_its_worst_for_ever(ledger: Ledger) -> None:
    for _ in range(3):  # two that nobody heard of again, one that is answered
        ledger.send(request(), worst_tokens=100, worst_usd=1.0)
    assert (ledger.totals().open, ledger.totals().unsure_usd) == (1, 3.0)
    ledger.settle(request().content_hash, ANSWER, usd=0.25)
    totals = ledger.totals()
    assert (totals.open, totals.attempts, totals.unsure_tokens, totals.unsure_usd) == (0, 3, 200, 2.0)
    assert totals.usd == 0.25


def test_a_failure_with_a_known_end_costs_nothing_and_one_without_stays_open(ledger: Ledger) -> None:
    ledger.send(request(1), worst_usd=1.0)
    ledger.fail(request(1).content_hash, fault(FaultKind.RETRY, 503))
    ledger.send(request(2), worst_usd=1.0)
    ledger.fail(request(2).content_hash, fault(FaultKind.RETRY), known_end=False)
    totals = ledger.totals()
    assert (totals.failed, totals.open, totals.unsure_usd) == (1, 1, 1.0)


def test_an_answer_whose_usage_nobody_told_keeps_its_worst_case(ledger: Ledger) -> None:
    ledger.send(request(), worst_tokens=100, worst_usd=1.0)
    ledger.settle(request().content_hash, Completion("{}"), unsure=True)
    assert (ledger.totals().done, ledger.totals().unsure_tokens, ledger.totals().unsure_usd) == (1, 100, 1.0)


def test_planned_requests_are_written_once_and_come_back_in_order(ledger: Ledger) -> None:
    many = [request(n) for n in (3, 1, 2)]
    assert ledger.plan(many) == 3
    assert ledger.plan(iter([request(9), *many])) == 1
    ledger.send(request(1))
    ledger.settle(request(1).content_hash, ANSWER)
    assert [r.body for r in ledger.unanswered()] == [request(n).body for n in (3, 2, 9)]
    assert ledger.totals().planned == 3


def test_an_exception_while_planning_leaves_nothing_of_it(ledger: Ledger) -> None:
    def broken():
        yield request()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.plan(broken())
    assert ledger.totals().planned == 0


def test_a_changed_record_is_named_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with Ledger.open(path) as ledger:
        for number in (1, 2, 3):
            ledger.send(request(number))
            ledger.settle(request(number).content_hash, ANSWER)
        assert ledger.verify() == []
    connection = sqlite3.connect(path)
    connection.execute("UPDATE requests SET reply = (SELECT body FROM requests WHERE id = 2) WHERE id = 1")
    connection.execute("UPDATE requests SET body = x'00' WHERE id = 3")
    connection.commit()
    connection.close()
    with Ledger.open(path) as ledger:
        with pytest.raises(StoreError, match=r"expected hash b2:.*, found b2:.*; restore a copy"):
            ledger.look_up(request(1))
        problems = ledger.verify()
        assert len(problems) == 2
        assert all(str(path) in problem for problem in problems)


def test_what_is_no_ledger_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no language model was asked yet"):
        Ledger.open(tmp_path / "none", create=False)
    with GraphStore.open(tmp_path / "graphs"):
        pass
    with pytest.raises(StoreError, match="expected a ledger, found another database"):
        Ledger.open(tmp_path / "graphs")
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(StoreError, match="expected a ledger, found a corrupt or foreign file"):
        Ledger.open(tmp_path / "text")
    with Ledger.open(tmp_path / "newer") as ledger:
        ledger._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="made by a newer llmrg"):
        Ledger.open(tmp_path / "newer")
