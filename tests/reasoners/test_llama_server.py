"""The client and the ladder against a real llama-server, where one was built; its model knows nothing."""

import asyncio

import llama_server
import pytest
from answering import ENVIRON, Served
from questions import question

from llmrg.errors import ReplyError
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
from llmrg.reasoners.probe import probe
from llmrg.reasoners.reasoner import Rung
from llmrg.reasoners.structured import response_format
from llmrg.reasoners.tasks import REPLY_OF, Task
from llmrg.settings import LanguageModelSettings

pytestmark = pytest.mark.skipif(llama_server.binary() is None, reason=llama_server.ABSENT)
WINDOW = 12_000


@pytest.fixture(scope="module")
def server():
    with llama_server.LlamaServer(window=WINDOW) as running:
        yield running


def ask(server: llama_server.LlamaServer, words: str, **body: object) -> Completion:
    """One completion, or its error."""
    settings = LanguageModelSettings(model="babbler", base_url=server.base_url, local_only=True)
    asked = {
        "model": "babbler",
        "messages": [{"role": "user", "content": words}],
        "max_completion_tokens": 200,
    }

    async def once() -> Completion:
        async with OpenAIEndpoint(settings, environ=ENVIRON) as endpoint:
            return await endpoint.complete(CompletionRequest({**asked, **body}))

    return asyncio.run(once())


def test_it_counts_tokens_and_stops_at_the_limit(server):
    found = ask(server, "Hällo", max_completion_tokens=5)
    assert found.finish_reason == "length"
    assert found.completion_tokens == 5
    assert found.prompt_tokens > 5


def test_a_prompt_longer_than_its_window_is_an_overflow(server):
    with pytest.raises(EndpointError) as caught:
        ask(server, "qzx" * WINDOW)
    assert caught.value.kind is FaultKind.OVERFLOW


def test_a_schema_it_cannot_use_is_a_rejection(server):
    broken = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    with pytest.raises(EndpointError) as caught:
        ask(server, "hello", response_format=broken)
    assert caught.value.kind is FaultKind.REJECTED


def test_it_keeps_to_schemas_and_the_probe_finds_out(server):
    settings = LanguageModelSettings(model="babbler", base_url=server.base_url, temperature=1.0)

    async def probed():
        async with OpenAIEndpoint(settings, environ=ENVIRON) as endpoint:
            return await probe(endpoint, settings)

    assert asyncio.run(probed()).mode == "json_schema"


@pytest.mark.parametrize("task", Task)
def test_what_it_babbles_fits_the_schema_of_every_task(server, task):
    for seed in range(5):
        found = ask(
            server,
            "anything",
            seed=seed,
            temperature=1.0,
            max_completion_tokens=4000,
            response_format=response_format(task, "json_schema"),
        )
        assert found.finish_reason == "stop"
        REPLY_OF[task].model_validate_json(found.text)


def test_its_nonsense_is_salvaged_or_fails_and_raises_nothing_else(server):
    ended = set()
    served = Served(server.base_url, temperature=1.0, seed=None, max_tokens=800)
    for task in [*Task] * 3:
        try:
            ended |= {*served.answer(question(task)).rungs}
        except ReplyError as error:
            ended |= {Rung.FAILED, bool(error.problems)}
    served.close()
    assert ended & {Rung.SALVAGED, Rung.FAILED}
    assert False not in ended
