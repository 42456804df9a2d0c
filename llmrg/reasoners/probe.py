"""What an endpoint keeps to: asked once, before the first user, because servers differ and some pretend.

Promise: a schema counts as kept only if a word that stands nowhere but in the schema comes back (a nonce); what the
endpoint refuses or ignores is answered with the next weaker way, and a fault that says nothing about its abilities
(no connection, a bad key) is raised instead of being taken for an inability. So is a reply that is cut off: a model
may have used its room for thinking, so it is asked once more with all the room there is, and where that is not enough
either, nothing is said of it.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from llmrg.errors import SettingsError
from llmrg.reasoners.endpoint import Completion, CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.reasoners.language_model import completion_body
from llmrg.reasoners.structured import response_format
from llmrg.reasoners.tasks import Task
from llmrg.settings import LanguageModelSettings

Mode = Literal["json_schema", "json_object", "prompt_only"]
ROOM = 256  # tokens; some models think before they write
CUT_OFF = "length"  # why such a reply finished

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probed:
    """What an endpoint keeps to.

    Args:
        mode: the strongest way it holds replies to a schema.
        served: the model it says it serves.
        refused: what it said to the stronger ways, by way.
    """

    mode: Mode
    served: str
    refused: dict[str, str]


async def probe(
    endpoint: Endpoint,
    settings: LanguageModelSettings,
    nonce: Callable[[], str] = lambda: secrets.token_hex(4),
) -> Probed:
    """Ask an endpoint what it keeps to, with at most four short completions, and two longer ones after a cut.

    Args:
        endpoint: whom.
        settings: model and sampling.
        nonce: makes a word that cannot be guessed.

    Raises:
        EndpointError: it does not answer at all, or its replies are cut off before anything can be told from them.
        SettingsError: no model is named.
    """
    refused: dict[str, str] = {}
    word = nonce()
    question = "Reply with one short JSON object and nothing else."
    schema = {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [word]}},
        "required": ["word"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "probe", "strict": True, "schema": schema}}
    answer = await _ask_for_all(endpoint, settings, question, form, "json_schema", refused)
    if answer is not None and _object(answer.text).get("word") == word:
        # a schema of our own may still be more than it takes
        longest = response_format(Task.CHAINED_REASONING, "json_schema")
        taken = await _ask(endpoint, settings, question, longest, "json_schema", refused)
        if taken is not None:
            return Probed("json_schema", taken.model, refused)
    elif answer is not None:
        refused["json_schema"] = "accepted, but not kept to"
    answer = await _ask_for_all(endpoint, settings, question, {"type": "json_object"}, "json_object", refused)
    if answer is not None and _object(answer.text):
        return Probed("json_object", answer.model, refused)
    if answer is not None:
        refused["json_object"] = "accepted, but not kept to"
    answer = await _ask(endpoint, settings, question, None, "prompt_only", refused)
    if answer is None:
        raise EndpointError(f"refused the plainest request: {refused['prompt_only']}", kind=FaultKind.STOP)
    return Probed("prompt_only", answer.model, refused)


async def settle(endpoint: Endpoint, settings: LanguageModelSettings) -> LanguageModelSettings:
    """The settings with ``structured_output: auto`` replaced by what the endpoint keeps to.

    Raises:
        EndpointError: it does not answer.
    """
    if settings.structured_output != "auto":
        return settings
    found = await probe(endpoint, settings)
    log.info(
        "%s keeps to %s%s",
        settings.model,
        found.mode,
        "".join(f"; {k}: {v}" for k, v in found.refused.items()),
    )
    return settings.model_copy(update={"structured_output": found.mode})


async def _ask_for_all(
    endpoint: Endpoint,
    settings: LanguageModelSettings,
    question: str,
    form: dict[str, Any],
    mode: Mode,
    refused: dict[str, str],
) -> Completion | None:
    """As :func:`_ask`, and a reply that is not cut off.

    Raises:
        EndpointError: (also) it is, in all the room that the settings leave.
    """
    answer = await _ask(endpoint, settings, question, form, mode, refused)
    if answer is None or answer.finish_reason != CUT_OFF or _object(answer.text):
        return answer
    if settings.max_tokens > ROOM:
        answer = await _ask(endpoint, settings, question, form, mode, refused, room=settings.max_tokens)
        if answer is None or answer.finish_reason != CUT_OFF or _object(answer.text):
            return answer
    raise EndpointError(
        f"whether {settings.model} keeps to {mode} cannot be told: its reply was cut off after {settings.max_tokens} "
        "tokens, perhaps of thinking; raise llmrg.language_model.max_tokens, or say what it keeps to: "
        "llmrg.language_model.structured_output",
        kind=FaultKind.STOP,
    )


async def _ask(
    endpoint: Endpoint,
    settings: LanguageModelSettings,
    question: str,
    form: dict[str, Any] | None,
    mode: Mode,
    refused: dict[str, str],
    room: int = ROOM,
) -> Completion | None:
    """The completion, or ``None`` where the endpoint refuses to be asked this way."""
    if settings.model is None:
        raise SettingsError("language_model.model: expected a model's name", name="language_model.model")
    messages = [{"role": "user", "content": question}]
    room = min(room, settings.max_tokens)
    try:
        return await endpoint.complete(CompletionRequest(completion_body(settings, messages, room, form)))
    except EndpointError as error:
        # some servers meet a schema they cannot use with a 500
        if error.kind is FaultKind.REJECTED or (error.status == 500 and mode != "prompt_only"):
            refused[mode] = str(error)
            return None
        raise


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
