"""The client against a real server on loopback: every fault has its kind, and the key stays where it is."""

import asyncio
import logging
import time
import traceback

import pytest
from answering import Served
from fault_server import HTTP_FAULTS, NO_ANSWERS, FaultServer
from questions import question

from llmrg.errors import ReplyError, SettingsError
from llmrg.reasoners.endpoint import Completion, CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.reasoners.endpoint_faults import fault_of
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
from llmrg.reasoners.probe import probe, settle
from llmrg.reasoners.reasoner import Rung
from llmrg.reasoners.tasks import Task
from llmrg.settings import LanguageModelSettings

KEY = "sk-a-secret-that-nobody-may-see-0123456789"
ASKED = CompletionRequest(
    {"model": "toy", "messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 7}
)

KINDS = {
    **dict.fromkeys(("retry_after_1", "retry_after_300", "retry_after_date"), FaultKind.RETRY),
    **dict.fromkeys(("error_408", "error_409", "error_500", "error_503", "drop", "hang"), FaultKind.RETRY),
    **dict.fromkeys(("insufficient_quota", "bad_key", "forbidden", "moved"), FaultKind.STOP),
    **dict.fromkeys(("unknown_model", "unknown_model_ollama"), FaultKind.STOP),
    **dict.fromkeys(
        (f"overflow_{who}" for who in ("openai", "vllm", "llama_cpp", "ollama")), FaultKind.OVERFLOW
    ),
    "bad_request": FaultKind.REJECTED,
    "not_json": FaultKind.RETRY,
    "error_inside": FaultKind.RETRY,
    **dict.fromkeys(NO_ANSWERS, FaultKind.RETRY),
}


def ask(server: FaultServer, environ=None, **settings) -> Completion:
    """One completion, or its error."""

    async def once() -> Completion:
        chosen = LanguageModelSettings(model="toy", base_url=server.base_url, **{"timeout": 5.0, **settings})
        async with OpenAIEndpoint(chosen, environ=environ or {"LLMRG_API_KEY": KEY}) as endpoint:
            assert isinstance(endpoint, Endpoint)
            return await endpoint.complete(ASKED)

    return asyncio.run(once())


def test_every_fault_of_the_server_has_its_kind_and_is_one_request():
    assert set(HTTP_FAULTS) <= set(KINDS)
    for fault, kind in KINDS.items():
        with FaultServer([fault]) as server, pytest.raises(EndpointError) as caught:
            ask(server, timeout=0.3)
        assert caught.value.kind is kind, fault
        assert len(server.requests) == 1, fault


def test_a_tier_is_sent_only_where_it_is_set():
    with FaultServer() as server:
        ask(server)
        ask(server, service_tier="flex")
        assert [one.body.get("service_tier") for one in server.requests] == [None, "flex"]


def test_a_server_that_asks_to_wait_is_quoted_in_seconds():
    waits = {}
    for fault in ("retry_after_1", "retry_after_300", "retry_after_date", "error_500"):
        with FaultServer([fault]) as server, pytest.raises(EndpointError) as caught:
            ask(server)
        waits[fault] = caught.value.retry_after
    assert waits["retry_after_1"] == 1
    assert waits["retry_after_300"] == 300
    assert 0 < waits["retry_after_date"] <= 3
    assert waits["error_500"] is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "150", "retry-after": "1"}, 0.15),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "999999999999"}, 86_400.0),
        ({}, None),
    ],
)
def test_what_a_server_asks_to_wait_is_read_in_all_its_forms(headers, seconds):
    assert fault_of(429, headers, None, now=10.0).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "The model `gpt-9` does not exist"}}, FaultKind.STOP),
        (402, {"error": {"message": "Insufficient Balance"}}, FaultKind.STOP),
        (413, "Payload too large: the prompt exceeds the model's context window", FaultKind.OVERFLOW),
        (422, {"detail": [{"msg": "extra fields not permitted"}]}, FaultKind.REJECTED),
        (500, {"error": {"message": "Context size has been exceeded."}}, FaultKind.OVERFLOW),
        (502, None, FaultKind.RETRY),
        (529, {"error": {"message": "overloaded"}}, FaultKind.RETRY),
        (400, {"error": {"message": "'temperature' does not support 0.0"}}, FaultKind.REJECTED),
        (400, None, FaultKind.REJECTED),
        (
            400,
            [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
            FaultKind.STOP,
        ),
        (400, [{"error": {"code": 400, "message": "API key expired. Renew it."}}], FaultKind.STOP),
        (400, {"error": "Incorrect API key provided: xa***12."}, FaultKind.STOP),
        (400, {"error": {"message": "Your credit balance is too low to access the API."}}, FaultKind.STOP),
        (400, {"error": {"message": "insufficient_user_quota"}}, FaultKind.STOP),
        (400, {"error": {"message": "This API method requires billing to be enabled."}}, FaultKind.STOP),
        (400, [], FaultKind.REJECTED),
        (400, [{"error": {"message": "Invalid JSON payload received"}}], FaultKind.REJECTED),
        (
            400,
            "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
            FaultKind.OVERFLOW,
        ),
        (
            413,
            {"error": {"type": "request_too_large", "message": "Request exceeds 32 MB"}},
            FaultKind.OVERFLOW,
        ),
        (413, "<h1>413 Request Entity Too Large</h1>", FaultKind.OVERFLOW),
        (
            413,
            {"error": {"message": "Request too large for model `x` on tokens per minute (TPM): Limit 6000"}},
            FaultKind.RETRY,
        ),
        (429, {"error": {"message": "Request too large on tokens per min (TPM)"}}, FaultKind.RETRY),
        (407, "Proxy Authentication Required", FaultKind.STOP),
    ],
)
def test_faults_of_other_servers_are_told_apart_by_status_and_words(status, body, kind):
    assert fault_of(status, {}, body).kind is kind


def test_the_key_is_sent_and_is_seen_nowhere_else(caplog):
    caplog.set_level(logging.DEBUG)
    seen = []
    for fault in ("ok", "bad_key", "error_500", "drop", "not_json"):
        with FaultServer([fault]) as server:
            try:
                seen.append(repr(ask(server)))
            except EndpointError as error:
                seen += [
                    str(error),
                    repr(error),
                    repr(vars(error)),
                    "".join(traceback.format_exception(error)),
                ]
                seen.append(repr(error.__cause__))
            assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
            assert KEY not in str(server.requests[0].body)
    settings = LanguageModelSettings(model="toy", base_url="http://127.0.0.1:9/v1")
    seen.append(repr(OpenAIEndpoint(settings, environ={"OPENAI_API_KEY": KEY})))
    assert len(seen) > 15
    assert not any(KEY in text or KEY[:12] in text for text in [*seen, caplog.text])


def test_what_cannot_be_written_as_a_request_stops_the_run_and_is_not_repeated(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "secret\norganisation")
    with FaultServer() as server, pytest.raises(EndpointError, match="OPENAI_") as met:
        ask(server)
    assert met.value.kind is FaultKind.STOP
    assert "secret" not in "".join(traceback.format_exception(met.value))


def test_openais_own_address_without_a_key_is_refused_with_what_to_do():
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        OpenAIEndpoint(LanguageModelSettings(model="gpt"), environ={})


@pytest.mark.parametrize("address", ["localhost:8000/v1", "ftp://localhost/v1", "/v1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(SettingsError, match="base_url"):
        OpenAIEndpoint(LanguageModelSettings(model="m", base_url=address), environ={})


@pytest.mark.parametrize(
    "address", ["https://api.openai.com/v1", "http://8.8.8.8/v1", "http://[2001:4860::1]/v1"]
)
def test_local_only_refuses_other_hosts_before_anything_is_sent(address):
    with pytest.raises(SettingsError, match="loopback or private"):
        OpenAIEndpoint(
            LanguageModelSettings(model="m", base_url=address, local_only=True),
            environ={"OPENAI_API_KEY": KEY},
        )


def test_local_only_refuses_openais_own_address_too():
    with pytest.raises(SettingsError, match="loopback or private"):
        OpenAIEndpoint(LanguageModelSettings(model="m", local_only=True), environ={"OPENAI_API_KEY": KEY})


def test_a_redirect_leads_nowhere():
    with FaultServer(["moved"]) as server, pytest.raises(EndpointError, match="moved") as caught:
        ask(server)
    assert caught.value.kind is FaultKind.STOP


def test_servers_that_are_not_openais_hear_of_room_by_the_name_they_know():
    with FaultServer() as server:
        ask(server)
    assert server.requests[0].body["max_tokens"] == 7
    assert "max_completion_tokens" not in server.requests[0].body
    assert ASKED.body["max_completion_tokens"] == 7


def test_usage_that_is_missing_and_a_model_of_another_name_are_taken_as_they_are():
    with FaultServer(["missing_usage", "wrong_model"]) as server:
        missing, other = ask(server), ask(server)
    assert (missing.prompt_tokens, missing.completion_tokens) == (0, 0)
    assert other.model == "another-model"
    assert other.prompt_tokens > 0


def test_a_call_that_hangs_ends_at_its_time():
    with FaultServer(["hang"]) as server:
        started = time.monotonic()
        with pytest.raises(EndpointError, match="within"):
            ask(server, timeout=0.2)
        assert time.monotonic() - started < 2


# ------------------------------------------------------------ what it keeps to


@pytest.mark.parametrize(
    ("keeps", "strict", "mode"),
    [
        ("json_schema", False, "json_schema"),
        ("json_object", False, "json_object"),
        ("json_object", True, "json_object"),
        ("prompt_only", True, "prompt_only"),
    ],
)
def test_the_probe_finds_what_an_endpoint_keeps_to(keeps, strict, mode):
    async def probed(settings):
        async with OpenAIEndpoint(settings, environ={}) as endpoint:
            return await probe(endpoint, settings), await settle(endpoint, settings)

    with FaultServer(keeps=keeps, strict=strict, served="served") as server:
        found, settled = asyncio.run(probed(LanguageModelSettings(model="toy", base_url=server.base_url)))
    assert found.mode == settled.structured_output == mode
    assert found.served == "served"
    assert ("json_schema" in found.refused) == (mode != "json_schema")


def test_a_server_that_only_pretends_to_keep_to_schemas_is_found_out():
    class Pretender:
        async def complete(self, request):
            return Completion('{"word": "anything"}')

    found = asyncio.run(probe(Pretender(), LanguageModelSettings(model="toy")))
    assert found.mode == "json_object"
    assert found.refused["json_schema"] == "accepted, but not kept to"


@pytest.mark.parametrize("fault", ["error_503", "bad_key", "insufficient_quota", "unknown_model"])
def test_a_fault_that_says_nothing_about_abilities_is_raised(fault):
    with FaultServer([fault] * 4) as server, pytest.raises(EndpointError):
        Served(server.base_url)


def test_what_is_settled_is_not_asked_again():
    settings = LanguageModelSettings(model="toy", structured_output="prompt_only")

    class Never:
        async def complete(self, request):
            raise AssertionError

    assert asyncio.run(settle(Never(), settings)) == settings


# ------------------------------------------------------------ the ladder, over the wire


def test_each_faulty_reply_ends_on_its_rung():
    expected = {
        "ok": Rung.VALID,
        "missing_usage": Rung.VALID,
        "wrong_model": Rung.VALID,
        "hostile_echo": Rung.VALID,
        "fenced": Rung.LENIENT,
        "prose": Rung.LENIENT,
        "trailing_comma": Rung.LENIENT,
        "extra_keys": Rung.LENIENT,
        "dangling": Rung.REPAIRED,
        "duplicate": Rung.REPAIRED,
        "cycle": Rung.REPAIRED,
        "out_of_range": Rung.REPAIRED,
        "missing_entry": Rung.REPAIRED,
        "other_task": Rung.REPAIRED,
        "empty": Rung.REPAIRED,
        "huge": Rung.REPAIRED,
        "deep": Rung.REPAIRED,
        "overflow_vllm": Rung.SHORTENED,
        "truncated": Rung.LIMIT_RAISED,
    }
    found = {}
    with FaultServer() as server:
        served = Served(server.base_url, structured_output="json_schema")
        for fault in expected:
            server._queue = iter([fault])
            found[fault] = served.answer(question(Task.CHAINED_REASONING)).rungs[-1]
        server._queue = iter(["refusal"])
        with pytest.raises(ReplyError):
            served.answer(question(Task.CHAINED_REASONING))
        served.close()
    assert found == expected
