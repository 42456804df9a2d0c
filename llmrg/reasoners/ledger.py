"""The ledger: every completion ever asked for a job, what it answered, and what it cost.

Promise: a completion that was answered is never asked again; what is read back is what was written, or a
:class:`~llmrg.errors.StoreError`. A row is keyed by :attr:`CompletionRequest.content_hash`, so the ledger outlives
a change of recipe and knows neither user nor address nor key. An attempt is written down before it is sent, at its
worst case: whatever ends the process, its money is accounted for.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llmrg.errors import StoreError
from llmrg.fingerprint import canonical_json, fingerprint_text
from llmrg.graph.store_schema import explained, open_database, transaction
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.ledger_schema import APPLICATION_ID, FAIL, MIGRATIONS, SEND, SETTLE

LEDGER_FILE = "ledger.sqlite"
COMPRESSION = 1  # of bodies: a third of the time of zlib's default for a tenth more bytes

_KEPT = tuple(each.name for each in dataclasses.fields(Completion) if each.name != "recorded")
_REPLAYED_FAULTS = (FaultKind.REJECTED, FaultKind.OVERFLOW)


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """What a ledger adds up to.

    Args:
        planned: requests not sent yet.
        open: requests whose last attempt has no known end (in flight, at a kill, or when a connection broke).
        done: requests answered.
        failed: requests that ended without an answer.
        attempts: times anything was sent.
        prompt_tokens: tokens in, of the answers.
        completion_tokens: tokens out, of the answers.
        cached_tokens: of the tokens in, those read from the server's prompt cache.
        usd: US dollars of the answers.
        unsure_tokens: worst case of all attempts without a known end.
        unsure_usd: worst case of all attempts without a known end, in US dollars.
    """

    planned: int = 0
    open: int = 0
    done: int = 0
    failed: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0
    unsure_tokens: int = 0
    unsure_usd: float = 0.0


class Ledger:
    """An open ledger; use :meth:`open`, as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Open a ledger, migrating an older one.

        Args:
            path: the file, by custom :data:`LEDGER_FILE` next to the graph store.
            create: make a missing file (and its folder) instead of refusing it.

        Raises:
            StoreError: missing, corrupt, no ledger at all, made by a newer llmrg, or in use.
        """
        connection = open_database(
            path,
            create=create,
            missing="no language model was asked yet",
            migrations=MIGRATIONS,
            application_id=APPLICATION_ID,
            what="ledger",
        )
        return cls(path, connection)

    def close(self) -> None:
        """Close the file; using the ledger afterwards is an error."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def look_up(self, request: CompletionRequest) -> Completion | EndpointError | None:
        """What is recorded of a request: its answer, its final failure, or ``None`` if it has to be asked.

        Final are the failures that asking again cannot mend; what was worth a retry or ended a run is not.

        Raises:
            StoreError: the record does not agree with its hash.
        """
        row = self._one(
            "SELECT state, reply, reply_hash, fault, status, message FROM requests WHERE hash = ?",
            (request.content_hash,),
        )
        if row is None:
            return None
        state, reply, digest, fault, status, message = row
        if state == "done":
            return self._completion(request.content_hash, reply, digest)
        if state == "failed" and fault in _REPLAYED_FAULTS:
            return EndpointError(f"{message} (recorded)", kind=FaultKind(fault), status=status)
        return None

    def plan(self, requests: Iterable[CompletionRequest]) -> int:
        """Write requests down that are to be sent later, in one transaction; known ones stay as they are.

        Returns:
            How many were new.
        """
        before = self._connection.total_changes
        with explained(self.path, "ledger"), transaction(self._connection):
            self._connection.executemany(
                "INSERT OR IGNORE INTO requests (hash, body, state) VALUES (?, ?, 'planned')",
                ((request.content_hash, _pack(request.text)) for request in requests),
            )
        return self._connection.total_changes - before

    def unanswered(self) -> Iterator[CompletionRequest]:
        """Requests that have no final outcome, in the order they were first written down."""
        finals = ", ".join(f"'{fault}'" for fault in _REPLAYED_FAULTS)
        sql = f"SELECT hash, body FROM requests WHERE state <> 'done' AND fault NOT IN ({finals}) ORDER BY id"
        with explained(self.path, "ledger"):
            for digest, blob in self._connection.execute(sql):
                yield self._request(digest, blob)

    def answered(self, most: int) -> Iterator[tuple[CompletionRequest, int]]:
        """The newest answered requests and how many tokens their prompts were, by the server's count."""
        sql = "SELECT hash, body, prompt_tokens FROM requests WHERE state = 'done' ORDER BY id DESC LIMIT ?"
        with explained(self.path, "ledger"):
            for digest, blob, tokens in self._connection.execute(sql, (most,)):
                yield self._request(digest, blob), tokens

    def send(self, request: CompletionRequest, *, worst_tokens: int = 0, worst_usd: float = 0.0) -> None:
        """Write down that a request is about to be sent, and what that may cost at worst.

        An attempt of the same request that never came to a known end is counted as lost from now on.
        """
        blob = _pack(request.text)
        self._write(SEND, (request.content_hash, blob, worst_tokens, worst_usd))

    def settle(
        self,
        content_hash: str,
        completion: Completion,
        *,
        usd: float = 0.0,
        seconds: float = 0.0,
        unsure: bool = False,
    ) -> bool:
        """Write an answer down; the first one stays, so answers may come twice and in any order.

        Args:
            content_hash: of a request that was planned or sent.
            completion: what was answered.
            usd: US dollars it cost.
            seconds: it took.
            unsure: the server did not say what it used; the attempt's worst case is kept beside the answer.

        Returns:
            Whether it was written: it is the first answer, to a request the ledger knows.
        """
        reply = canonical_json({name: getattr(completion, name) for name in _KEPT})
        changed = self._write(
            SETTLE,
            (
                *(_pack(reply), fingerprint_text([reply]), completion.model),
                *(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens),
                *(usd, seconds, unsure, unsure, content_hash),
            ),
        )
        return changed == 1

    def fail(
        self,
        content_hash: str,
        error: EndpointError,
        *,
        seconds: float = 0.0,
        known_end: bool = True,
    ) -> None:
        """Write down why an attempt brought nothing.

        Args:
            content_hash: of a request that was planned or sent.
            error: why.
            seconds: it took.
            known_end: the server said no; otherwise it may have worked, and sent the bill, unheard.
        """
        state = "failed" if known_end else "sent"
        self._write(FAIL, (state, error.kind.value, error.status, str(error), seconds, content_hash))

    def totals(self) -> LedgerTotals:
        """Counts and sums over all rows."""
        row = self._one(
            "SELECT coalesce(sum(state = 'planned'), 0), coalesce(sum(state = 'sent'), 0), "
            "coalesce(sum(state = 'done'), 0), coalesce(sum(state = 'failed'), 0), coalesce(sum(attempts), 0), "
            "coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0), coalesce(sum(cached_tokens), 0), "
            "coalesce(sum(usd), 0.0), coalesce(sum(lost_tokens + (state = 'sent') * worst_tokens), 0), "
            "coalesce(sum(lost_usd + (state = 'sent') * worst_usd), 0.0) FROM requests"
        )
        assert row is not None
        return LedgerTotals(*row)

    def served_models(self) -> dict[str, int]:
        """Models that answered, as the server names them, to their number of answers."""
        sql = "SELECT model, count(*) FROM requests WHERE state = 'done' GROUP BY model ORDER BY model"
        with explained(self.path, "ledger"):
            return dict(self._connection.execute(sql).fetchall())

    def verify(self) -> list[str]:
        """Problems of the file: SQLite's own check, then every hash, derived again."""
        problems = []
        try:
            with explained(self.path, "ledger"):
                check = self._connection.execute("PRAGMA integrity_check").fetchall()
                problems += [row[0] for row in check if row[0] != "ok"]
                rows = self._connection.execute("SELECT hash, body, state, reply, reply_hash FROM requests")
                for digest, body, state, reply, reply_hash in rows:
                    try:
                        self._unpack(digest, "request", body)
                        if state == "done":
                            self._completion(digest, reply, reply_hash)
                    except StoreError as error:
                        problems.append(str(error))
        except StoreError as error:
            problems.append(str(error))
        return problems

    def _request(self, digest: str, blob: bytes) -> CompletionRequest:
        return CompletionRequest(json.loads(self._unpack(digest, "request", blob)))

    def _completion(self, name: str, blob: bytes, digest: str) -> Completion:
        values = json.loads(self._unpack(digest, f"reply to {name}", blob))
        return Completion(**{**values, "recorded": True})

    def _unpack(self, digest: str, what: str, blob: bytes) -> str:
        try:
            text = zlib.decompress(blob).decode("utf-8", "surrogatepass")
        except (zlib.error, UnicodeDecodeError, TypeError) as error:
            raise StoreError(f"{self.path}: {what} {digest} is corrupt: {error}; restore a copy") from error
        found = fingerprint_text([text])
        if found != digest:
            raise StoreError(f"{self.path}: {what}: expected hash {digest}, found {found}; restore a copy")
        return text

    def _write(self, sql: str, values: tuple[Any, ...]) -> int:
        with explained(self.path, "ledger"):
            return self._connection.execute(sql, values).rowcount

    def _one(self, sql: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        with explained(self.path, "ledger"):
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return row


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"), COMPRESSION)
