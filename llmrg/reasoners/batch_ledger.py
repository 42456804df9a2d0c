"""The ledger's view of batch files: which requests are out in which file, and which host works on it.

Promise: a request that is out in a file is not written to a second one unless somebody asks for it; a file is known
to the ledger if, and only if, it lies complete on disk; the host's name for a batch is written down before anybody
waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmrg.errors import StoreError
from llmrg.graph.store_schema import explained, transaction
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.ledger import Ledger
from llmrg.reasoners.prices import Price


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A file of requests.

    Args:
        number: of the file, from 1.
        digest: content hash of the file.
        requests: in it.
        out: of these, without an outcome so far, and asked nowhere else.
        own_price: the settings' price when it was written, if they had one.
        host_id: the host's name for it; empty: it was not submitted by us.
        ended: the host is through with it, and all it answered is taken in.
    """

    number: int
    digest: str
    requests: int
    out: int
    own_price: Price | None
    host_id: str
    ended: bool

    @property
    def name(self) -> str:
        """Of the file on disk."""
        return batch_name(self.number)


class BatchLedger(Ledger):
    """A ledger that knows batch files; open it like one."""

    def outcome(
        self, request: CompletionRequest, attempts: int
    ) -> tuple[Completion | EndpointError | None, bool]:
        """What a request came to, and whether it is out in a file.

        Args:
            request: by its hash.
            attempts: after so many failed ones, a failure that asking again might mend counts as final.

        Raises:
            StoreError: the record does not agree with its hash.
        """
        known = self.look_up(request)
        if known is not None:
            return known, False
        row = self._one(
            "SELECT state, batch, attempts, fault, status, message FROM requests WHERE hash = ?",
            (request.content_hash,),
        )
        if row is None:
            return None, False
        state, batch, tried, fault, status, message = row
        if state == "failed" and fault == FaultKind.RETRY and tried >= attempts:
            return EndpointError(f"{message} (recorded)", kind=FaultKind.RETRY, status=status), False
        return None, state == "sent" and batch is not None

    def request_of(self, content_hash: str) -> tuple[CompletionRequest, int | None] | None:
        """The request of a hash and the number of the file it is out in, or was last."""
        row = self._one("SELECT body, batch FROM requests WHERE hash = ?", (content_hash,))
        return None if row is None else (self._request(content_hash, row[0]), row[1])

    def is_new_failure(self, line: str) -> bool:
        """Note a line that tells of a failed attempt; ``False``: it was told before.

        Args:
            line: its hash.
        """
        return self._write("INSERT OR IGNORE INTO batch_failures (line) VALUES (?)", (line,)) == 1

    @property
    def next_number(self) -> int:
        """Of the file to be written next."""
        row = self._one("SELECT coalesce(max(number), 0) + 1 FROM batches")
        assert row is not None
        return int(row[0])

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written inside the block is kept, or where it raises none of it."""
        with explained(self.path, "ledger"), transaction(self._connection):
            yield

    def put_out(self, request: CompletionRequest, number: int, *, tokens: int, usd: float) -> None:
        """Write down that a request goes out in a file, and what that may cost at worst."""
        self.send(request, worst_tokens=tokens, worst_usd=usd)
        self._write("UPDATE requests SET batch = ? WHERE hash = ?", (number, request.content_hash))

    def add_file(self, number: int, digest: str, requests: int, own_price: Price | None) -> None:
        """Write a file down that lies complete on disk."""
        prices = (None, None) if own_price is None else (own_price.input, own_price.output)
        self._write(
            "INSERT INTO batches (number, digest, requests, input_price, output_price) VALUES (?, ?, ?, ?, ?)",
            (number, digest, requests, *prices),
        )

    def submitted(self, number: int, host_id: str) -> None:
        """Write the host's name for a file down."""
        self._write("UPDATE batches SET host_id = ? WHERE number = ?", (host_id, number))

    def end(self, number: int, why: str, *, unread: Collection[str] = ()) -> int:
        """The host is through with a file: what it left alone was no attempt, and may be asked again.

        Args:
            number: of the file.
            why: the host left it alone.
            unread: hashes of requests whose answer is there, and paid, but was not taken: they stay out, at their
                worst case. An empty one: nobody knows whose answer it is, so all of them do.

        Returns:
            How many requests may be asked again.
        """
        with self.together():
            self._write("UPDATE batches SET ended = 1 WHERE number = ?", (number,))
            if "" in unread:
                return 0
            return self._write(
                "UPDATE requests SET state = 'failed', fault = ?, message = ?, attempts = attempts - 1 "
                "WHERE batch = ? AND state = 'sent' AND hash NOT IN (SELECT value FROM json_each(?))",
                (FaultKind.RETRY.value, why, number, json.dumps(sorted(unread))),
            )

    def files(self) -> list[BatchFile]:
        """All files, in the order they were written."""
        sql = (
            "SELECT number, digest, requests, "
            "(SELECT count(*) FROM requests WHERE batch = number AND state = 'sent'), "
            "input_price, output_price, host_id, ended FROM batches ORDER BY number"
        )
        with explained(self.path, "ledger"):
            rows = self._connection.execute(sql).fetchall()
        return [
            BatchFile(
                *(number, digest, requests, out),
                None if input_ is None else Price(input_, output),
                host_id,
                bool(ended),
            )
            for number, digest, requests, out, input_, output, host_id, ended in rows
        ]

    def file(self, number: int) -> BatchFile:
        """One file.

        Raises:
            StoreError: there is none of this number.
        """
        for found in self.files():
            if found.number == number:
                return found
        raise StoreError(f"{self.path}: expected batch file {number}, found none of that number")


def batch_name(number: int) -> str:
    """Of a file on disk.

    >>> batch_name(7)
    '0007.jsonl'
    """
    return f"{number:04d}.jsonl"
