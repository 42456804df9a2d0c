"""The client of a language model: calls a second, time lost beside the endpoint's own, memory, and a second run.

Promise: calls go the whole way (ledger, budget, retries, limits, the OpenAI client, loopback) to a stub in a process
of its own that answers at once, or after a second; memory is the peak of a fresh process that planned a million
requests and began to send them; the second run finds every user done.

Run: ``python benchmarks/client_throughput.py [--calls N] [--planned N] [--users N] [--json]``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _script import end, open_parser, positive, show

TARGETS = {
    "calls_per_second": ">= 1000",
    "waiting_share": ">= 0.95",
    "planned_rss_gb": "<= 1",
    "second_run_seconds": "<= 30",
    "second_run_calls": "<= 0",
}

IN_FLIGHT = 64
SLOW_SECONDS, SLOW_ROUNDS = 1.0, 8
PREFIX = (
    "You explain, step by step, why a person chose things one after another. " * 60
)  # as long as a real prompt
REPLY = json.dumps(
    {"links": [{"item": 1, "reason": "the same theme goes on", "sources": [0]}] * 4, "extensions": []}
)
WAVE, ITEMS, HISTORY = 64, 1000, 6


class Stub(asyncio.Protocol):
    """Answers every request with the same completion; as little HTTP as the client needs."""

    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, ANSWER)


def answer() -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": REPLY}}
    usage = {"prompt_tokens": 1200, "completion_tokens": 150, "total_tokens": 1350}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [choice],
        "usage": usage,
    }
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(text),
        text,
    )


ANSWER = answer()


async def serve(latency: float) -> None:
    Stub.latency = latency
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def stub(latency: float) -> Iterator[str]:
    """The address of a stub in its own process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def question(number: int):
    from llmrg.reasoners.endpoint import CompletionRequest

    messages = [
        {"role": "system", "content": PREFIX},
        {"role": "user", "content": f"user {number}: " + "item " * 100},
    ]
    return CompletionRequest({"model": "stub", "messages": messages, "max_completion_tokens": 500})


@contextmanager
def runner(folder: Path, url: str):
    """The whole way to an endpoint."""
    from llmrg.reasoners.budget import Budget, BudgetLimits
    from llmrg.reasoners.calls import Calls
    from llmrg.reasoners.ledger import Ledger
    from llmrg.reasoners.limits import Limits
    from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
    from llmrg.reasoners.prices import Price, price_table
    from llmrg.reasoners.runner import OnlineRunner
    from llmrg.reasoners.traffic import EventLog
    from llmrg.settings import LanguageModelSettings

    endpoint = OpenAIEndpoint(LanguageModelSettings(model="stub", base_url=url), environ={})
    with Ledger.open(folder / "ledger.sqlite") as ledger, EventLog(folder / "events.jsonl") as events:
        budget = Budget(BudgetLimits(usd=1e9), price_table(), own_price=Price(1.0, 2.0))
        calls = Calls(endpoint, ledger, budget, Limits(IN_FLIGHT, clock=time.monotonic), events=events)
        with OnlineRunner(calls, users_in_flight=IN_FLIGHT, at_end=endpoint.aclose) as online:
            yield online, ledger


def one(number: int):
    return (yield question(number))


def measure_calls(calls: int) -> dict[str, float]:
    """Calls a second, and CPU of a call in this process."""
    with tempfile.TemporaryDirectory() as folder, stub(0.0) as url, runner(Path(folder), url) as (online, _):
        online.run(one(-number) for number in range(1, 200))  # connections, imports
        started, busy = time.perf_counter(), time.process_time()
        online.run(one(number) for number in range(calls))
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {"calls_per_second": calls / seconds, "cpu_ms_per_call": 1000 * busy / calls}


def measure_waiting() -> dict[str, float]:
    """Share of the wall clock that the endpoint's own second takes."""
    calls = IN_FLIGHT * SLOW_ROUNDS
    with (
        tempfile.TemporaryDirectory() as folder,
        stub(SLOW_SECONDS) as url,
        runner(Path(folder), url) as (online, _),
    ):
        online.run(one(-number) for number in range(1, IN_FLIGHT + 1))
        started = time.perf_counter()
        online.run(one(number) for number in range(calls))
        seconds = time.perf_counter() - started
    return {"waiting_share": SLOW_ROUNDS * SLOW_SECONDS / seconds}


def measure_planned(planned: int) -> dict[str, float]:
    """Peak memory and time of a process that plans so many requests and sends the first of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        stub(0.0) as url,
        runner(Path(folder), url) as (online, ledger),
    ):
        started = time.perf_counter()
        ledger.plan(question(number) for number in range(planned))
        seconds = time.perf_counter() - started
        ledger_gb = (Path(folder) / "ledger.sqlite").stat().st_size / 1e9

        def sending():
            for number, request in enumerate(ledger.unanswered()):
                if number == 5000:
                    return
                yield ask(request)

        def ask(request):
            return (yield request)

        online.run(sending())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {"planned_rss_gb": peak, "plan_seconds": seconds, "ledger_gb": ledger_gb}


def measure_second_run(users: int) -> dict[str, float]:
    """Calls and seconds of a run that finds every user done; statistics of the data set included."""
    import random

    from llmrg.data.catalog import CatalogItem, ItemCatalog
    from llmrg.data.cooccurrence import Cooccurrence
    from llmrg.data.interactions import UserHistory
    from llmrg.graph.store import GraphStore
    from llmrg.reasoners.language_model import LanguageModel
    from llmrg.reasoning.draft import Draft
    from llmrg.reasoning.generate import generate, informative_attributes, recipe_fingerprint
    from llmrg.reasoning.world import World
    from llmrg.settings import GenerationSettings, LanguageModelSettings
    from llmrg.text.encoder import HashingEncoder
    from llmrg.text.grounding import Grounding

    rng = random.Random(2024)
    catalog = ItemCatalog([CatalogItem(f"i{n}", f"item number {n}") for n in range(ITEMS)])
    histories = [
        UserHistory(f"u{n}", tuple(f"i{k}" for k in rng.sample(range(ITEMS), HISTORY)), HISTORY - 1)
        for n in range(users)
    ]
    settings = GenerationSettings(wave=WAVE)
    model = LanguageModel(LanguageModelSettings(model="stub", structured_output="json_schema"))

    def world() -> World:
        return World(catalog, Cooccurrence(histories, catalog), Grounding(catalog, HashingEncoder()))

    recipe = recipe_fingerprint(settings, model, world(), informative_attributes(histories))
    with tempfile.TemporaryDirectory() as folder, stub(0.0) as url, runner(Path(folder), url) as (online, _):
        with GraphStore.open(Path(folder) / "graphs.sqlite") as store:
            store.keep_recipe(recipe)
            for wave in range(0, users, WAVE):
                graphs = []
                for history in histories[wave : wave + WAVE]:
                    draft = Draft(history, list(history.item_ids), ())
                    draft.add_items(0, HISTORY)
                    graphs.append(draft.finish(recipe=recipe, tau=settings.tau))
                store.put_wave(wave // WAVE, graphs)
        started = time.perf_counter()
        with GraphStore.open(Path(folder) / "graphs.sqlite") as store:
            report = generate(
                histories, catalog, model, store, engine=online, settings=settings, world=world()
            )
        seconds = time.perf_counter() - started
        assert report.skipped == users
        return {"second_run_seconds": seconds, "second_run_calls": online.traffic.calls}


def in_fresh_process(part: str, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--part", part, "--size", str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = open_parser(__doc__)
    parser.add_argument("--calls", type=positive, default=10_000)
    parser.add_argument("--planned", type=positive, default=1_000_000)
    parser.add_argument("--users", type=positive, default=100_000)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve is not None:
        asyncio.run(serve(chosen.serve))
        return
    parts = {
        "calls": (measure_calls, chosen.calls),
        "waiting": (lambda _: measure_waiting(), 0),
        "planned": (measure_planned, chosen.planned),
        "second_run": (measure_second_run, chosen.users),
    }
    if chosen.part:
        print(json.dumps(parts[chosen.part][0](chosen.size)))
        return
    figures: dict[str, float] = {}
    for part, (_, size) in parts.items():
        figures |= in_fresh_process(part, size)
    show(figures, TARGETS)
    end("client_throughput", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
