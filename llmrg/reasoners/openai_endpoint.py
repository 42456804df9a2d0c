"""An OpenAI-compatible server over the network: OpenAI, vLLM, Ollama, llama.cpp and whatever else speaks the format.

Promise: one call makes one request (nothing is retried here), every failure is an :class:`EndpointError` whose kind
says what may be done, and the key, which comes from the environment alone, is in no message, no representation and
no chained exception. With ``local_only`` nothing is ever sent to a host that is not loopback or private.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from llmrg.errors import SettingsError
from llmrg.plain_text import plain_line
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.endpoint_faults import fault_of, quoted
from llmrg.reasoners.local_hosts import refuse_unless_local
from llmrg.settings import LanguageModelSettings

KEY_VARIABLES = ("LLMRG_API_KEY", "OPENAI_API_KEY")
"""Where the key is looked for; the first that is set counts."""

NO_KEY = "none"  # what servers get that need no key; the client insists on sending one
LONGEST_TEXT = 1_000_000  # characters of a reply that are kept; far more than is ever read
OPENAI_HOSTS = (".openai.com", ".openai.azure.com")
"""Where a reply's room is called ``max_completion_tokens``; every other server knows ``max_tokens``, some only that."""


class OpenAIEndpoint:
    """See the module. Use it in one event loop, and close it there.

    Args:
        settings: ``base_url``, ``timeout``, ``local_only`` and ``service_tier``.
        environ: environment variables; the key is one of :data:`KEY_VARIABLES`.
        now: seconds since the epoch, to read dates of ``Retry-After``.

    Raises:
        SettingsError: OpenAI's own address without a key, an impossible address, or one that is not local.
    """

    def __init__(
        self,
        settings: LanguageModelSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
    ) -> None:
        import aiohttp
        import openai
        from httpx2 import Response

        self._client, self._key = open_client(settings, environ)
        self._aiohttp: Any = aiohttp
        self._openai, self._now, self._timeout = openai, now, settings.timeout
        self.host: str = self._client.base_url.host
        self._tier = {} if settings.service_tier is None else {"service_tier": settings.service_tier}
        self._raw = Response  # unparsed: the client's own models cost as much again as the rest of a call

    async def complete(self, request: CompletionRequest) -> Completion:
        """One completion, by one request.

        Raises:
            EndpointError: it could not be had.
        """
        openai = self._openai
        found: int | None = None
        status: int
        headers: Mapping[str, str]
        body: object
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(
                    "/chat/completions",
                    body=wire_body(request.body, self.host) | self._tier,
                    cast_to=self._raw,
                )
        except openai.APIStatusError as error:
            status, headers, body = error.status_code, error.response.headers, error.body
        except (openai.APIConnectionError, TimeoutError, self._aiohttp.ClientError) as error:
            raise self._unheard(error) from None
        except ValueError:  # its words are not repeated, a header may be a secret
            what = "the request cannot be written: is a character of the model's name or of an OPENAI_* variable odd?"
            raise EndpointError(what, kind=FaultKind.STOP) from None
        else:
            answer = _parsed(response.content) if response.status_code < 300 else None
            found = _error_inside(answer)
            if response.status_code < 300 and found is None:
                return completion_of(answer, self.host)
            status, headers, body = found or response.status_code, response.headers, answer
        raise fault_of(status, headers, body, secret=self._key, now=self._now(), accepted=found is not None)

    def _unheard(self, error: BaseException) -> EndpointError:
        """What a failure beneath HTTP amounts to: nothing was sent, or nobody knows how it ended."""
        aiohttp, cause = self._aiohttp, error
        while not isinstance(cause, aiohttp.ClientError) and cause.__cause__ is not None:
            cause = cause.__cause__  # two clients in between each have words of their own
        if isinstance(cause, aiohttp.ClientHttpProxyError):
            kind = FaultKind.STOP if cause.status == 407 else FaultKind.RETRY
            what = f"the proxy on the way to {self.host} answered {cause.status}"
            return EndpointError(what, kind=kind, status=cause.status, known_end=True)
        if isinstance(cause, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            refused = isinstance(getattr(cause, "os_error", None), ConnectionRefusedError)
            why = "refused, is the server running? " * refused + quoted(str(cause), self._key)
            return EndpointError(f"no connection to {self.host}: {why}", kind=FaultKind.RETRY, known_end=True)
        if isinstance(cause, aiohttp.ClientResponseError):
            what = f"{self.host} answered with something else than HTTP: {quoted(cause.message, self._key)}"
        else:
            what = f"no connection to {self.host}, or no answer within {self._timeout:g} s"
        return EndpointError(what, kind=FaultKind.RETRY)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def __aenter__(self) -> OpenAIEndpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"OpenAIEndpoint({self.host!r})"


def open_client(settings: LanguageModelSettings, environ: Mapping[str, str]) -> tuple[Any, str]:
    """A client of the ``openai`` package that retries nothing and follows nobody, and its key (empty: none).

    Raises:
        SettingsError: OpenAI's own address without a key, an impossible address, or one that is not local.
    """
    import openai

    key = next((environ[name] for name in KEY_VARIABLES if environ.get(name)), "")
    if not (key.isascii() and (key + "k").isprintable() and " " not in key):
        raise SettingsError(
            "language_model: the key in the environment has characters that no key has, such as a line's end; "
            f"set {KEY_VARIABLES[-1]} again"
        )
    base_url = settings.base_url or environ.get("OPENAI_BASE_URL") or None
    if base_url is None and not key:
        raise SettingsError(
            "language_model: OpenAI's own address needs a key; set OPENAI_API_KEY in the environment, "
            "or name a server of your own with language_model.base_url (--base-url)"
        )
    if base_url is not None:
        _refuse_unless_address(base_url)
    http = openai.DefaultAioHttpClient(
        timeout=settings.timeout,
        follow_redirects=False,  # or prompts could be led anywhere
        trust_env=not settings.local_only,  # a proxy is another host
    )
    client = openai.AsyncOpenAI(
        api_key=key or NO_KEY, base_url=base_url, max_retries=0, timeout=settings.timeout, http_client=http
    )
    if settings.local_only:
        refuse_unless_local(client.base_url.host)
    return client, key


def _refuse_unless_address(base_url: str) -> None:
    """Refuse what the client would stumble over later; the address is not repeated, it may hold a password."""
    try:
        parts = urlsplit(base_url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
        fits = (
            parts.scheme in ("http", "https")
            and bool(host)
            and base_url.isprintable()
            and " " not in base_url
        )
    except ValueError:  # a broken port or bracket, or a name that no server can have
        fits = False
    if not fits:
        raise SettingsError(
            "language_model.base_url: expected http(s)://HOST[:PORT]/v1, found no such address",
            name="language_model.base_url",
        )
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "language_model.base_url: expected an address without a name or password in it; "
            "a key belongs into the environment, as OPENAI_API_KEY",
            name="language_model.base_url",
        )


def wire_body(body: Mapping[str, Any], host: str) -> dict[str, Any]:
    """A request's body as it is sent to a host: only OpenAI's own know the newer name of the reply's limit.

    >>> wire_body({"max_completion_tokens": 9}, "127.0.0.1"), wire_body({"max_completion_tokens": 9}, "api.openai.com")
    ({'max_tokens': 9}, {'max_completion_tokens': 9})
    """
    newer = host.endswith(OPENAI_HOSTS)
    return {
        "max_tokens" if name == "max_completion_tokens" and not newer else name: value
        for name, value in body.items()
    }


def host_of(settings: LanguageModelSettings, environ: Mapping[str, str] = os.environ) -> str:
    """The host that would be asked, without asking it."""
    address = settings.base_url or environ.get("OPENAI_BASE_URL") or ""
    return urlsplit(address).hostname or "api.openai.com"


def completion_of(answer: object, host: str) -> Completion:
    """What the JSON of an answer holds.

    Raises:
        EndpointError: it is no answer: without a message, or one that was broken off by an error.
    """
    said = _mapping(answer)
    choices = said.get("choices")
    choice = _mapping(choices[0] if isinstance(choices, list) and choices else None)
    if not isinstance(choice.get("message"), dict):
        raise EndpointError(
            f"{host} answered with something else than a chat completion; is the address that of its /v1?",
            kind=FaultKind.RETRY,
        )
    if choice.get("finish_reason") == "error":
        raise EndpointError(f"{host} broke its answer off with an error", kind=FaultKind.RETRY)
    message, usage = choice["message"], _mapping(said.get("usage"))
    refusal, tokens_in = message.get("refusal"), _count(usage.get("prompt_tokens"))
    # xAI and Gemini leave the tokens of reasoning, which they bill, out of the one and count them in the other
    tokens_out = max(_count(usage.get("completion_tokens")), _count(usage.get("total_tokens")) - tokens_in)
    return Completion(
        text=_words(message.get("content"))[:LONGEST_TEXT],
        finish_reason=plain_line(str(choice.get("finish_reason") or ""), 40),
        refusal=plain_line(refusal) if isinstance(refusal, str) and refusal else None,
        model=plain_line(str(said.get("model") or "")),
        prompt_tokens=tokens_in,
        completion_tokens=tokens_out,
        cached_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
    )


def _error_inside(answer: object) -> int | None:
    """The status of an error that a router sends as an answer, its own status being 200."""
    said = _mapping(answer)
    if not said.get("error"):
        return None
    code = 0 if said.get("choices") else _count(_mapping(said["error"]).get("code"))
    return code if 400 <= code < 600 else 500


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _words(content: object) -> str:
    """Text, which some servers send in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(text for part in parts if isinstance(text := _mapping(part).get("text"), str))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
