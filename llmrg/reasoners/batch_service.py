"""The files and batches API of a host: a file handed in, looked after, and its answers fetched.

Promise: nothing is handed in twice: a batch that the host made and whose name was lost on the way back (a kill, a
dropped connection) is found again by the digest it carries. Failures are an
:class:`~llmrg.reasoners.endpoint.EndpointError` as everywhere, and the key is in none of them.
"""

from __future__ import annotations

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

WINDOW = "24h"  # the only one the format knows
TAG = "llmrg"  # under which a batch carries its file's digest
SECONDS_FOR_A_FILE = 1800.0  # up or down, 200 MB
LOST = frozenset({"failed", "expired", "cancelling", "cancelled"})
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
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
        """Hand a file in, unless the host has it already.

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
                sent = await patient.files.create(file=(path.name, file), purpose="batch")
            batch = await self._client.batches.create(
                input_file_id=sent.id, endpoint=URL, completion_window=WINDOW, metadata={TAG: digest}
            )
            return str(batch.id)

    async def look(self, host_id: str) -> HostBatch:
        """How a batch stands.

        Raises:
            EndpointError: the host does not say.
        """
        with self._told():
            batch = await self._client.batches.retrieve(host_id)
        counts, errors = batch.request_counts, getattr(batch.errors, "data", None) or ()
        return HostBatch(
            status=str(batch.status),
            done=(counts.completed + counts.failed) if counts else 0,
            total=counts.total if counts else 0,
            files=tuple(name for name in (batch.output_file_id, batch.error_file_id) if name),
            problems=tuple(plain_line(str(error.message or error.code), 300) for error in errors),
        )

    async def fetch(self, file_id: str, to: Path) -> None:
        """Write a file of the host's to disk; it appears whole or not at all.

        Raises:
            EndpointError: it could not be had.
        """
        part = to.with_name(f"{to.name}.part")
        patient = self._client.with_options(timeout=SECONDS_FOR_A_FILE)
        with self._told():
            async with patient.files.with_streaming_response.content(file_id) as answer:
                with part.open("wb") as file:
                    async for piece in answer.iter_bytes():
                        file.write(piece)
        os.replace(part, to)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _find(self, digest: str) -> str | None:
        """A living batch that carries the digest, among the newest hundred."""
        import openai

        try:
            page = await self._client.batches.list(limit=100)
        except openai.APIStatusError as error:
            if error.status_code in _NO_LIST:  # not every host has a list
                return None
            raise
        for batch in page.data:
            metadata: Any = batch.metadata or {}
            if metadata.get(TAG) == digest and batch.status not in LOST:
                return str(batch.id)
        return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise fault_of(
                error.status_code, error.response.headers, error.body, secret=self._key, now=self._now()
            ) from None
        except openai.APIConnectionError:
            raise EndpointError(f"no connection to {self.host}", kind=FaultKind.RETRY) from None
