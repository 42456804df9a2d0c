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

AGAIN = frozenset({408, 409, 425, 429, 499})
NEVER = frozenset({401, 402, 403, 404, 405, 407})

# OpenAI and vLLM, llama.cpp, Ollama, xAI, and the words of other servers built on them
OVERFLOW = re.compile(
    r"context_length_exceeded|maximum context length|exceed_context_size|available context size|"
    r"maximum (prompt|input) length is|"
    r"exceeds? the (model's )?(maximum )?(context|model) length|context (window|length|size)[^.]{0,40}exceed|"
    r"(prompt|input|request)[^.]{0,60}(too long|longer than|exceeds)[^.]{0,60}(context|model|max)",
    re.IGNORECASE,
)
NO_MONEY = re.compile(
    r"insufficient_quota|exceeded your current quota|insufficient (balance|credits|funds)|billing_(hard_limit|not)",
    re.IGNORECASE,
)
# what Anthropic, Gemini and xAI say of an account or a key with a 400, as if the request were at fault
ACCOUNT = re.compile(
    r"credit balance|insufficient[\w ]{0,20}(quota|balance|credit|fund|permission)|billing|"
    r"api[ _]key[^.]{0,20}(not valid|invalid|expired)|(invalid|incorrect|expired|missing)[^.]{0,10}api[ _]key",
    re.IGNORECASE,
)
TOO_LARGE = re.compile(r"too[ _]large", re.IGNORECASE)
TOO_FAST = re.compile(r"(tokens|requests) per (min|day|hour)|\bTPM\b", re.IGNORECASE)
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
    407: "the proxy (HTTP_PROXY, HTTPS_PROXY) wants a name and a password",
}


def fault_of(
    status: int,
    headers: Mapping[str, str],
    body: object,
    *,
    secret: str = "",
    now: float = 0.0,
    accepted: bool = False,
) -> EndpointError:
    """The error a refusal amounts to.

    Args:
        status: of HTTP.
        headers: lower or mixed case, as the client keeps them.
        body: JSON-like, text or nothing.
        secret: the key, which servers like to quote.
        now: seconds since the epoch, for dates in ``Retry-After``.
        accepted: the error came inside an answer, so there may have been work, and a bill.

    >>> fault_of(429, {"retry-after": "7"}, {"message": "slow down"}).retry_after
    7.0
    >>> fault_of(429, {}, {"code": "insufficient_quota"}).kind
    <FaultKind.STOP: 'stop'>
    """
    words = _words(body)
    kind = _kind(status, words)
    parts = [f"the endpoint answered {status}", quoted(words, secret), ADVICE.get(status, "")]
    if 300 <= status < 400:
        parts.append("the address has moved; give the new one")
    return EndpointError(
        "; ".join(part for part in parts if part),
        kind=kind,
        status=status,
        retry_after=_retry_after(headers, now) if kind is FaultKind.RETRY else None,
        known_end=False if accepted and kind is FaultKind.RETRY else None,
    )


def quoted(words: str, secret: str) -> str:
    """A server's words on one short line, without the key.

    >>> quoted("no such key:\\n hush-hush", "hush-hush")
    'no such key: [key]'
    """
    return plain_line(KEYS.sub("[key]", words.replace(secret, "[key]") if len(secret) > 3 else words), WORDS)


def _kind(status: int, words: str) -> FaultKind:
    if NO_MONEY.search(words) and status < 500:
        return FaultKind.STOP
    if ACCOUNT.search(words) and status in (400, 403):
        return FaultKind.STOP
    if TOO_FAST.search(words) and status == 413:
        return FaultKind.RETRY
    if OVERFLOW.search(words) and status in (400, 413, 422, 500):
        return FaultKind.OVERFLOW
    if TOO_LARGE.search(words) and status == 413:
        return FaultKind.OVERFLOW
    if status in AGAIN or status >= 500:
        return FaultKind.RETRY
    if status in NEVER or status < 400 or NO_MODEL.search(words):
        return FaultKind.STOP
    return FaultKind.REJECTED


def _words(body: object) -> str:
    """What a body says: OpenAI's message, type and code, wherever they stand, else its text."""
    if isinstance(body, list) and body and isinstance(body[0], Mapping):  # so Gemini does
        body = body[0]
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
