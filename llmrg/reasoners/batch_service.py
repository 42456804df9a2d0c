"""The files and batches API of a host: a file handed in, looked after, and its answers fetched.

Promise: a batch that the host made and whose name was lost on the way back (a kill, a dropped connection) is found
again by the digest it carries, and not handed in twice, where the host lists its batches and it is among the newest
:data:`MOST_LISTED`; a host without a list cannot be asked, and gets the file again. Failures are an
:class:`~llmrg.reasoners.endpoint.EndpointError` as everywhere, and the key is in none of them; what a host tells is
foreign data, and something else than a batch is such a failure.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.plain_text import plain_line
from llmrg.reasoners.batch_files import URL
from llmrg.reasoners.endpoint import EndpointError, FaultKind
from llmrg.reasoners.endpoint_faults import fault_of
from llmrg.reasoners.openai_endpoint import open_client
from llmrg.settings import LanguageModelSettings
from llmrg.whole_files import whole_file

WINDOW = "24h"  # the only one the format knows
TAG = "llmrg"  # under which a batch carries its file's digest
SECONDS_FOR_A_FILE = 1800.0  # up or down, 200 MB
LOST = frozenset({"failed", "expired", "cancelling", "cancelled"})
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
PAGE = 100  # batches; the most a host lists at once
MOST_LISTED = 2000  # batches
_NO_LIST = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class HostBatch:
    """A batch as its host tells of it.

    Args:
        status: ``validating``, ``in_progress``, ``finalizing``, or one of :data:`ENDED`.
        done: requests answered so far.
        total: requests in it.
        files: that hold answers and errors.
        problems: why it failed as a whole.
    """

    status: str
    done: int
    total: int
    files: tuple[str, ...]
    problems: tuple[str, ...]


class BatchService:
    """See the module. Use it in one event loop, and close it there.

    Args:
        settings: ``base_url``, ``timeout`` and ``local_only``.
        environ: environment variables, with the key.
        now: seconds since the epoch.

    Raises:
        SettingsError: see :func:`~llmrg.reasoners.openai_endpoint.open_client`.
    """

    def __init__(
        self,
        settings: LanguageModelSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._key = open_client(settings, environ)
        self._now = now
        self.host: str = self._client.base_url.host

    async def submit(self, path: Path, digest: str) -> str:
        """Hand a file in, unless the host has it already and says so (see the module).

        Args:
            path: of the file.
            digest: what the batch is told by.

        Returns:
            The host's name for the batch.

        Raises:
            EndpointError: it could not be handed in.
        """
        with self._told():
            there = await self._find(digest)
            if there is not None:
                return there
            patient = self._client.with_options(timeout=SECONDS_FOR_A_FILE)
            with path.open("rb") as file:
                sent = await patient.files.with_raw_response.create(file=(path.name, file), purpose="batch")
            file_id = self._named(sent)["id"]
            batch = await self._client.batches.with_raw_response.create(
                input_file_id=file_id, endpoint=URL, completion_window=WINDOW, metadata={TAG: digest}
            )
            return str(self._named(batch)["id"])

    async def look(self, host_id: str) -> HostBatch:
        """How a batch stands.

        Raises:
            EndpointError: the host does not say.
        """
        with self._told():
            batch = self._named(await self._client.batches.with_raw_response.retrieve(host_id))
        status = batch.get("status")
        if not isinstance(status, str):
            raise self._no_service()
        counts, errors = _mapping(batch.get("request_counts")), _objects(_mapping(batch.get("errors")))
        names = (batch.get("output_file_id"), batch.get("error_file_id"))
        return HostBatch(
            status=plain_line(status, 40),
            done=_count(counts, "completed") + _count(counts, "failed"),
            total=_count(counts, "total"),
            files=tuple(name for name in names if isinstance(name, str) and name),
            problems=tuple(
                plain_line(str(error.get("message") or error.get("code")), 300) for error in errors
            ),
        )

    async def fetch(self, file_id: str, to: Path) -> None:
        """Write a file of the host's to disk; it appears whole or not at all.

        Raises:
            EndpointError: it could not be had, or is no file of JSON lines (a proxy's page, for one).
        """
        patient = self._client.with_options(timeout=SECONDS_FOR_A_FILE)
        with whole_file(to) as part:
            with self._told():
                async with patient.files.with_streaming_response.content(file_id) as answer:
                    with part.open("wb") as file:
                        async for piece in answer.iter_bytes():
                            file.write(piece)
            with part.open("rb") as file:
                start = file.read(100).strip()
            if start and not start.startswith(b"{"):
                raise self._no_service()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _find(self, digest: str) -> str | None:
        """A living batch that carries the digest, among the newest :data:`MOST_LISTED`."""
        import openai

        after: dict[str, str] = {}
        for _ in range(MOST_LISTED // PAGE):
            try:
                answer = await self._client.batches.with_raw_response.list(limit=PAGE, **after)
            except openai.APIStatusError as error:
                if error.status_code in _NO_LIST:  # not every host has a list
                    return None
                raise
            page = self._object(answer)
            batches = [batch for batch in _objects(page) if isinstance(batch.get("id"), str)]
            for batch in batches:
                if _mapping(batch.get("metadata")).get(TAG) == digest and batch.get("status") not in LOST:
                    return str(batch["id"])
            if not page.get("has_more") or not batches:
                return None
            after = {"after": batches[-1]["id"]}
        return None

    def _object(self, answer: Any) -> Mapping[str, Any]:
        """The JSON object that a raw answer holds."""
        try:
            found = json.loads(answer.content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._no_service()
        return found

    def _named(self, answer: Any) -> Mapping[str, Any]:
        """The JSON object that a raw answer holds, which has an ``id``."""
        found = self._object(answer)
        if not (isinstance(found.get("id"), str) and found["id"]):
            raise self._no_service()
        return found

    def _no_service(self) -> EndpointError:
        return EndpointError(
            f"{self.host} answered with something else than a batch service does; is the address that of its /v1?",
            kind=FaultKind.RETRY,
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        import aiohttp
        import httpx2  # the one that openai is built on
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise fault_of(
                error.status_code, error.response.headers, error.body, secret=self._key, now=self._now()
            ) from None
        except (openai.APIError, httpx2.HTTPError, aiohttp.ClientError):  # a stream's come as they are
            what = f"no connection to {self.host}, or one that broke"
            raise EndpointError(what, kind=FaultKind.RETRY) from None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a list of the host's holds."""
    data = page.get("data")
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0
