"""Batch files: split at the limits, whole or not at all, and known to the ledger just when they are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmrg.errors import BudgetReached
from llmrg.reasoners.batch_files import BatchWriter, Ingested, ingest
from llmrg.reasoners.batch_ledger import BatchLedger
from llmrg.reasoners.budget import Budget, BudgetLimits
from llmrg.reasoners.endpoint import CompletionRequest
from llmrg.reasoners.prices import Price, price_table


def request(number: int) -> CompletionRequest:
    messages = [{"role": "user", "content": f"number {number:04d}"}]
    return CompletionRequest({"model": "gpt-5-mini", "messages": messages, "max_completion_tokens": 9})


def write(ledger: BatchLedger, folder: Path, count: int, **limits: int) -> list[Path]:
    budget = Budget(BudgetLimits(), price_table(), mode="batch")
    with BatchWriter(folder, ledger, budget, "api.openai.com", own_price=Price(1, 2), **limits) as writer:
        for number in range(count):
            writer.add(request(number))
    return list(writer.written)


def fill(writer: BatchWriter, count: int, then: BaseException | None = None) -> None:
    with writer:
        for number in range(count):
            writer.add(request(number))
        if then is not None:
            raise then


@pytest.mark.parametrize("limit", ["most_requests", "most_bytes"])
def test_files_are_split_at_the_limits(tmp_path: Path, limit: str) -> None:
    with BatchLedger.open(tmp_path / "ledger.sqlite") as ledger:
        (one,) = write(ledger, tmp_path / "one", 1)
        most = {"most_requests": 4, "most_bytes": 4 * one.stat().st_size + 1}[limit]
        paths = write(ledger, tmp_path / "many", 10, **{limit: most})
        assert [len(path.read_text().splitlines()) for path in paths] == [4, 4, 2]
        assert [path.name for path in paths] == ["0002.jsonl", "0003.jsonl", "0004.jsonl"]
        assert [(file.requests, file.out) for file in ledger.files()] == [(1, 0), (4, 4), (4, 4), (2, 2)]
        assert len({file.digest for file in ledger.files()}) == 4
        assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [path.name for path in paths]


def test_a_writer_that_is_stopped_leaves_neither_a_file_nor_a_note_of_it(tmp_path: Path) -> None:
    budget = Budget(BudgetLimits(), price_table())
    with BatchLedger.open(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(KeyboardInterrupt):
            fill(BatchWriter(tmp_path / "b", ledger, budget, "host"), 1, KeyboardInterrupt())
        assert list((tmp_path / "b").iterdir()) == []
        assert ledger.files() == []
        assert ledger.totals().attempts == 0
        assert ledger.next_number == 1


def test_the_worst_case_of_what_is_written_stays_counted_until_it_is_answered(tmp_path: Path) -> None:
    with BatchLedger.open(tmp_path / "ledger.sqlite") as ledger:
        limits = BudgetLimits(calls=3)
        budget = Budget(limits, price_table(), mode="batch")
        with pytest.raises(BudgetReached, match="limit of 3 calls"):
            fill(BatchWriter(tmp_path / "b", ledger, budget, "host"), 4)
        (path,) = write(ledger, tmp_path / "b", 2)
        assert ledger.totals().unsure_usd > 0
        body = {"model": "gpt-5-mini", "choices": [{"message": {"content": "yes"}}]}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        answers = [
            {"custom_id": request(0).content_hash, "response": {"status_code": 200, "body": body}},
            {
                "custom_id": request(1).content_hash,
                "response": {"status_code": 200, "body": {**body, "usage": usage}},
            },
        ]
        path.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
        found = Ingested()
        ingest(path, ledger, found)
        assert found.usd == pytest.approx((1000 * 1 + 100 * 2) / 1e6)  # the price noted with the file
        totals = ledger.totals()
        assert totals.open == 0
        assert 0 < totals.unsure_usd < 0.001  # the one that does not say what it used


def test_what_a_host_left_alone_was_no_attempt(tmp_path: Path) -> None:
    with BatchLedger.open(tmp_path / "ledger.sqlite") as ledger:
        write(ledger, tmp_path / "b", 2)
        ledger.submitted(1, "batch_1")
        assert (ledger.file(1).host_id, ledger.file(1).ended) == ("batch_1", False)
        assert ledger.end(1, "expired") == 2
        assert (ledger.file(1).out, ledger.file(1).ended) == (0, True)
        assert ledger.totals().attempts == 0
        assert ledger.totals().unsure_usd == 0
        assert ledger.outcome(request(0), attempts=1) == (None, False)


@pytest.mark.parametrize(("spoilt", "again"), [("another model", 1), ("cut off", 1), ("of nobody", 0)])
def test_what_has_a_line_that_is_of_no_use_is_paid_for_and_stays_out(
    tmp_path: Path, spoilt: str, again: int
) -> None:
    body = {"model": "other", "choices": [{"message": {"content": "yes"}}]}
    answer = {"custom_id": request(0).content_hash, "response": {"status_code": 200, "body": body}}
    line = json.dumps(answer)
    answers = tmp_path / "answers"
    answers.write_text({"cut off": line[:-20], "of nobody": "<html>"}.get(spoilt, line) + "\n")
    with BatchLedger.open(tmp_path / "ledger.sqlite") as ledger:
        write(ledger, tmp_path / "b", 2)
        unread = ingest(answers, ledger, Ingested())
        assert unread == {"" if spoilt == "of nobody" else request(0).content_hash}
        assert ledger.end(1, "completed", unread=unread) == again
        assert (ledger.file(1).out, ledger.file(1).ended) == (2 - again, True)
        assert ledger.totals().attempts == 2 - again
        assert ledger.totals().unsure_usd > 0
        assert ledger.outcome(request(0), attempts=1) == (None, True)
