"""From a request to the messages a language model reads.

Promise: titles and attributes are data. They are normalised, stripped of control, direction and invisible
characters, cut, escaped as JSON and placed last between delimiters that cannot occur in them; they are
never template source, and item ids are not shown. Rendering is done on demand, so a reasoner that reads
payloads pays nothing for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from llmrg.plain_text import encodable, legible
from llmrg.prompting.templates import PromptTemplate, load_prompt
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoners.tasks import REPLY_OF, ChainedPayload, DivergentPayload, Payload, ShownItem, Task

TITLE = 200  # characters of a title or of attributes at most
_RESERVED = re.compile(r"([<\[])(?=[|/a-zA-Z\uff5c])")

Messages = list[dict[str, str]]


class Variables(TypedDict):
    """What a prompt is rendered with."""

    schema: dict[str, Any]
    data: dict[str, Any]
    delimiter: str


def render(request: ReasonerRequest, folder: Path | None = None, *, shortened: bool = False) -> Messages:
    """System and user message of a request.

    Args:
        request: what is asked.
        folder: prompts of one's own; ``None``: the shipped ones.
        shortened: leave out the older half of the context (see :func:`shorten`).
    """
    data = shown_data(request.payload)
    template = _template(request.task.value, folder)
    system, user = template.render(**variables_of(request, shorten(data) if shortened else data))
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def render_repair(request: ReasonerRequest, problems: Iterable[str], folder: Path | None = None) -> str:
    """What is said to a model whose reply had problems.

    Args:
        request: what was asked.
        problems: one sentence each; they may quote the reply, so they are data too.
        folder: prompts of one's own; ``None``: the shipped ones.
    """
    parts = _template("repair", folder).render(**variables_of(request, shown_problems(problems)))
    return "\n\n".join(parts)


def variables_of(request: ReasonerRequest, data: dict[str, Any]) -> Variables:
    """What a prompt is given.

    Args:
        request: what is asked; its reply's schema is given, and its content marks the data.
        data: see :func:`shown_data` and :func:`shown_problems`.
    """
    mark = request.content_hash.rpartition(":")[2][:12]
    return {"schema": reply_schema(request.task), "data": data, "delimiter": f"=====DATA {mark}====="}


def shown_problems(problems: Iterable[str]) -> dict[str, Any]:
    """What of a reply's problems is shown, sanitised."""
    return {"problems": [sanitise(problem) for problem in problems]}


def quotable(reply: str, limit: int) -> str:
    """A model's faulty reply as it may be shown to that model again.

    A title may have talked the model into writing tokens that its chat format reserves; a blank breaks them,
    and means nothing in JSON outside of a string.

    >>> quotable('{"links": [[/INST] <|im_end|>', 99)
    '{"links": [[ /INST] < |im_end|>'
    """
    return _RESERVED.sub(r"\1 ", encodable(reply[:limit]))


def shown_data(payload: Payload) -> dict[str, Any]:
    """What of a payload is shown, sanitised, as JSON-like values."""
    data: dict[str, Any] = {"items": _items(payload.items)}
    if isinstance(payload, ChainedPayload):
        for index in payload.new:
            data["items"][index]["new"] = True
        data["attributes"] = _indexed("attribute", payload.attributes)
        data["reasons"] = [
            {"index": i, "reason": sanitise(reason.words), "items": list(reason.items)}
            for i, reason in enumerate(payload.reasons)
        ]
        data["rejected"] = [sanitise(words) for words in payload.rejected]
        data["extend"], data["per_chain"] = payload.extend, payload.per_chain
    elif isinstance(payload, DivergentPayload):
        data["chains"] = [
            {
                "newest": chain.items[-1],
                "reasons": [sanitise(words) for words in chain.reasons],
                "items": list(chain.items),
            }
            for chain in payload.chains
        ]
        data["per_chain"] = payload.per_chain
        data["attributes"] = _indexed("attribute", payload.attributes)
    else:
        data["masks"] = [
            {
                "index": i,
                "visible": list(mask.visible),
                "reason": sanitise(mask.reason),
                "imagined": mask.imagined,
                **({"options": _items(mask.options)} if mask.options else {}),
            }
            for i, mask in enumerate(payload.masks)
        ]
    return data


def shorten(data: dict[str, Any]) -> dict[str, Any]:
    """What is shown without the older half of its context; what is left keeps its indexes.

    New items stay, and so do those that name a chain.

    >>> shorten({"items": [{"index": 0}, {"index": 1}, {"index": 2, "new": True}], "reasons": []})["items"]
    [{'index': 1}, {'index': 2, 'new': True}]
    """
    kept = {chain["newest"] for chain in data.get("chains", ())}
    context = [item["index"] for item in data["items"] if not item.get("new") and item["index"] not in kept]
    gone = set(context[: (len(context) + 1) // 2])
    shorter: dict[str, Any] = _without(data, gone)
    shorter["items"] = [item for item in data["items"] if item["index"] not in gone]
    if "reasons" in data:
        shorter["reasons"] = shorter["reasons"][(len(data["reasons"]) + 1) // 2 :]
    return shorter


@lru_cache(maxsize=len(Task))
def reply_schema(task: Task) -> dict[str, Any]:
    """The JSON schema a reply must fit, without the titles that pydantic makes up; made once."""
    schema = REPLY_OF[task].model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        for value in (part, *part["properties"].values()):
            value.pop("title", None)
    return schema


def sanitise(text: str, limit: int = TITLE) -> str:
    """Foreign words made harmless to show: normalised, on one line, without invisible characters, cut.

    >>> sanitise("Toy\\u202e Story\\x00\\n(1995)")
    'Toy Story (1995)'
    """
    if text.isascii() and text.isprintable():  # nothing to make harmless, as in most titles
        return " ".join(text[: 4 * limit].split())[:limit].rstrip()
    normal = unicodedata.normalize("NFKC", text[: 4 * limit])
    spaced = "".join(
        " " if character.isspace() else character
        for character in legible(normal)
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    # once more, because letters and accents may have been kept apart by what was taken out
    joined = legible(unicodedata.normalize("NFKC", spaced))
    return " ".join(joined.split())[:limit].rstrip()


def _items(items: Iterable[ShownItem]) -> list[dict[str, Any]]:
    shown = []
    for index, item in enumerate(items):
        entry: dict[str, Any] = {"index": index, "title": sanitise(item.title)}
        if item.about:
            entry["about"] = sanitise(item.about)
        shown.append(entry)
    return shown


def _without(value: Any, gone: set[int]) -> Any:
    """The same values, where lists of item indexes name none of those left out."""
    if isinstance(value, list):
        return [_without(part, gone) for part in value]
    if isinstance(value, dict):
        return {
            key: [i for i in part if i not in gone]
            if key in ("items", "visible") and all(isinstance(i, int) for i in part)
            else _without(part, gone)
            for key, part in value.items()
        }
    return value


def _indexed(name: str, values: Iterable[str]) -> list[dict[str, Any]]:
    return [{"index": i, name: sanitise(value)} for i, value in enumerate(values)]


@lru_cache(maxsize=64)
def _template(name: str, folder: Path | None) -> PromptTemplate:
    return load_prompt(name, folder)
