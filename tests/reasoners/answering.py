"""Ways to have a language model answer in a test: from words given, or from a server, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.openai_endpoint import OpenAIEndpoint
from llmrg.reasoners.probe import settle
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.settings import LanguageModelSettings

ENVIRON = {"LLMRG_API_KEY": "sk-of-this-test-only"}


def language_model(**settings: object) -> LanguageModel:
    """A language model that was probed already."""
    return LanguageModel(
        LanguageModelSettings(**{"model": "toy", "structured_output": "json_schema", **settings})
    )


def answer_with(
    model: LanguageModel, request: ReasonerRequest, answers: Sequence[str | Completion | EndpointError]
) -> tuple[Reply, list[CompletionRequest]]:
    """The reply to a question, and the completions asked, where these come back one after another."""
    steps = model.steps(request)
    asked = [next(steps)]
    left = iter(answers)
    try:
        while True:
            found = next(left)
            if isinstance(found, EndpointError):
                asked.append(steps.throw(found))
            else:
                asked.append(steps.send(Completion(found) if isinstance(found, str) else found))
    except StopIteration as end:
        assert next(left, None) is None, "not every answer was asked for"
        return end.value, asked


class Served:
    """A language model behind a server, as a reasoner that answers.

    Args:
        base_url: where it listens.
        settings: fields of :class:`LanguageModelSettings`.
    """

    def __init__(self, base_url: str, **settings: object) -> None:
        given = {"model": "toy", "timeout": 30.0, **settings}
        self.settings = LanguageModelSettings(base_url=base_url, local_only=True, **given)
        self.runner = asyncio.Runner()
        self.endpoint = self.runner.run(self._open())
        self.model = LanguageModel(self.runner.run(settle(self.endpoint, self.settings)))
        self.name, self.fingerprint, self.scope = self.model.name, self.model.fingerprint, self.model.scope

    async def _open(self) -> OpenAIEndpoint:
        return OpenAIEndpoint(self.settings, environ=ENVIRON)

    def answer(self, request: ReasonerRequest) -> Reply:
        """The reply; one call after another, nothing tried twice."""
        return self.runner.run(self._answer(request))

    async def _answer(self, request: ReasonerRequest) -> Reply:
        steps = self.model.steps(request)
        asked = next(steps)
        while True:
            try:
                completion = await self.endpoint.complete(asked)
            except EndpointError as error:
                sent = steps.throw, error
            else:
                sent = steps.send, completion
            try:
                asked = sent[0](sent[1])
            except StopIteration as end:
                reply: Reply = end.value
                return reply

    def close(self) -> None:
        """Close connections and loop."""
        self.runner.run(self.endpoint.aclose())
        self.runner.close()
