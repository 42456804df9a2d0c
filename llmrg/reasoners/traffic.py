"""What goes over the line in one run: counts for progress and reports, and a log of events.

Promise: only counts, hashes, kinds of faults and names of models; no user, no title, no address, no key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

EVENTS_FILE = "events.jsonl"
SECONDS_UNWRITTEN = 1.0  # events may wait so long for the file; a kill loses them and nothing else
TAIL = 1 << 16  # bytes at the end of a log that are read for its newest events


@dataclass(slots=True)
class Traffic:
    """What one run has asked so far.

    Args:
        calls: attempts sent.
        answered: attempts answered.
        recorded: completions that came from the ledger.
        shared: completions that somebody else was just asking for.
        retries: attempts after a failed one.
        throttled: refusals for asking too fast (429).
        failed: requests that ended without an answer.
        prompt_tokens: tokens in.
        completion_tokens: tokens out.
        cached_tokens: of the tokens in, those from the server's prompt cache.
        usd: US dollars of the answers, as far as prices are known.
        in_flight: attempts on their way now.
        slots: calls the server bears at once, as far as is known.
    """

    calls: int = 0
    answered: int = 0
    recorded: int = 0
    shared: int = 0
    retries: int = 0
    throttled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    usd: float = 0.0
    in_flight: int = 0
    slots: int = 0

    @property
    def tokens(self) -> int:
        """In and out."""
        return self.prompt_tokens + self.completion_tokens


class EventLog:
    """JSON Lines, one event each: ``time`` (seconds since the epoch), ``event``, its facts; a context manager.

    Args:
        path: appended to; ``None``: events go nowhere.
        now: seconds since the epoch.
    """

    def __init__(self, path: Path | None, *, now: Callable[[], float] = time.time) -> None:
        self._now, self._flushed = now, 0.0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def write(self, event: str, **facts: Any) -> None:
        """Add one event."""
        if self._file is None:
            return
        now = self._now()
        line = {"time": round(now, 3), "event": event, **facts}
        self._file.write(json.dumps(line, ensure_ascii=True) + "\n")
        if now - self._flushed >= SECONDS_UNWRITTEN:
            self._file.flush()
            self._flushed = now

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def newest_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events at the end of a log, the newest first; lines that were cut off are left out."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - TAIL)
            file.seek(start)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines[1:] if start else lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
