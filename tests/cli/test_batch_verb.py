"""Graphs by batch files: the same ones as online, from any host or none, whatever the files look like."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.cli.app import run
from llmrg.graph.store import GraphStore
from llmrg.reasoners.batch_ledger import BatchLedger

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from batch_host import BatchHost, answer_file, answer_lines
from fault_server import FaultServer

KEY = "sk-canary-0815-never-to-be-seen"
ROUNDS = 40  # far more than any job here needs
SETTINGS = {
    "language_model.model": "gpt-5-mini",
    "language_model.structured_output": "json_schema",
    "generation.wave": 16,
    "generation.knowledge_min_score": 0.1,
}
OPTIONS = (*QUICK, *(part for name, value in SETTINGS.items() for part in ("--set", f"llmrg.{name}={value}")))
FEW = ("--max-users", "8")
Document = dict[str, object]


@pytest.fixture
def home(room: Path) -> Path:
    """The folder of the graphs."""
    return room / "llmrg-data" / NAME


@pytest.fixture
def export(llmrg: Command) -> Callable[..., Document]:
    """Export with the options of these tests."""

    def exported(*options: str) -> Document:
        outcome = llmrg("batch", "export", NAME, *OPTIONS, "--json", *options)
        assert outcome.code == 0, outcome.err
        return outcome.document

    return exported


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection is a failure."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def contents(folder: Path) -> tuple[object, ...]:
    with GraphStore.open(folder / "graphs.sqlite") as store:
        knowledge = [(row.scope, row.key, row.wave, row.document) for row in store.knowledge()]
        return store.content_hash(), store.failures(), knowledge, len(store)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def the_file(told: Document) -> Path:
    (path,) = map(Path, told["files"])  # type: ignore[call-overload]
    return path


# ------------------------------------------------------------ the same graphs


def test_a_run_by_files_ends_byte_for_byte_as_one_online_with_1_and_with_64_in_flight(
    llmrg: Command, home: Path, room: Path, export: Callable[..., Document]
) -> None:
    while not (told := export())["finished"]:
        assert llmrg("batch", "ingest", NAME, answer_file(the_file(told))).code == 0
    by_files = contents(home)
    assert by_files[3] == 30
    assert by_files[2]  # knowledge, of which the second wave learnt
    for concurrency in (1, 64):
        with FaultServer() as server:
            at = ("--base-url", server.base_url, "--folder", f"online-{concurrency}")
            pace = ("--set", f"llmrg.job.concurrency={concurrency}")
            assert llmrg("generate", NAME, *OPTIONS, *at, *pace).code == 0
        assert contents(room / f"online-{concurrency}") == by_files
        arrays = sorted((room / f"online-{concurrency}" / "arrays").glob("*.npy"))
        assert arrays
        for path in arrays:
            assert path.read_bytes() == (home / "arrays" / path.name).read_bytes()


def test_parts_in_any_order_and_twice_with_no_network_and_nothing_asked_twice(
    llmrg: Command, export: Callable[..., Document], no_network: None
) -> None:
    rounds, asked = 0, Counter[str]()
    while not (told := export(*FEW))["finished"]:
        rounds += 1
        assert rounds < ROUNDS
        path = the_file(told)
        asked.update(ids(path))
        if rounds == 1:
            again = export(*FEW)
            assert (again["files"], again["out"]) == ({}, told["requests"])
        lines = answer_file(path, fault=lambda number: "truncated" if number % 7 == 3 else None)
        whole = lines.read_text().splitlines(keepends=True)
        odd, even = lines.with_suffix(".odd"), lines.with_suffix(".even")
        odd.write_text("".join(whole[1::2][::-1]))
        even.write_text("".join(whole[::2][::-1]))
        if rounds > 1:
            llmrg("batch", "ingest", NAME, *FEW, odd, even)
            continue
        first = llmrg("batch", "ingest", NAME, *FEW, odd, "--json").document
        assert (first["answered"], first["out"]) == (len(whole[1::2]), len(whole[::2]))
        second = llmrg("batch", "ingest", NAME, *FEW, even, odd, "--json").document
        assert (second["answered"], second["known"], second["out"]) == (
            len(whole[::2]),
            len(whole[1::2]),
            0,
        )
    assert rounds > 2
    assert set(asked.values()) == {1}


def test_half_the_answers_take_their_users_on_and_the_others_stay_out(
    llmrg: Command, home: Path, export: Callable[..., Document]
) -> None:
    path = the_file(export())
    half = path.with_suffix(".half")
    half.write_text("".join(line + "\n" for line in answer_lines(path.read_text().splitlines()[:9])[0]))
    shown = llmrg("batch", "ingest", NAME, half)
    assert "7 of 16 in 0001.jsonl" in shown.out
    assert "7 in 0001.jsonl" in llmrg("status", NAME).out
    assert "next" in shown.out
    told = export()
    assert (told["requests"], told["out"]) == (9, 7)
    assert not set(ids(path)) & set(ids(the_file(told)))
    once_more = export("--again")
    assert once_more["requests"] == 16
    with BatchLedger.open(home / "ledger.sqlite") as ledger:
        assert [file.out for file in ledger.files()] == [0, 0, 16]
        assert ledger.totals().attempts == 9 + 7 + 9 + 16


def run_and_kill(line: Sequence[str], seconds: float) -> bool:
    """Run a command line in a process that is killed after so many seconds; whether it came to its end."""
    process = os.fork()
    if process == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)  # which nothing survives, and nothing is told
        os._exit(run(line))
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_steps_that_are_killed_leave_what_uninterrupted_ones_leave(
    llmrg: Command, home: Path, room: Path, export: Callable[..., Document]
) -> None:
    rng, kills, asked = random.Random(4), 0, Counter[str]()
    killed = home.with_name(f"{NAME}-first-8")
    while True:
        line = ["batch", "export", NAME, *OPTIONS, *FEW]
        kills += sum(not run_and_kill(line, rng.uniform(0.02, 0.5)) for _ in range(3))
        if export(*FEW)["finished"]:
            break
        with BatchLedger.open(killed / "ledger.sqlite") as ledger:
            (out,) = [file.name for file in ledger.files() if file.out]
        asked.update(ids(killed / "batches" / out))
        line = ["batch", "ingest", NAME, *FEW, str(answer_file(killed / "batches" / out))]
        kills += sum(not run_and_kill(line, rng.uniform(0.001, 0.03)) for _ in range(3))
        assert llmrg(*line).code == 0
    assert kills > 5
    assert set(asked.values()) == {1}
    with FaultServer() as server:
        at = ("--base-url", server.base_url, "--folder", "online")
        assert llmrg("generate", NAME, *OPTIONS, *FEW, *at).code == 0
        assert len(server.requests) == len(asked)
    assert contents(room / "online") == contents(killed)


# ------------------------------------------------------------ files as they come


def test_lines_that_are_of_no_use_are_counted_and_nothing_else_is_lost(
    llmrg: Command, home: Path, export: Callable[..., Document]
) -> None:
    path = the_file(export())
    asked = path.read_text().splitlines()
    good = answer_lines(asked)[0]
    other = json.loads(good[3])
    other["response"]["body"]["model"] = "gpt-5-nano"
    html = {**json.loads(good[4]), "response": {"status_code": 200, "body": "<html>"}}
    lines = [
        *(good[0], good[0], good[1], ""),
        good[2].replace('"custom_id": "', '"custom_id": "\\ud800'),
        *(json.dumps(other), json.dumps(html), asked[5]),
        *(good[8].replace(json.loads(good[8])["custom_id"], "x"), "[1, 2]", "[" * 100_000),
        *('{"custom_id": 7}', "\x00\x1b[31m", json.dumps({"custom_id": json.loads(good[6])["custom_id"]})),
        good[7][: len(good[7]) // 2],
    ]
    bad = path.with_suffix(".bad")
    bad.write_text("\n".join(lines), encoding="utf-8")
    bad.write_bytes(b"\xff\xfe not text\n" + bad.read_bytes())
    shown = llmrg("batch", "ingest", NAME, bad, "--json")
    assert shown.code == 0
    assert shown.document["unusable"] == {
        "not a line of JSON, or one that was cut off": 4,
        "of a request that was never made here": 2,
        "answered by another model": 1,
        "an answer that is no chat completion": 1,
        "a request, not an answer; is this the file that was exported?": 1,
        "without a custom_id": 2,
        "with neither a response nor an error": 1,
    }
    assert (shown.document["answered"], shown.document["known"], shown.document["out"]) == (2, 1, 14)
    assert "\x1b" not in shown.err
    assert "0001.bad:7: answered by another model" in shown.err
    rest = llmrg("batch", "ingest", NAME, answer_file(path), "--json").document
    assert (rest["answered"], rest["known"], rest["out"]) == (14, 2, 0)
    with BatchLedger.open(home / "ledger.sqlite") as ledger:
        assert ledger.verify() == []


def test_another_model_is_taken_only_where_that_is_said(
    llmrg: Command, export: Callable[..., Document]
) -> None:
    path = the_file(export())
    answers = answer_file(path, server=FaultServer(served="a/colleague's-model"))
    refused = llmrg("batch", "ingest", NAME, answers)
    assert refused.code == 1
    assert "16 lines answered by another model" in refused.err
    assert llmrg("batch", "ingest", NAME, answers, "--any-model", "--json").document["answered"] == 16


@pytest.mark.parametrize("content", ["", "<html>503</html>\n", "\n\n"])
def test_a_file_with_nothing_in_it_is_an_error(
    llmrg: Command, export: Callable[..., Document], tmp_path: Path, content: str
) -> None:
    export()
    (tmp_path / "empty.jsonl").write_text(content)
    refused = llmrg("batch", "ingest", NAME, "empty.jsonl")
    assert refused.code == 1
    assert refused.err.splitlines()[-1].startswith("error: empty.jsonl: expected answers in the batch format")


def test_failures_are_told_apart_and_an_old_file_of_them_says_nothing_new(
    llmrg: Command, home: Path, export: Callable[..., Document]
) -> None:
    path = the_file(export())
    met = {1: "error_500", 2: "bad_request", 3: "overflow_vllm", 4: "insufficient_quota", 5: "expired"}
    answers, errors = answer_lines(path.read_text().splitlines(), fault=met.get)
    for name, lines in (("answers", answers), ("errors", errors)):
        (home / name).write_text("".join(line + "\n" for line in lines))
    told = llmrg("batch", "ingest", NAME, home / "errors", home / "answers", "--json").document
    assert (told["answered"], told["refused"], told["again"], told["out"]) == (11, 2, 3, 0)
    anew = the_file(export())
    assert len({ids(path)[number] for number in (1, 4, 5)} & set(ids(anew))) == 3
    assert ids(path)[2] not in ids(anew)
    told = llmrg("batch", "ingest", NAME, home / "answers", home / "errors", "--json").document
    assert (told["answered"], told["again"], told["known"]) == (0, 0, 16)
    assert export()["files"] == {}  # what was written anew is still out


def test_a_request_that_fails_every_time_is_given_up_and_the_job_ends(
    llmrg: Command, export: Callable[..., Document]
) -> None:
    options = ("--max-users", "3", "--set", "llmrg.job.attempts=2")
    for _ in range(ROUNDS):
        told = export(*options)
        if told["finished"]:
            break
        answers = answer_file(the_file(told), fault=lambda number: "error_503" if number == 0 else None)
        told = llmrg("batch", "ingest", NAME, "--max-users", "3", answers)
    assert told["finished"]


# ------------------------------------------------------------ money


def test_a_budget_holds_at_the_price_of_batches(
    llmrg: Command, home: Path, export: Callable[..., Document]
) -> None:
    first = export("--budget-usd", "0.03")
    assert 0 < first["requests"] < 16
    assert first["held_back"] == 16 - first["requests"]  # type: ignore[operator]
    with BatchLedger.open(home / "ledger.sqlite") as ledger:
        assert 0 < ledger.totals().unsure_usd <= 0.03
    server = FaultServer()
    told = llmrg("batch", "ingest", NAME, answer_file(the_file(first), server=server), "--json").document
    half_price = (0.125 * server.prompt_tokens + 1.0 * server.completion_tokens) / 1e6
    assert told["usd"] == pytest.approx(half_price)
    stopped = llmrg("batch", "export", NAME, *OPTIONS, "--max-calls", str(first["requests"]))
    assert stopped.code == 2
    assert stopped.err.splitlines()[-1].startswith("stopped: the limit of")


def test_a_run_online_warns_of_what_is_out(llmrg: Command, export: Callable[..., Document]) -> None:
    export()
    with FaultServer() as server:
        shown = llmrg("generate", NAME, *OPTIONS, "--base-url", server.base_url)
    assert shown.code == 0
    assert "warning: 16 requests are out in batch files" in shown.err


# ------------------------------------------------------------ a host's service


def test_submit_and_poll_survive_a_lost_answer_an_expired_and_a_failed_batch(
    llmrg: Command, home: Path, room: Path, export: Callable[..., Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = ""
    home = home.with_name(f"{NAME}-first-8")
    with BatchHost(fates=("lost", "expired", "failed")) as host:
        at = (*FEW, "--base-url", host.base_url, "--local-only")
        for round_ in range(ROUNDS):
            if export(*FEW, "--base-url", host.base_url)["finished"]:
                break
            sent = llmrg("batch", "submit", NAME, *at)
            again = llmrg("batch", "submit", NAME, *at, "--json")
            assert again.document["submitted"] == []
            if round_ == 0:
                assert "1 files handed in" in sent.out
                looked = llmrg("batch", "poll", NAME, *at, "--once", "--json").document
                assert (looked["waiting"], looked["answered"]) == (["0001.jsonl"], 0)
            polled = llmrg("batch", "poll", NAME, *at, "--interval", "0.05")
            assert polled.code == 0, polled.err
            said += sent.out + sent.err + polled.out + polled.err
    with BatchLedger.open(home / "ledger.sqlite") as ledger:
        assert {file.host_id for file in ledger.files()} == set(host.batches)  # none was made twice
    assert "Enqueued token limit reached" in said
    assert KEY not in said
    written = b"".join(path.read_bytes() for path in room.rglob("*") if path.is_file())
    assert KEY.encode() not in written
    assert host.base_url.encode() not in written
    with FaultServer() as server:
        assert (
            llmrg("generate", NAME, *OPTIONS, *FEW, "--base-url", server.base_url, "--folder", "online").code
            == 0
        )
    assert contents(room / "online") == contents(home)


def test_answers_of_another_model_stay_paid_for_and_are_not_asked_for_again(
    llmrg: Command, home: Path, export: Callable[..., Document]
) -> None:
    export()
    with BatchHost(served="my-deployment", looks=0) as host:
        at = ("--base-url", host.base_url, "--local-only")
        assert llmrg("batch", "submit", NAME, *at).code == 0
        polled = llmrg("batch", "poll", NAME, *at)
    answers = home.relative_to(Path.cwd()) / "batches" / "0001.answers-1.jsonl"
    assert polled.code == 0, polled.err
    assert "16 requests stay out" in polled.out
    assert f"batch ingest DATASET --any-model {answers}" in " ".join(polled.out.split())
    assert "written anew" not in polled.out
    with BatchLedger.open(home / "ledger.sqlite") as ledger:
        totals = ledger.totals()
        assert (totals.open, totals.attempts) == (16, 16)
        assert totals.unsure_usd > 0
    told = export()
    assert (told["files"], told["out"]) == ({}, 16)
    taken = llmrg("batch", "ingest", NAME, "--any-model", answers, "--json").document
    assert (taken["answered"], taken["out"]) == (16, 0)


def test_poll_takes_another_models_answers_where_that_is_said(
    llmrg: Command, export: Callable[..., Document]
) -> None:
    export()
    with BatchHost(served="my-deployment", looks=0) as host:
        at = ("--base-url", host.base_url, "--local-only")
        assert llmrg("batch", "submit", NAME, *at).code == 0
        told = llmrg("batch", "poll", NAME, *at, "--any-model", "--json").document
    assert (told["answered"], told["kept"], told["kept_in"], told["out"]) == (16, 0, [], 0)


def test_local_only_hands_nothing_to_a_foreign_host(llmrg: Command, export: Callable[..., Document]) -> None:
    export()
    at = ("--base-url", "https://93.184.216.34/v1", "--local-only")
    told_in_one_line(llmrg("batch", "submit", NAME, *at), "expected a host that is loopback or private")


# ------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("export", NAME, *QUICK), "batch files are for a language model"),
        (("ingest", NAME), "expected files of answers"),
        (("ingest", NAME, "answers.jsonl"), "run `llmrg batch export` first"),
        (("poll", NAME, "--again"), "--again is for `llmrg batch export`"),
        (("submit", NAME, "a-file"), "a file is for `llmrg batch ingest`"),
        (("submit", NAME, "--any-model"), "--any-model is for `llmrg batch ingest`"),
    ],
)
def test_wrong_use_is_told_in_one_line(llmrg: Command, line: tuple[str, ...], words: str) -> None:
    told_in_one_line(llmrg("batch", *line), words)


@pytest.mark.parametrize(
    ("exports", "calls"),
    [
        ("exit 1", "export"),  # such as a key that is missing
        ("""echo '{"finished": true}'""", "export"),
        (
            """[ $(grep -c export calls) = 2 ] && echo '{"finished": true}' || echo '{"finished": false}'""",
            "export submit poll export",
        ),
    ],
)
def test_the_loop_of_the_readme_ends_with_the_job_and_where_an_export_fails(
    tmp_path: Path, exports: str, calls: str
) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    loop = re.search(
        r"^(until|while) .*llmrg batch export.*\n.*; done", readme.read_text(encoding="utf-8"), re.M
    )
    assert loop is not None
    stub = tmp_path / "llmrg"
    stub.write_text(f"#!/bin/sh\necho $2 >> calls\n[ $2 = export ] || exit 0\n{exports}\n")
    stub.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", loop.group()], cwd=tmp_path, env=path, timeout=20, check=True)
    assert (tmp_path / "calls").read_text().split() == calls.split()
