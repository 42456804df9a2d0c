"""What a cluster's misfortunes mean for a request, with a client that has them on demand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmrg.reasoners.dask_endpoint import DaskEndpoint, ask_here
from llmrg.reasoners.endpoint import Completion, CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.settings import LanguageModelSettings

pytest.importorskip("distributed")

WORKERS = ["tcp://one", "tcp://two"]
SETTINGS = LanguageModelSettings(model="toy", base_url="http://127.0.0.1:9/v1", timeout=2.0)
ASKED = CompletionRequest({"model": "toy", "messages": [{"role": "user", "content": "hello"}]})
ANSWERED = {"completion": {"text": "yes"}, "fault": None, "kind": None, "status": None, "retry_after": None}


class Client:
    """A dask client.

    Args:
        outcomes: of calls in turn: what a worker returns, an error, or ``None``: nothing ever.
        workers: there are, look by look; the last look stays.
    """

    def __init__(self, *outcomes: Any, workers: list[list[str]] | None = None) -> None:
        self.outcomes, self.workers = list(outcomes), workers or [WORKERS]
        self.asked: list[str] = []

    async def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.workers.pop(0) if len(self.workers) > 1 else self.workers[0], 1)

    async def run(self, function: Any, *arguments: str, workers: list[str]) -> dict[str, Any]:
        self.asked += workers
        outcome = self.outcomes.pop(0)
        await asyncio.sleep(0.01 if outcome is not None else 3600)
        if isinstance(outcome, Exception):
            raise outcome
        return {workers[0]: outcome}


async def ask(client: Client, times: int = 1) -> list[Completion | BaseException]:
    endpoint = DaskEndpoint("tcp://scheduler", SETTINGS)
    assert isinstance(endpoint, Endpoint)
    endpoint._client = client
    return await asyncio.gather(*(endpoint.complete(ASKED) for _ in range(times)), return_exceptions=True)


def test_calls_are_spread_over_the_workers() -> None:
    client = Client(*[ANSWERED] * 6)
    assert asyncio.run(ask(client, 6)) == [Completion("yes")] * 6
    assert sorted(client.asked) == sorted(WORKERS * 3)


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        (OSError("closed"), FaultKind.RETRY, "dask worker tcp://one was lost while it was asking"),
        (ModuleNotFoundError("No module named 'llmrg'"), FaultKind.STOP, "pip install 'llmrg[dask]'"),
        (
            RuntimeError("ConnectionPool is closed"),
            FaultKind.STOP,
            "the dask scheduler at tcp://scheduler is gone",
        ),
        (
            {**ANSWERED, "fault": "busy", "kind": "retry", "status": 429, "retry_after": 7.0},
            FaultKind.RETRY,
            "busy",
        ),
    ],
)
def test_misfortunes_have_their_kinds(outcome: Any, kind: FaultKind, words: str) -> None:
    (error,) = asyncio.run(ask(Client(outcome)))
    assert isinstance(error, EndpointError)
    assert error.kind is kind
    assert words in str(error)
    assert (error.status, error.retry_after) == ((429, 7.0) if words == "busy" else (None, None))


def test_a_worker_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrg.reasoners.dask_endpoint.SECONDS_BETWEEN_LOOKS", 0.02)
    (error,) = asyncio.run(ask(Client(None, workers=[WORKERS, WORKERS, WORKERS[1:]])))
    assert isinstance(error, EndpointError)
    assert error.kind is FaultKind.RETRY


def test_a_cluster_without_workers_says_how_to_start_one() -> None:
    (error,) = asyncio.run(ask(Client(workers=[[]])))
    assert isinstance(error, EndpointError)
    assert "dask worker tcp://scheduler" in str(error)
    assert error.known_end  # nobody was asked


def test_a_worker_tells_its_own_faults_as_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    told = asyncio.run(ask_here(SETTINGS.model_dump_json(), ASKED.text))
    assert (told["completion"], told["kind"], told["status"]) == (None, "retry", None)
    assert told["known_end"] is True  # nobody listens there, so nothing was sent
    for name in ("OPENAI_API_KEY", "LLMRG_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    own = LanguageModelSettings(model="toy")
    told = asyncio.run(ask_here(own.model_dump_json(), ASKED.text))
    assert told["kind"] == "stop"
    assert "needs a key" in told["fault"]
