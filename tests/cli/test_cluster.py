"""A language model asked through a dask cluster: the graphs of one process, also when a worker is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.graph.store import GraphStore
from llmrg.reasoners.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FaultServer

pytest.importorskip("distributed")

KEY, DRIVERS_KEY = "sk-of-the-workers-4711", "sk-of-the-driver-0815"
SETTINGS: dict[str, Any] = {
    "language_model.model": "gpt-5-mini",
    "language_model.structured_output": "json_schema",
    "generation.wave": 16,
    "generation.knowledge_min_score": 0.1,
    "job.concurrency": 8,
}
OPTIONS = (*QUICK, *(part for name, value in SETTINGS.items() for part in ("--set", f"llmrg.{name}={value}")))
SECONDS_TO_START, KILLS, IN_FLIGHT = 60, 6, 32


class Cluster:
    """A scheduler and two workers without nannies, as processes."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.environ = {k: v for k, v in os.environ.items() if "API_KEY" not in k} | {"OMP_NUM_THREADS": "1"}
        self._said = folder / "scheduler.json"
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self._said))
        self._wait_for(self._said.exists)
        self.address: str = json.loads(self._said.read_text())["address"]
        self.workers = [self._worker(number) for number in range(2)]
        self._wait_for(lambda: all("Registered to" in self._log(f"worker-{n}") for n in range(2)))

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        options = ("--no-nanny", "--nthreads", "1", "--host", "127.0.0.1", "--memory-limit", "0")
        return self.start(
            "worker", self.address, *options, log=f"worker-{number}", environ={"OPENAI_API_KEY": KEY}
        )

    def start(
        self, what: str, *options: str, log: str = "scheduler", environ: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"{log}.log").open("ab"),
            env=self.environ | (environ or {}),
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    def _wait_for(self, there: Callable[[], bool]) -> None:
        ends = time.monotonic() + SECONDS_TO_START
        while not there():
            assert time.monotonic() < ends, [path.read_text() for path in self._folder.glob("*.log")]
            time.sleep(0.05)

    def replace(self, number: int) -> None:
        """Kill a worker and start another one in its place, without waiting for it."""
        self.workers[number].send_signal(signal.SIGKILL)
        self.workers[number] = self._worker(number)

    def words(self) -> str:
        return "".join(path.read_text() for path in self._folder.glob("*.log"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster"), stack)


def contents(folder: Path) -> tuple[object, ...]:
    with GraphStore.open(folder / "graphs.sqlite") as store:
        knowledge = [(row.scope, row.key, row.wave, row.document) for row in store.knowledge()]
        return store.content_hash(), store.failures(), knowledge, len(store)


def test_two_workers_end_as_one_process_and_so_they_do_when_one_is_killed(
    llmrg: Command, room: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as server:
        assert llmrg("generate", NAME, *OPTIONS, "--base-url", server.base_url, "--folder", "alone").code == 0
        calls = len(server.requests)
    monkeypatch.setenv("OPENAI_API_KEY", DRIVERS_KEY)  # which stays where it is

    def run(folder: str, server: FaultServer) -> str:
        at = ("--base-url", server.base_url, "--scheduler", cluster.address, "--folder", folder)
        outcome = llmrg("generate", NAME, *OPTIONS, *at)
        assert outcome.code == 0, outcome.err
        return outcome.err

    with FaultServer(latency=0.02) as server:
        said = run("whole", server)
        assert set(Counter(one.key for one in server.requests).values()) == {1}
        assert {one.headers["Authorization"] for one in server.requests} == {f"Bearer {KEY}"}
        assert server.most_flying > 2  # more at once than workers
    assert contents(room / "whole") == contents(room / "alone")

    def kill_one_on_the_way(number: int, body: dict[str, object]) -> None:
        if number == calls // 3:
            cluster.workers[0].send_signal(signal.SIGKILL)

    with FaultServer(kill_one_on_the_way, latency=0.02) as server:
        said += run("killed", server)
        times = Counter(one.key for one in server.requests)
        assert len(times) == calls
        twice = len(server.requests) - calls
    in_flight = SETTINGS["job.concurrency"]  # at the server, or answered and on its way back
    assert 0 < twice <= in_flight
    assert cluster.workers[0].poll() is None or cluster.workers[0].wait() == -signal.SIGKILL
    assert contents(room / "killed") == contents(room / "alone")
    with Ledger.open(room / "killed" / "ledger.sqlite") as ledger:
        totals = ledger.totals()
        assert ledger.verify() == []
    assert (totals.done, totals.open) == (calls, 0)
    assert twice <= totals.attempts - calls <= 2 * in_flight
    assert totals.unsure_usd > 0  # what nobody heard the end of stays counted
    written = b"".join(path.read_bytes() for path in room.rglob("*") if path.is_file())
    assert KEY not in said + cluster.words()
    assert DRIVERS_KEY not in said + cluster.words()
    assert KEY.encode() not in written


@pytest.mark.slow
def test_workers_killed_over_and_over_leave_what_one_process_leaves(
    llmrg: Command, tmp_path: Path, cluster: Cluster
) -> None:
    """At least 2,000 requests; whoever is killed is replaced."""
    planted = planted_themes(num_users=560, num_items=60, num_themes=4, length=10, signal=0.7, seed=6)
    write_atomic_files(tmp_path / "many", NAME, planted.sequences, catalog=planted.catalog)
    speed = ("--set", f"llmrg.job.concurrency={IN_FLIGHT}", "--set", "llmrg.generation.wave=256")
    line = ("generate", NAME, *OPTIONS, *speed, "--data-path", tmp_path / "many")
    with FaultServer() as server:
        assert llmrg(*line, "--base-url", server.base_url, "--folder", "alone").code == 0
        calls = len(server.requests)
    assert calls >= 2000
    rng, kills = random.Random(3), []

    def kill_now_and_then(number: int, body: dict[str, object]) -> None:
        if number and number % (calls // (KILLS + 1)) == 0 and len(kills) < KILLS:
            kills.append(number)
            cluster.replace(rng.randrange(2))

    with FaultServer(kill_now_and_then, latency=0.02) as server:
        at = ("--base-url", server.base_url, "--scheduler", cluster.address, "--folder", "killed")
        outcome = llmrg(*line, *at)
        assert outcome.code == 0, outcome.err
        times = Counter(one.key for one in server.requests)
    assert len(kills) == KILLS
    assert len(times) == calls
    # what was in flight is asked again: at the server, or answered and on its way back
    assert len(server.requests) - calls <= KILLS * IN_FLIGHT < calls / 10
    assert contents(Path("killed")) == contents(Path("alone"))
    with Ledger.open(Path("killed") / "ledger.sqlite") as ledger:
        assert ledger.verify() == []
        assert (ledger.totals().done, ledger.totals().open) == (calls, 0)


def test_what_a_worker_cannot_do_stops_the_run_with_its_reason(
    llmrg: Command, room: Path, cluster: Cluster
) -> None:
    line = ("generate", NAME, *OPTIONS, "--scheduler", cluster.address)
    with FaultServer(["bad_key"] * 99) as server:
        told_in_one_line(llmrg(*line, "--base-url", server.base_url), "set OPENAI_API_KEY", "401")
    local = ("--base-url", "http://93.184.216.34/v1", "--local-only")
    told_in_one_line(llmrg(*line, *local), "on a worker:", "loopback or private")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--scheduler", "tcp://127.0.0.1:9", "--set", "llmrg.language_model.model=m"),
            "no dask scheduler answers",
        ),
        (
            ("--scheduler", "127.0.0.1:9", "--set", "llmrg.language_model.model=m"),
            "expected an address such as",
        ),
        (("--scheduler", "tcp://127.0.0.1:9"), "--scheduler is for a language model"),
    ],
)
def test_a_scheduler_that_cannot_be_used_is_told_in_one_line(
    llmrg: Command, room: Path, options: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmrg.reasoners.dask_endpoint.SECONDS_TO_CONNECT", 0.5)
    told_in_one_line(llmrg("generate", NAME, *QUICK, *options), words)


def test_without_the_extra_its_name_is_told_and_dask_is_imported_by_nothing_else(
    llmrg: Command, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys, llmrg.cli.app, llmrg.job.assembly, llmrg.reasoners.dask_endpoint; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"dask", "distributed"} & set(done.stdout.split())
    monkeypatch.setattr("llmrg.reasoners.dask_endpoint.find_spec", lambda name: None)
    line = ("--set", "llmrg.language_model.model=m", "--scheduler", "tcp://127.0.0.1:9")
    told_in_one_line(llmrg("generate", NAME, *QUICK, *line), "pip install 'llmrg[dask]'")
