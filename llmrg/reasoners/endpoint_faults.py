"""What a server's refusal means: which kind of fault an HTTP status and its words are.

Promise: every status has a kind; the words that reach the message are one line, short, and without the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from llmrg.plain_text import plain_line
from llmrg.reasoners.endpoint import EndpointError, FaultKind

AGAIN = frozenset({408, 409, 425, 429})
NEVER = frozenset({401, 402, 403, 404, 405})

# OpenAI and vLLM, llama.cpp, Ollama, and the words of other servers built on them
OVERFLOW = re.compile(
    r"context_length_exceeded|maximum context length|exceed_context_size|available context size|"
    r"exceeds? the (model's )?(maximum )?(context|model) length|context (window|length|size)[^.]{0,40}exceed|"
    r"(prompt|input|request)[^.]{0,60}(too long|longer than|exceeds)[^.]{0,60}(context|model|max)",
    re.IGNORECASE,
)
NO_MONEY = re.compile(
    r"insufficient_quota|exceeded your current quota|insufficient (balance|credits|funds)|billing_(hard_limit|not)",
    re.IGNORECASE,
)
NO_MODEL = re.compile(
    r"model_not_found|model [^.]{0,200}(does not exist|not found)|invalid model", re.IGNORECASE
)
KEYS = re.compile(r"\b(sk|key|gsk|xai|pk)[-_][A-Za-z0-9*_-]{6,}")
WORDS = 300
LONGEST_WAIT = 86_400.0  # seconds; a server that asks for more is not believed

ADVICE = {
    401: "set OPENAI_API_KEY (or LLMRG_API_KEY) in the environment to a key it takes",
    402: "there is no money left on the account",
    404: "is the model's name right, and does the address end in /v1?",
}


def fault_of(
    status: int, headers: Mapping[str, str], body: object, *, secret: str = "", now: float = 0.0
) -> EndpointError:
    """The error a refusal amounts to.

    Args:
        status: of HTTP.
        headers: lower or mixed case, as the client keeps them.
        body: JSON-like, text or nothing.
        secret: the key, which servers like to quote.
        now: seconds since the epoch, for dates in ``Retry-After``.

    >>> fault_of(429, {"retry-after": "7"}, {"message": "slow down"}).retry_after
    7.0
    >>> fault_of(429, {}, {"code": "insufficient_quota"}).kind
    <FaultKind.STOP: 'stop'>
    """
    words = _words(body)
    kind = _kind(status, words)
    said = KEYS.sub("[key]", words.replace(secret, "[key]") if len(secret) > 3 else words)
    parts = [f"the endpoint answered {status}", plain_line(said, WORDS), ADVICE.get(status, "")]
    if 300 <= status < 400:
        parts.append("the address has moved; give the new one")
    return EndpointError(
        "; ".join(part for part in parts if part),
        kind=kind,
        status=status,
        retry_after=_retry_after(headers, now) if kind is FaultKind.RETRY else None,
    )


def _kind(status: int, words: str) -> FaultKind:
    if NO_MONEY.search(words) and status < 500:
        return FaultKind.STOP
    if OVERFLOW.search(words) and status in (400, 413, 422, 500):
        return FaultKind.OVERFLOW
    if status in AGAIN or status >= 500:
        return FaultKind.RETRY
    if status in NEVER or status < 400 or NO_MODEL.search(words):
        return FaultKind.STOP
    return FaultKind.REJECTED


def _words(body: object) -> str:
    """What a body says: OpenAI's message, type and code, wherever they stand, else its text."""
    if isinstance(body, Mapping):
        inner: Mapping[str, Any] = body["error"] if isinstance(body.get("error"), Mapping) else body
        named = (inner.get(name) for name in ("message", "error", "detail", "type", "code"))
        return "; ".join(str(value)[:2000] for value in named if value is not None)
    return body[:2000] if isinstance(body, str) else ""


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, from milliseconds, seconds or a date."""
    exact, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if exact is not None:
            seconds = float(exact) / 1000
        elif plain is None:
            return None
        elif re.fullmatch(r"\s*\d+(\.\d+)?\s*", plain):
            seconds = float(plain)
        else:
            seconds = parsedate_to_datetime(plain).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None
