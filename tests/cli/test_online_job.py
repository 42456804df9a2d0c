"""A language model from the command line: budgets, dry runs, kills, and a key that is seen nowhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.graph.store import GraphStore
from llmrg.reasoners.ledger import Ledger
from llmrg.reasoners.openai_endpoint import wire_body
from llmrg.reasoning.agent import reason_about

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FAULTS, FaultServer

SERVER = Path(__file__).parents[1] / "reasoners" / "fault_server.py"
KEY = "sk-canary-4711-never-to-be-seen"
KILLS, MANY_USERS = 20, 560
PROGRAM = "from llmrg.cli import main\nif __name__ == '__main__':\n    main()\n"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as started:
        yield started


def model(url: str, **settings: object) -> list[str]:
    values = {"language_model.model": "gpt-5-mini", "language_model.base_url": url, **settings}
    return [*QUICK, *(part for k, v in values.items() for part in ("--set", f"llmrg.{k}={v}"))]


def everything_under(folder: Path) -> bytes:
    """All bytes written, unpacked where they are packed."""
    found = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for path in folder.rglob("ledger.sqlite"):
        connection = sqlite3.connect(path)
        for body, reply in connection.execute("SELECT body, coalesce(reply, x'') FROM requests"):
            found += zlib.decompress(body) + (zlib.decompress(reply) if reply else b"")
        connection.close()
    return found


# ------------------------------------------------------------ money


def test_a_run_tells_what_it_paid_and_a_second_one_pays_nothing(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    line = ("generate", NAME, *model(server.base_url), "--json")
    first = llmrg(*line)
    assert first.code == 0
    told = first.document
    assert (told["done"], told["failed"]) == (30, 0)
    assert told["usage"]["calls"] == server.answered - 2  # the endpoint was asked what it keeps to
    assert 0 < told["usd"] < 1
    assert set(told["rungs"]) <= {"valid", "salvaged", "repaired", "lenient"}
    asked = len(server.requests)
    again = llmrg(*line)
    assert again.document["skipped"] == 30
    assert len(server.requests) == asked
    status = llmrg("status", NAME, "--json").document["job"]
    assert status["ledger"]["done"] == status["ledger"]["attempts"] == asked
    assert status["ledger"]["prompt_tokens"] == server.prompt_tokens
    assert status["running"] is False
    assert status["last_run"]["done"] == 30
    assert {"users_per_second", "calls_per_second", "tokens_per_second", "usd", "projected_usd"} <= set(
        status["last_run"]["figures"]
    )
    words = llmrg("status", NAME).out
    assert "paid" in words
    assert "not running, 30 of 30 users" in words


@pytest.mark.parametrize(
    "limit", [("--budget-usd", "0.02"), ("--max-calls", "31"), ("--max-tokens", "90000")]
)
def test_a_budget_ends_with_exit_code_2_and_the_run_goes_on_later(
    llmrg: Command, room: Path, server: FaultServer, limit: tuple[str, str]
) -> None:
    line = ("generate", NAME, *model(server.base_url, **{"generation.wave": 8}))
    stopped = llmrg(*line, *limit)
    assert stopped.code == 2
    assert stopped.err.splitlines()[-1].startswith("stopped: the ")
    assert "raise the limit and run the same command again" in stopped.err
    usd = (0.25 * server.prompt_tokens + 2.0 * server.completion_tokens) / 1e6
    spent = {"--budget-usd": usd, "--max-calls": len(server.requests), "--max-tokens": server.tokens}
    assert 0 < spent[limit[0]] <= float(limit[1])
    assert llmrg(*line).code == 0
    assert set(Counter(one.key for one in server.requests).values()) == {1}


def test_a_budget_needs_a_price(llmrg: Command, room: Path, server: FaultServer) -> None:
    settings = {"language_model.model": "my-own", "language_model.structured_output": "json_schema"}
    line = ("generate", NAME, *model(server.base_url, **settings), "--budget-usd", "1")
    told_in_one_line(llmrg(*line), "the price of 'my-own' is unknown", "llmrg.job.input_price")
    priced = llmrg(*line, "--set", "llmrg.job.input_price=0", "--set", "llmrg.job.output_price=0")
    assert priced.code == 0


def test_a_pilot_tells_what_all_users_would_cost(llmrg: Command, room: Path, server: FaultServer) -> None:
    line = ("generate", NAME, *model(server.base_url))
    pilot = llmrg(*line, "--pilot", "5")
    assert pilot.code == 0
    assert "all 30: about $" in pilot.out
    paid = len(server.requests)
    assert paid < 30
    assert llmrg(*line).code == 0
    assert set(Counter(one.key for one in server.requests).values()) == {1}


def test_limits_without_a_language_model_are_refused(llmrg: Command, room: Path) -> None:
    told_in_one_line(llmrg("generate", NAME, *QUICK, "--budget-usd", "1"), "are for a language model")


# ------------------------------------------------------------ privacy


def test_a_dry_run_sends_nothing_and_writes_exactly_what_is_sent_next(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    line = ("generate", NAME, *model(server.base_url, **{"generation.wave": 10}))
    dry = llmrg(*line, "--dry-run", "--json")
    assert dry.code == 0
    assert server.requests == []
    assert dry.document["users"] == 10
    assert dry.document["assumed"] is True
    folder = room / "llmrg-data" / NAME
    assert [path.name for path in folder.iterdir()] == ["dry-run.jsonl"]
    planned = [json.loads(words) for words in (folder / "dry-run.jsonl").read_text().splitlines()]
    assert llmrg(*line, "--max-calls", "12").code == 2
    probes, sent = server.requests[:2], server.requests[2:]
    assert not [one for one in probes if "DATA" in str(one.body)]
    assert sorted(json.dumps(one.body) for one in sent) == sorted(json.dumps(one["body"]) for one in planned)
    later = llmrg(*line, "--dry-run", "--json").document  # the first stage is recorded: now the second
    assert later["assumed"] is False
    assert (
        "masks"
        in json.loads((folder / "dry-run.jsonl").read_text().splitlines()[0])["body"]["messages"][1][
            "content"
        ]
    )
    assert llmrg(*line).code == 0
    assert llmrg(*line, "--dry-run", "--json").document["requests"] == 0


def test_graphs_that_were_paid_for_are_not_replaced_by_another_reasoner(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    assert llmrg("generate", NAME, *QUICK).code == 0
    line = ("generate", NAME, *model(server.base_url))
    assert llmrg(*line).code == 0  # in place of the embedded reasoner's, which cost nothing
    asked = len(server.requests)
    told_in_one_line(llmrg("generate", NAME, *QUICK), "30 graphs by", "--folder")
    compare = ("compare", "SASRec", NAME, "--arms", "base,enhanced", "--epochs", "1", "--processes", "1")
    told_in_one_line(llmrg(*compare, *QUICK), "30 graphs by", "--set llmrg.language_model.model=NAME")
    assert llmrg(*compare, *model(server.base_url)).code == 0  # with graphs that are there
    assert llmrg(*line).code == 0
    assert len(server.requests) == asked
    assert llmrg("generate", NAME, *QUICK, "--folder", "embedded").code == 0


def test_a_dry_run_of_a_pilot_writes_what_the_pilot_would_send(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    line = ("generate", NAME, *model(server.base_url), "--pilot", "4")
    assert llmrg(*line, "--dry-run", "--json").document["users"] == 4
    assert server.requests == []


def failing(monkeypatch: pytest.MonkeyPatch, spared: int = 0) -> None:
    """Let all users but the first few fail before anything is asked."""
    begun = count()

    def broken(*given: object, **named: object) -> object:
        if next(begun) >= spared:
            raise ValueError("nothing comes to mind")
        return reason_about(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("llmrg.reasoning.thinker.reason_about", broken)


def test_a_dry_run_in_which_users_fail_says_so(
    llmrg: Command, room: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("generate", NAME, *model(server.base_url), "--dry-run")
    failing(monkeypatch, spared=2)
    some = llmrg(*line, "--json")
    assert some.code == 0
    assert (some.document["users"], some.document["failed"]) == (2, 28)
    failing(monkeypatch, spared=2)
    assert "users who fail before anything more is asked: 28" in llmrg(*line).out
    failing(monkeypatch)
    told_in_one_line(llmrg(*line), "nothing was written", ": 30, first 'u", "nothing comes to mind")
    assert server.requests == []


def test_a_pilot_in_which_everybody_fails_fails(
    llmrg: Command, room: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch)
    line = ("generate", NAME, *model(server.base_url), "--pilot", "5")
    told_in_one_line(llmrg(*line), "has a graph (5 of 30 users failed)")


def test_arrays_are_named_only_where_a_pilot_has_made_any(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    line = ("generate", NAME, *model(server.base_url, **{"generation.wave": 8}), "--json", "--pilot")
    part = llmrg(*line, "5")
    assert (part.document["done"], part.document["arrays"]) == (5, None)
    assert "arrays" not in part.err.split()
    whole = llmrg(*line, "8")
    assert Path(whole.document["arrays"]).is_dir()
    assert "arrays" in whole.err.split()


@pytest.mark.parametrize("fault", ["ok", "bad_key", "error_500", "bad_request"])
def test_the_key_is_in_no_file_and_no_word(
    llmrg: Command, room: Path, server: FaultServer, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server._queue = iter(["ok"] * 20 + [fault] * 400)
    quick = {"job.attempts": 2, "job.deadline": 0.5, "job.breaker": 2}
    said = llmrg("generate", NAME, *model(server.base_url, **quick))
    shown = llmrg("status", NAME)
    assert any(KEY in one.headers.get("Authorization", "") for one in server.requests)
    assert KEY not in said.out + said.err + shown.out + shown.err
    assert "Traceback" not in said.err
    assert KEY.encode() not in everything_under(room)
    assert server.base_url.encode() not in everything_under(room)


# ------------------------------------------------------------ faults


def test_every_passing_and_every_wordy_fault_is_survived_and_the_books_agree(
    llmrg: Command, room: Path
) -> None:
    stopping = {
        "insufficient_quota",
        "bad_key",
        "forbidden",
        "unknown_model",
        "unknown_model_ollama",
        "moved",
    }
    slow = {"hang", "huge", "slow", "retry_after_300", "retry_after_1", "retry_after_date"}
    faults = [fault for fault in FAULTS if fault not in stopping | slow]
    due, seen = cycle([part for fault in faults for part in (fault, None)]), set()

    def every_fault_in_turn(number: int, body: dict[str, object]) -> str | None:
        key = json.dumps(body, sort_keys=True)
        fresh = key not in seen and number >= 2  # the first two are the probe's
        seen.add(key)
        return next(due) if fresh else None

    with FaultServer(every_fault_in_turn) as server:
        line = ("generate", NAME, *model(server.base_url), "--json")
        told = llmrg(*line).document
        met = Counter(one.fault for one in server.requests)
        assert set(faults) <= set(met)
        assert told["done"] + told["failed"] == 30
        assert told["done"] >= 10
        assert {"valid", "lenient", "repaired", "limit_raised"} <= set(told["rungs"])
        ledger = llmrg("status", NAME, "--json").document["job"]["ledger"]
        assert ledger["attempts"] == len(server.requests)
        assert ledger["done"] == server.answered
        unsaid = sum(one.tokens for one in server.requests if one.fault == "missing_usage")
        assert ledger["prompt_tokens"] == server.prompt_tokens - unsaid
        assert ledger["unsure_tokens"] > 0
        silent = {"drop", "not_json", "error_inside", "error_408", "error_409", "error_500", "error_503"}
        final = Counter(one.key for one in server.requests if one.fault not in silent)
        assert set(final.values()) == {1}  # answered or refused for good: never asked again
        server.script = ()
        again = llmrg(*line).document
        assert again["skipped"] == told["done"]


# ------------------------------------------------------------ kills


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """The fault server as a process; its address and its record."""
    record = folder / f"record-{len(list(folder.glob('record-*')))}.jsonl"
    record.touch()
    command = [sys.executable, str(SERVER), "--record", str(record), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), record
    finally:
        process.kill()
        process.wait()


def totals_of(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url.replace("/v1", "/totals"), timeout=10) as answer:
        return json.load(answer)


def started(folder: Path, line: list[str]) -> subprocess.Popen[str]:
    (folder / "command.py").write_text(PROGRAM)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "command.py"), *line]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environ
    )


def open_requests(folder: Path) -> set[str]:
    """Server-side keys of requests in flight, by the ledger of a process that is gone."""
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        keys = set()
        for request in ledger.unanswered():
            text = json.dumps(wire_body(request.body, "127.0.0.1"), sort_keys=True).encode()
            keys.add(hashlib.blake2b(text, digest_size=16).hexdigest())
        return keys


def contents(folder: Path) -> tuple[object, ...]:
    with GraphStore.open(folder / "graphs.sqlite") as store:
        knowledge = [(r.scope, r.key, r.wave, r.document) for r in store.knowledge()]
        return store.content_hash(), store.failures(), knowledge, len(store)


@pytest.fixture(scope="module")
def many_users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    planted = planted_themes(num_users=MANY_USERS, num_items=60, num_themes=4, length=10, signal=0.7, seed=6)
    write_atomic_files(folder, NAME, planted.sequences, catalog=planted.catalog)
    return folder


@pytest.mark.slow
def test_twenty_kills_leave_what_an_uninterrupted_run_leaves(tmp_path: Path, many_users: Path) -> None:
    """At least 2,000 requests; nothing is asked twice but what was in flight at a kill."""
    rng = random.Random(8)
    with serving(tmp_path, "--latency", "0.02", "--faults", "error_500,drop", "--share", "0.01") as (
        url,
        record,
    ):
        line = ["generate", NAME, "--data-path", str(many_users), "--folder", "killed"]
        line += model(url, **{"generation.knowledge": False, "job.concurrency": 16})
        in_flight: Counter[str] = Counter()
        for kill in range(1, KILLS + 1):
            process = started(tmp_path, line)
            due = max(int(2000 * kill / (KILLS + 1)), record_length(record) + 3) + rng.randrange(30)
            while record_length(record) < due:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            in_flight.update(open_requests(tmp_path / "killed"))
        last = started(tmp_path, line)
        _, words = last.communicate(timeout=120)
        assert last.returncode == 0, words
        served = totals_of(url)
        lines = [json.loads(words) for words in record.read_text().splitlines()]
    with Ledger.open(tmp_path / "killed" / "ledger.sqlite") as ledger:
        totals = ledger.totals()
        assert ledger.verify() == []
    asked = Counter(one["key"] for one in lines if one["fault"] is None)
    assert len(lines) == served["requests"] >= 2000
    assert not {key for key, times in asked.items() if times > 1 + in_flight[key]}
    assert 0 <= totals.attempts - served["requests"] <= sum(in_flight.values())
    assert 0 <= served["answered"] - totals.done <= sum(in_flight.values())
    assert totals.open == 0
    with serving(tmp_path) as (url, _):
        line = ["generate", NAME, "--data-path", str(many_users), "--folder", "whole"]
        whole = started(tmp_path, [*line, *model(url, **{"generation.knowledge": False})])
        _, words = whole.communicate(timeout=120)
        assert whole.returncode == 0, words
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def record_length(record: Path) -> int:
    return record.read_bytes().count(b"\n")


def test_a_terminated_run_lets_calls_come_home_and_the_next_one_asks_for_none_of_them(
    room: Path, llmrg: Command
) -> None:
    with serving(room, "--latency", "0.05") as (url, record):
        line = ["generate", NAME, *model(url, **{"job.concurrency": 4})]
        process = started(room, line)
        while record_length(record) < 12:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        status = llmrg("status", NAME, "--json").document["job"]
        assert status["running"] is True
        told_in_one_line(llmrg(*line), "another run works on this folder")
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=30)
        assert process.returncode == 130
        assert words.splitlines()[-1] == "interrupted; what is finished is kept, run the same command again"
        with Ledger.open(room / "llmrg-data" / NAME / "ledger.sqlite") as ledger:
            totals = ledger.totals()
        assert totals.done == totals.attempts == totals_of(url)["answered"]
        assert llmrg(*line).code == 0
        keys = Counter(json.loads(words)["key"] for words in record.read_text().splitlines())
        assert set(keys.values()) == {1}
