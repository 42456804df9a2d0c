"""Files in the OpenAI batch format: requests written, answers read.

Promise: a file of requests is within the format's limits and appears whole or not at all, together with the ledger's
note of it. Answers may come in any order, in parts, twice, and from anybody who speaks the format: what is usable is
taken once, and every line that is not is counted, told and left where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any

from llmrg.fingerprint import fingerprint_text
from llmrg.plain_text import plain_line
from llmrg.reasoners.batch_ledger import BatchLedger, batch_name
from llmrg.reasoners.budget import Budget
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.endpoint_faults import fault_of
from llmrg.reasoners.openai_endpoint import completion_of, wire_body
from llmrg.reasoners.prices import FREE, Price, price_table

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000  # of one file
MOST_BYTES = 200_000_000
EXAMPLES = 5  # of bad lines that are quoted for each file
OTHER_MODEL = "answered by another model"
_NAME = re.compile(rb'"custom_id"\s*:\s*"([^"\\]*)"')  # found in a line that was cut off, too
_VERSION = r"(-\d{4}-\d{2}-\d{2}|-\d{3,}|:latest)?"  # what hosts append to the name they were asked by


def batch_line(request: CompletionRequest, host: str) -> dict[str, object]:
    """A request as a line of a file, worded for a host."""
    return {
        "custom_id": request.content_hash,
        "method": "POST",
        "url": URL,
        "body": wire_body(request.body, host),
    }


class BatchWriter:
    """Writes requests into as many files as they need; use as a context manager.

    Args:
        folder: of the files.
        ledger: notes what goes out.
        budget: of which the worst case of every request is taken.
        host: the bodies are worded for.
        own_price: noted with each file.
        most_requests: of one file.
        most_bytes: of one file.
    """

    def __init__(
        self,
        folder: Path,
        ledger: BatchLedger,
        budget: Budget,
        host: str,
        *,
        own_price: Price | None = None,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._folder, self._ledger, self._budget, self._host = folder, ledger, budget, host
        self._own_price, self._most = own_price, (most_requests, most_bytes)
        self._file: BufferedWriter | None = None
        self._number = self._requests = self._bytes = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._together = ExitStack()
        self.written: dict[Path, int] = {}  # to their number of requests

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        elif self._file is not None:
            self._file.close()
            Path(self._file.name).unlink()
            self._together.__exit__(kind, error, trace)

    def add(self, request: CompletionRequest) -> None:
        """Write one more request.

        Raises:
            BudgetReached: its worst case does not fit into the budget any more.
        """
        worst = self._budget.take(request)
        line = json.dumps(batch_line(request, self._host), ensure_ascii=True).encode() + b"\n"
        if self._requests == self._most[0] or self._bytes + len(line) > self._most[1]:
            self._finish()
        if self._file is None:
            self._begin()
            assert self._file is not None
        self._file.write(line)
        self._digest.update(line)
        self._requests, self._bytes = self._requests + 1, self._bytes + len(line)
        self._ledger.put_out(request, self._number, tokens=worst.tokens, usd=worst.usd)

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number = self._ledger.next_number
        self._digest = hashlib.blake2b(str(self._number).encode(), digest_size=16)
        self._together.enter_context(self._ledger.together())
        self._file = (self._folder / f"{batch_name(self._number)}.part").open("wb")

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        path = self._folder / batch_name(self._number)
        os.replace(self._file.name, path)
        self._ledger.add_file(self._number, self._digest.hexdigest(), self._requests, self._own_price)
        self._together.close()
        self.written[path] = self._requests
        self._file, self._requests, self._bytes = None, 0, 0


@dataclass
class Ingested:
    """What files of answers came to.

    Args:
        answered: requests that have their answer from now on.
        known: what was taken in before, or comes after an answer; the first answer stays.
        refused: requests that ended without an answer for good; thinking goes on without it.
        again: requests that failed in a way another attempt may mend; the next export writes them anew.
        unusable: lines that nothing could be made of, by what is wrong with them.
        examples: such lines and failures, with file, line and words.
        prompt_tokens: of the new answers.
        completion_tokens: of the new answers.
        usd: of the new answers, in US dollars.
    """

    answered: int = 0
    known: int = 0
    refused: int = 0
    again: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    @property
    def lines(self) -> int:
        """All lines that were read."""
        return self.answered + self.known + self.refused + self.again + self.unusable.total()


class _UnusableLineError(Exception):
    """A line that says nothing about a request of ours; its words count the lines like it."""

    def __init__(self, words: str, details: str = "") -> None:
        super().__init__(words)
        self.details = details


def ingest(path: Path, ledger: BatchLedger, into: Ingested, *, any_model: bool = False) -> set[str]:
    """Take the answers of one file in; all of them are written down together.

    Args:
        path: answers or errors, in the batch format.
        ledger: knows the requests.
        into: is added to.
        any_model: take also what another model answered than was asked.

    Returns:
        The ``custom_id`` of every line of no use; an empty one for a line that does not say whose it is.

    Raises:
        OSError: it cannot be read.
        StoreError: the ledger cannot be used.
    """
    prices = {file.number: file.own_price for file in ledger.files()}
    shown, unread = 0, set[str]()
    with path.open("rb") as lines, ledger.together():
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                words = _take(line, ledger, into, prices, any_model)
            except _UnusableLineError as error:
                into.unusable[str(error)] += 1
                unread.update(name.decode("ascii", "replace") for name in _NAME.findall(line) or [b""])
                words = str(error) + (f" ({plain_line(error.details, 200)})" if error.details else "")
            if words and shown < EXAMPLES:
                shown += 1
                into.examples.append(f"{path.name}:{number}: {words}")
    return unread


def _take(
    line: bytes,
    ledger: BatchLedger,
    into: Ingested,
    prices: Mapping[int, Price | None],
    any_model: bool,
) -> str:
    """Take one line in; words where it is worth telling."""
    name, found = _outcome(line)
    known = ledger.request_of(name) if name.isascii() else None
    if known is None:
        raise _UnusableLineError("of a request that was never made here", f"custom_id {name}")
    request, number = known
    if isinstance(found, EndpointError):
        # an old file of errors, taken in again, says nothing about the attempt that followed them
        if ledger.look_up(request) is not None or not ledger.is_new_failure(
            fingerprint_text([line.decode()])
        ):
            into.known += 1
            return ""
        ledger.fail(name, found)
        if ledger.look_up(request) is None:
            into.again += 1
        else:
            into.refused += 1
        return str(found)
    asked = str(request.body.get("model", ""))
    if not any_model and found.model and not _same_model(asked, found.model):
        raise _UnusableLineError(OTHER_MODEL, f"{found.model!r}, asked was {asked!r}")
    own = prices.get(number) if number is not None else None
    price = own or price_table().price(asked, "batch") or FREE
    usd = price.usd(found.prompt_tokens, found.completion_tokens, found.cached_tokens)
    if not ledger.settle(name, found, usd=usd, unsure=not found.prompt_tokens + found.completion_tokens):
        into.known += 1
        return ""
    into.answered += 1
    into.prompt_tokens += found.prompt_tokens
    into.completion_tokens += found.completion_tokens
    into.usd += usd
    return ""


def _outcome(line: bytes) -> tuple[str, Completion | EndpointError]:
    """The request's hash, and what a line says it came to."""
    try:
        values = json.loads(line.decode())
    except (ValueError, RecursionError):
        start = line[:60].decode("utf-8", "replace").strip()
        raise _UnusableLineError("not a line of JSON, or one that was cut off", start) from None
    if not isinstance(values, dict) or not isinstance(values.get("custom_id"), str):
        raise _UnusableLineError("without a custom_id")
    name: str = values["custom_id"]
    response, error = values.get("response"), values.get("error")
    if isinstance(response, dict):
        status = response.get("status_code", 200)
        if isinstance(status, int) and status < 300 and not error:
            try:
                return name, completion_of(response.get("body"), "the host of the batch")
            except EndpointError:
                raise _UnusableLineError("an answer that is no chat completion") from None
        body = response.get("body") or error
        return name, fault_of(status if isinstance(status, int) and status >= 300 else 500, {}, body)
    if error:
        return name, _host_error(error)
    if "method" in values:
        raise _UnusableLineError("a request, not an answer; is this the file that was exported?")
    raise _UnusableLineError("with neither a response nor an error")


def _host_error(error: Any) -> EndpointError:
    """Why a host sent nothing at all (a batch that expired, for one)."""
    told = error if isinstance(error, dict) else {"message": error}
    if isinstance(told.get("code"), int) and told["code"] >= 300:
        return fault_of(told["code"], {}, told)
    words = "; ".join(str(told[key]) for key in ("code", "message") if told.get(key))
    return EndpointError(f"the host of the batch: {plain_line(words, 300)}", kind=FaultKind.RETRY)


def _same_model(asked: str, served: str) -> bool:
    """Whether a served name is the asked one, with a version at its end or without its path.

    >>> _same_model("gpt-5", "gpt-5-2025-08-07"), _same_model("gpt-5", "gpt-5-mini"), _same_model("a/b", "b")
    (True, False, True)
    """
    ours, theirs = (name.casefold().rsplit("/", 1)[-1] for name in (asked, served))
    return re.fullmatch(re.escape(ours) + _VERSION, theirs) is not None
