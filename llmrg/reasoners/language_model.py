"""A language model as a reasoner: how one question becomes completions asked and one reply understood.

Promise (laws 4 and 5): :meth:`LanguageModel.steps` is a pure generator; it knows no network, clock or key, and
the same completions give the same reply. It climbs one ladder: a valid reply; one that is valid once read
leniently; one asked for again, once, with its problems; what is good of both; else a :class:`UnusableReplyError`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmrg.errors import SettingsError
from llmrg.fingerprint import fingerprint
from llmrg.prompting.rendering import Messages, quotable, render, render_repair
from llmrg.prompting.templates import prompts_fingerprint
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.reasoner import ReasonerRequest, Reply, Rung, UnusableReplyError, Usage
from llmrg.reasoners.structured import MOST_PROBLEMS, Understood, response_format, salvage, understand
from llmrg.reasoners.tasks import Task
from llmrg.settings import LanguageModelSettings

VERSION = 1  # of ladder and parsing; raise it when the same completions give another reply
QUOTED = 20_000  # characters of a faulty reply that are shown to the model again
TOLD = 300  # characters of a problem that reach an error's message
RAISE = 2  # how much more room a reply gets that was cut off

Steps = Generator[CompletionRequest, Completion, Reply]


def completion_body(
    settings: LanguageModelSettings, messages: Messages, limit: int, form: dict[str, Any] | None
) -> dict[str, Any]:
    """The body of a chat completion.

    Args:
        settings: model and sampling; what is null is left to the server.
        messages: the conversation.
        limit: tokens of the reply.
        form: ``response_format``, if any.
    """
    body = {
        "model": settings.model,
        "messages": messages,
        "temperature": settings.temperature,
        "seed": settings.seed,
        "max_completion_tokens": limit,
        "response_format": form,
    }
    return {name: value for name, value in body.items() if value is not None}


class LanguageModel:
    """See the module.

    Args:
        settings: model, sampling, limits and prompts; ``structured_output`` must be settled
            (see :func:`llmrg.reasoners.probe.settle`).

    Raises:
        SettingsError: no model is named, ``structured_output`` is still ``auto``, or a prompt cannot be used.
    """

    def __init__(self, settings: LanguageModelSettings) -> None:
        if settings.model is None:
            raise SettingsError("language_model.model: expected a model's name", name="language_model.model")
        if settings.structured_output == "auto":
            raise SettingsError(
                "language_model.structured_output: expected what the endpoint keeps to, found 'auto'; probe it first",
                name="language_model.structured_output",
            )
        self.settings = settings
        self.prompts = None if settings.prompts is None else Path(settings.prompts)
        self._fingerprint = fingerprint(
            {
                "reasoner": "language model",
                "version": VERSION,
                "prompts": prompts_fingerprint(self.prompts),
                **{
                    name: getattr(settings, name)
                    for name in ("model", "structured_output", "temperature", "seed", "max_tokens")
                },
            }
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model or ""

    @property
    def fingerprint(self) -> str:
        """Content hash of model, sampling, prompts and ladder; not of address, key or timeout."""
        return self._fingerprint

    def scope(self, user_id: str) -> str:
        """Empty: a language model's evidence is its weights, the same for every user."""
        return ""

    def steps(self, request: ReasonerRequest) -> Steps:
        """Answer one question.

        Args:
            request: the question.

        Yields:
            Completions to be had. What comes back is sent in; an :class:`EndpointError` is thrown in.

        Returns:
            A :class:`Reply`.

        Raises:
            UnusableReplyError: refused, or nothing of it could be understood.
            EndpointError: a completion could not be had, and there was nothing else to try.
        """
        asking = _Asking(self, request)
        first = yield from asking.first()
        if first.good:
            return asking.reply(first, Rung.LENIENT if first.mended else Rung.VALID)
        attempts = [first]
        if not asking.cut_off:
            second = yield from asking.again(first)
            if second is not None and second.good:
                return asking.reply(second, Rung.REPAIRED)
            attempts = [first] if second is None else [second, first]
        kept = salvage(request.payload, attempts)
        if kept is None:
            problems = attempts[0].problems
            said = "; ".join(problem[:TOLD] for problem in problems[:3])
            raise asking.failure(f"no part of its answer to {request.task} could be used: {said}", problems)
        return asking.reply(Understood(kept, (), mended=True), Rung.SALVAGED)

    def completion(self, task: Task, messages: Messages, limit: int) -> CompletionRequest:
        """The request for one completion.

        Args:
            task: whose reply schema holds.
            messages: the conversation.
            limit: tokens of the reply.
        """
        form = response_format(task, self.settings.structured_output)
        return CompletionRequest(completion_body(self.settings, messages, limit, form))

    def __repr__(self) -> str:
        return f"LanguageModel({self.name!r}, {self.settings.structured_output})"


@dataclass(slots=True)
class _Asking:
    """The state of answering one question."""

    model: LanguageModel
    request: ReasonerRequest
    messages: Messages = field(init=False)
    limit: int = field(init=False)
    text: str = ""
    cut_off: bool = False
    usage: Usage = field(default_factory=Usage)
    recorded: bool = True
    rungs: list[Rung] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.messages = render(self.request, self.model.prompts)
        self.limit = self.model.settings.max_tokens

    def first(self) -> Generator[CompletionRequest, Completion, Understood]:
        """Ask; once with less history where it was too long, once with more room where it was cut off."""
        completion: Completion | None = None
        while True:
            try:
                completion = yield from self._ask(self.messages)
            except EndpointError as error:
                if error.kind in (FaultKind.OVERFLOW, FaultKind.REJECTED) and completion is not None:
                    break  # there is no more room: read what was cut off
                shorter = render(self.request, self.model.prompts, shortened=True)
                if (
                    error.kind is not FaultKind.OVERFLOW
                    or Rung.SHORTENED in self.rungs
                    or shorter == self.messages
                ):
                    raise
                self.messages = shorter
                self.rungs.append(Rung.SHORTENED)
                continue
            if completion.finish_reason != "length" or Rung.LIMIT_RAISED in self.rungs:
                break
            self.limit *= RAISE
            self.rungs.append(Rung.LIMIT_RAISED)
        self.text, self.cut_off = completion.text, completion.finish_reason == "length"
        return understand(self.text, self.request.payload)

    def again(self, faulty: Understood) -> Generator[CompletionRequest, Completion, Understood | None]:
        """Ask once more with the problems; ``None`` where the conversation had become too long to send."""
        words = render_repair(self.request, faulty.problems[:MOST_PROBLEMS], self.model.prompts)
        if self.text.strip():
            quoted = {"role": "assistant", "content": quotable(self.text, QUOTED)}
            messages = [*self.messages, quoted, {"role": "user", "content": words}]
        else:  # many chat templates take neither an empty turn nor two of one speaker
            *before, last = self.messages
            messages = [*before, {**last, "content": f"{last['content']}\n\n{words}"}]
        try:
            completion = yield from self._ask(messages)
        except EndpointError as error:
            if error.kind in (FaultKind.OVERFLOW, FaultKind.REJECTED):
                return None
            raise
        return understand(completion.text, self.request.payload)

    def reply(self, understood: Understood, rung: Rung) -> Reply:
        """What it all came to."""
        return Reply(understood.reply, self.usage, self.recorded, (rung, *self.rungs))

    def failure(self, message: str, problems: tuple[str, ...]) -> UnusableReplyError:
        """Why it came to nothing, and what it cost."""
        return UnusableReplyError(
            f"{self.model.name}: {message}",
            problems=problems,
            usage=self.usage,
            cached=self.recorded,
            rungs=(Rung.FAILED, *self.rungs),
        )

    def _ask(self, messages: Messages) -> Generator[CompletionRequest, Completion, Completion]:
        completion = yield self.model.completion(self.request.task, messages, self.limit)
        self.recorded &= completion.recorded
        if not completion.recorded:
            self.usage += Usage(1, completion.prompt_tokens, completion.completion_tokens)
        if completion.refusal or completion.finish_reason == "content_filter":
            raise self.failure(f"it refused {self.request.task}", ("the model refused to answer",))
        return completion
