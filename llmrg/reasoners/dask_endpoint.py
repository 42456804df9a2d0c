"""A language model asked through the workers of a dask cluster.

Promise: workers hold nothing but their connections. Each reads the key from its own environment, so no key passes the
scheduler; prompts and replies do. Ledger, budget, limits and retries stay with whoever drives the job: a worker that
is lost costs the requests it was just asking, which are counted at their worst and asked again elsewhere. dask never
repeats a request by itself (that would be paid for, and known to nobody), because none is one of its tasks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from llmrg.errors import LlmrgError, MissingExtraError, SettingsError
from llmrg.plain_text import plain_line
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
from llmrg.settings import LanguageModelSettings

SECONDS_TO_CONNECT = 10.0
SECONDS_BETWEEN_LOOKS = 1.0  # at which workers there are
SECONDS_ON_THE_WAY = 30.0  # to a worker and back, beside the call itself


class DaskEndpoint:
    """See the module. Use it in one event loop, and close it there.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``.
        settings: what each worker opens its endpoint with.
        clock: seconds, monotonic.

    Raises:
        MissingExtraError: dask is not installed.
        SettingsError: this is no address of a scheduler.
    """

    def __init__(
        self, address: str, settings: LanguageModelSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if find_spec("distributed") is None:
            raise MissingExtraError("distributed", extra="dask")
        if "://" not in address:
            raise SettingsError(
                f"--scheduler: expected an address such as tcp://10.0.0.1:8786, found {address!r}"
            )
        self._address, self._clock = address, clock
        self._settings = settings.model_dump_json()
        self._patience = settings.timeout + SECONDS_ON_THE_WAY
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._busy: Counter[str] = Counter()
        self._workers: set[str] = set()
        self._looked = float("-inf")

    async def complete(self, request: CompletionRequest) -> Completion:
        """One completion, by one request of one worker.

        Raises:
            EndpointError: it could not be had; there are no workers; the one that was asking is lost.
        """
        client = await self._connected()
        worker = await self._least_busy(client)
        self._busy[worker] += 1
        try:
            told = await self._told_by(worker, client, request)
        except OSError as error:  # dask's errors of communication, and of time, are such
            self._looked = float("-inf")
            what = f"dask worker {worker} was lost while it was asking ({type(error).__name__})"
            raise EndpointError(what, kind=FaultKind.RETRY) from None
        except RuntimeError:
            raise self._left_alone() from None
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise EndpointError(
                f"dask worker {worker} cannot run llmrg ({plain_line(str(error), 200)}); install this version there, "
                "with its extra: pip install 'llmrg[dask]'",
                kind=FaultKind.STOP,
            ) from None
        finally:
            self._busy[worker] -= 1
        if told["fault"] is None:
            return Completion(**told["completion"])
        raise EndpointError(
            told["fault"],
            kind=FaultKind(told["kind"]),
            status=told["status"],
            retry_after=told["retry_after"],
            known_end=told.get("known_end"),  # a worker of an older version does not say
        )

    async def aclose(self) -> None:
        """Leave the cluster; the workers stay."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> Any:
        async with self._opening:
            if self._client is None:
                from distributed import Client

                try:
                    self._client = await Client(
                        self._address, asynchronous=True, timeout=SECONDS_TO_CONNECT, set_as_default=False
                    )
                except (OSError, ValueError) as error:
                    raise EndpointError(
                        f"no dask scheduler answers at {self._address} ({plain_line(str(error), 200)}); "
                        "start one: dask scheduler",
                        kind=FaultKind.STOP,
                    ) from None
        return self._client

    async def _told_by(self, worker: str, client: Any, request: CompletionRequest) -> dict[str, Any]:
        """What a worker came to.

        Raises:
            OSError: it is lost, or takes far too long.
        """
        asking = asyncio.ensure_future(client.run(ask_here, self._settings, request.text, workers=[worker]))
        ends = self._clock() + self._patience
        try:
            while not asking.done():
                # dask itself goes on knocking at the door of a dead worker for half a minute
                await asyncio.wait({asking}, timeout=SECONDS_BETWEEN_LOOKS)
                if not asking.done() and (self._clock() > ends or worker not in await self._look(client)):
                    raise TimeoutError
            answers: dict[str, dict[str, Any]] = asking.result()
            return answers[worker]
        finally:
            asking.cancel()

    async def _look(self, client: Any) -> set[str]:
        """The workers there are, or were a moment ago."""
        now = self._clock()
        if not self._workers or now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            try:
                self._workers = set(await client.nthreads())
            except OSError:
                self._workers = set()
            except RuntimeError:  # the client has given up
                raise self._left_alone() from None
        return self._workers

    async def _least_busy(self, client: Any) -> str:
        workers = await self._look(client)
        if not workers:
            raise EndpointError(
                f"the dask scheduler at {self._address} has no workers; start some: dask worker {self._address}",
                kind=FaultKind.RETRY,
                known_end=True,
            )
        return min(sorted(workers), key=self._busy.__getitem__)

    def _left_alone(self) -> EndpointError:
        return EndpointError(
            f"the dask scheduler at {self._address} is gone; what was answered is kept: start it, and run the same "
            "command again",
            kind=FaultKind.STOP,
        )

    def __repr__(self) -> str:
        return f"DaskEndpoint({self._address!r})"


async def ask_here(settings: str, body: str) -> dict[str, Any]:
    """Ask for one completion from this process; what a worker runs.

    Args:
        settings: of the language model, as JSON.
        body: of the request, as JSON.

    Returns:
        Plain values: ``completion`` or ``fault`` with its ``kind``, ``status``, ``retry_after`` and ``known_end``.
    """
    nothing = {"completion": None, "fault": None, "kind": None, "status": None, "retry_after": None}
    try:
        found = await _endpoint(settings).complete(CompletionRequest(json.loads(body)))
    except EndpointError as error:
        why = {"kind": error.kind.value, "status": error.status, "retry_after": error.retry_after}
        return {**nothing, "fault": str(error), **why, "known_end": error.known_end}
    except LlmrgError as error:  # a setting that means nothing here, or no key in this environment
        return {**nothing, "fault": f"on a worker: {error}", "kind": FaultKind.STOP.value}
    return {**nothing, "completion": asdict(found)}


@lru_cache(maxsize=4)
def _endpoint(settings: str) -> OpenAIEndpoint:
    """The worker's connections, which outlive a request; a worker has one event loop."""
    return OpenAIEndpoint(LanguageModelSettings.model_validate_json(settings))
