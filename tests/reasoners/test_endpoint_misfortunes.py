"""The client against servers that are none: what goes wrong beneath HTTP, and answers that are not answers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fault_server import NO_ANSWERS, FaultServer

from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.endpoint_faults import fault_of
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint, completion_of
from llmrg.settings import LanguageModelSettings

KEY = "a-secret-that-nobody-may-see-0123456789"
ASKED = CompletionRequest({"model": "toy", "messages": [{"role": "user", "content": "hello"}]})
ANSWER = b'{"choices": [{"message": {"content": "yes"}}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def raw_server(reply: bytes) -> Iterator[str]:
    """A socket on loopback that says the same to whoever connects, and its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                met, _ = listening.accept()
            except OSError:  # closed
                return
            with met:
                met.recv(65536)
                met.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def ask(base_url: str) -> Completion:
    async def once() -> Completion:
        chosen = LanguageModelSettings(model="toy", base_url=base_url, timeout=5.0)
        async with OpenAIEndpoint(chosen, environ={"LLMRG_API_KEY": KEY}) as endpoint:
            return await endpoint.complete(ASKED)

    return asyncio.run(once())


def fault_at(base_url: str) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        ask(base_url)
    assert KEY not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"X-Long: " + b"x" * 9000 + b"\r\nContent-Length: 46\r\n\r\n" + ANSWER,
        HEAD + b"Content-Length: many\r\n\r\n" + ANSWER,
        HEAD + b"X-Key: " + KEY.encode() + b"\x00\r\nContent-Length: 46\r\n\r\n" + ANSWER,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + ANSWER + b"\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2e\r\n" + ANSWER[:10],
        HEAD + b"Content-Length: 46\r\n\r\n" + ANSWER[:10],
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 46\r\n\r\n" + ANSWER,
        b"HTTP/1.1 fine\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
def test_what_is_not_quite_http_is_asked_again_and_counted_at_its_worst(reply):
    with raw_server(reply) as address:
        fault = fault_at(f"http://{address}/v1")
    assert (fault.kind, fault.status, fault.known_end) == (FaultKind.RETRY, None, False)


def test_the_raw_server_can_answer():
    with raw_server(HEAD + b"Content-Length: 46\r\n\r\n" + ANSWER) as address:
        assert ask(f"http://{address}/v1").text == "yes"


def test_a_connection_that_never_was_costs_nothing_and_says_why():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    refused = fault_at(f"http://127.0.0.1:{port}/v1")
    unknown = fault_at("http://no-such-host.invalid/v1")
    with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        tls = fault_at(f"https://{address}/v1")
    for fault, words in ((refused, "refused"), (unknown, "no-such-host.invalid"), (tls, "ssl")):
        assert (fault.kind, fault.status, fault.known_end) == (FaultKind.RETRY, None, True)
        assert words in str(fault).casefold()


@pytest.mark.parametrize(
    ("answer", "kind"), [("407 No", FaultKind.STOP), ("502 Bad Gateway", FaultKind.RETRY)]
)
def test_a_proxy_that_lets_nothing_through_costs_nothing(monkeypatch, answer, kind):
    with raw_server(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode()) as address:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        fault = fault_at("https://no-such-host.invalid/v1")
    assert (fault.kind, fault.status, fault.known_end) == (kind, int(answer[:3]), True)


@pytest.mark.parametrize("status", [408, 499, 502, 504, 520, 521, 522, 523, 524])
def test_whoever_stopped_waiting_for_a_model_does_not_know_how_it_ended(status):
    fault = fault_of(status, {}, None)
    assert (fault.kind, fault.known_end) == (FaultKind.RETRY, False)


@pytest.mark.parametrize("status", [400, 401, 409, 429, 500, 503, 529])
def test_a_server_that_says_no_bills_nothing(status):
    assert fault_of(status, {}, None).known_end


@pytest.mark.parametrize("name", [*NO_ANSWERS, "error_inside", "not_json"])
def test_a_200_that_is_no_answer_is_asked_again_and_counted_at_its_worst(name):
    with FaultServer([name]) as server:
        fault = fault_at(server.base_url)
        assert ask(server.base_url).text
    assert (fault.kind, fault.known_end) == (FaultKind.RETRY, False)


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_empty_answer_is_one(reason):
    choice = {"message": {"role": "assistant", "content": ""}, "finish_reason": reason}
    assert completion_of({"choices": [choice], "error": None}, "host").finish_reason == reason


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}, (10, 105)),  # thinking, beside
        ({"prompt_tokens": 10, "completion_tokens": 5}, (10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}, (10, 5)),
        ({}, (0, 0)),
    ],
)
def test_tokens_of_reasoning_are_counted_wherever_a_server_puts_them(usage, tokens):
    found = completion_of({"choices": [{"message": {"content": "yes"}}], "usage": usage}, "host")
    assert (found.prompt_tokens, found.completion_tokens) == tokens
