"""From a language model's words to a reply of its task's schema, or to a list of what is wrong with them.

Promise (law 5): whatever the text is, reading it ends soon and raises nothing. What can be mended without
guessing is mended (fences, prose, trailing commas, a cut-off end, surplus keys, numbers as strings, overlong
words), entry by entry, so that one bad entry costs no other; every other fault is one sentence that the model
can be asked again with.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Union, cast, get_args, get_origin

from annotated_types import MaxLen
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from llmrg.prompting.rendering import sanitise
from llmrg.reasoners.free_form import parse_free_form, to_divergent
from llmrg.reasoners.loose_json import json_values
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.tasks import (
    REPLY_OF,
    TASK_OF,
    DivergentPayload,
    Payload,
    ReplyContent,
    ReplyModel,
    Task,
)

LONGEST = 200_000  # characters of a reply that are looked at; many times what a full reply needs
MOST_PROBLEMS = 12  # told to a model at once


@dataclass(frozen=True, slots=True)
class Understood:
    """What a text was understood as.

    Args:
        reply: of the task's schema; its entries may still speak of what was not shown, see ``problems``.
        problems: what is wrong with it, one sentence each.
        mended: something had to be taken away or changed to read it.
    """

    reply: ReplyContent
    problems: tuple[str, ...]
    mended: bool

    @property
    def good(self) -> bool:
        """Nothing is wrong with it."""
        return not self.problems


def understand(text: str, payload: Payload) -> Understood:
    """Read a reply to what ``payload`` asks.

    Args:
        text: the model's words; anything.
        payload: what was shown.
    """
    model = REPLY_OF[TASK_OF[type(payload)]]
    if len(text) > LONGEST:
        return Understood(_empty(model), (f"the reply is longer than {LONGEST} characters",), mended=True)
    if not text.strip():
        return Understood(_empty(model), ("the reply is empty",), mended=True)
    best: Understood | None = None
    for value, mended in json_values(text):
        reader = _Reader(mended)
        reply = reader.read(value, model)
        found = Understood(
            reply,
            tuple(dict.fromkeys([*reader.problems, *reply_problems(payload, reply), *_twice(reply)])),
            reader.mended,
        )
        if found.good:
            return found
        if best is None or len(best_parts(payload, [found])) >= len(best_parts(payload, [best])):
            best = found
    if isinstance(payload, DivergentPayload) and (best is None or not best_parts(payload, [best])):
        listed = to_divergent(payload, parse_free_form(text))
        if (
            listed is not None
        ):  # asked for again all the same: a list says nothing of how plausible its titles are
            return Understood(listed, ("the reply holds no JSON object",), mended=True)
    return best or Understood(_empty(model), ("the reply holds no JSON object",), mended=True)


def salvage(payload: Payload, attempts: Iterable[Understood]) -> ReplyContent | None:
    """Everything good of several attempts, the first one's entries first; ``None`` where nothing is."""
    model = REPLY_OF[TASK_OF[type(payload)]]
    parts = best_parts(payload, attempts)
    if not parts:
        return None
    return _built(model, parts)


def best_parts(payload: Payload, attempts: Iterable[Understood]) -> list[tuple[str, ReplyModel]]:
    """Entries, with the name of the list they stand in, that are right about what nothing before spoke of."""
    model = REPLY_OF[TASK_OF[type(payload)]]
    kept: dict[tuple[str, int], tuple[str, ReplyModel]] = {}
    unanswered = set(reply_problems(payload, _built(model, ())))
    for attempt in attempts:
        for part in _parts(attempt.reply):
            alone = set(reply_problems(payload, _built(model, [part])))
            if alone <= unanswered and _about(part) not in kept:
                kept[_about(part)] = part
    return list(kept.values())


@lru_cache(maxsize=len(Task))
def portable_schema(task: Task) -> dict[str, Any]:
    """The task's reply schema in the subset that servers agree on: no references, no bounds on words.

    Args:
        task: whose reply.
    """
    schema = REPLY_OF[task].model_json_schema()
    return cast(dict[str, Any], _plain(schema, schema.get("$defs", {})))


def response_format(task: Task, mode: str) -> dict[str, Any] | None:
    """The ``response_format`` of a request.

    Args:
        task: whose reply.
        mode: ``json_schema``, ``json_object`` or ``prompt_only``.
    """
    if mode == "prompt_only":
        return None
    if mode == "json_object":
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "json_schema": {"name": task.value, "strict": True, "schema": portable_schema(task)},
    }


# ----------------------------------------------------------------- values to a reply


@dataclass(slots=True)
class _Reader:
    """Fits foreign values to a reply model, field by field."""

    mended: bool
    problems: list[str] = field(default_factory=list)

    def read(self, value: Any, model: type[ReplyContent]) -> ReplyContent:
        """The reply, holding every entry that fits."""
        lists = model.model_fields
        if isinstance(value, list) and len(lists) == 1:
            value, self.mended = {next(iter(lists)): value}, True
        if not isinstance(value, dict) or not any(name in value for name in lists):
            self.problems.append(f"expected an object with {', '.join(lists)}")
            value = {}
        self.mended |= any(key not in lists for key in value)
        parts: list[tuple[str, ReplyModel]] = []
        for name, info in lists.items():
            entry = get_args(info.annotation)[0]
            found = value.get(name, [])
            self.mended |= name not in value
            if not isinstance(found, list):
                self.problems.append(f"{name}: expected an array")
                continue
            most = _longest(info)
            for at, foreign in enumerate(found[:most]):
                one = self._entry(foreign, entry, f"{name}[{at}]")
                if one is not None:
                    parts.append((name, one))
            if len(found) > most:
                self.mended = True
        return _built(model, parts)

    def _entry(self, value: Any, model: type[ReplyModel], where: str) -> ReplyModel | None:
        try:
            return model.model_validate(self._fit(value, model, None))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join([where, *(str(part) for part in first["loc"])])
            self.problems.append(f"{place}: {first['msg']}")
            return None

    def _fit(self, value: Any, kind: Any, info: FieldInfo | None) -> Any:
        """The value with what is surplus taken away; what does not fit is left for validation to name."""
        most = _longest(info)
        if isinstance(kind, type) and issubclass(kind, ReplyModel) and isinstance(value, dict):
            fitted = {}
            for name, inner in kind.model_fields.items():
                if name in value:
                    fitted[name] = self._fit(value[name], inner.annotation, inner)
                elif get_origin(inner.annotation) is list:
                    fitted[name], self.mended = [], True
            self.mended |= any(key not in kind.model_fields for key in value)
            return fitted
        if get_origin(kind) is list and isinstance(value, list):
            self.mended |= len(value) > most
            return [self._fit(one, get_args(kind)[0], None) for one in value[:most]]
        if get_origin(kind) in (Union, types.UnionType):
            inner_kinds = [one for one in get_args(kind) if one is not type(None)]
            return value if value is None else self._fit(value, inner_kinds[0], info)
        if kind is str and isinstance(value, str):
            self.mended |= len(value) > most
            # lone surrogates pass JSON but no encoder
            return sanitise(value.encode("utf-8", "replace").decode("utf-8"), min(most, LONGEST))
        if kind is int and not (isinstance(value, int) and not isinstance(value, bool)):
            self.mended = True
        return value


def _longest(info: FieldInfo | None) -> int:
    bounds = [part.max_length for part in (info.metadata if info else ()) if isinstance(part, MaxLen)]
    return min(bounds, default=LONGEST)


def _parts(reply: ReplyContent) -> Iterator[tuple[str, ReplyModel]]:
    for name in type(reply).model_fields:
        for entry in getattr(reply, name):
            yield name, entry


def _built(model: type[ReplyContent], parts: Iterable[tuple[str, ReplyModel]]) -> ReplyContent:
    lists: dict[str, list[ReplyModel]] = {name: [] for name in model.model_fields}
    for name, entry in parts:
        lists[name].append(entry)
    return model.model_construct(**cast(dict[str, Any], lists))


def _empty(model: type[ReplyContent]) -> ReplyContent:
    return _built(model, [])


def _twice(reply: ReplyContent) -> list[str]:
    """Entries of one list that speak of the same thing."""
    seen: set[tuple[str, int]] = set()
    found = []
    for part in _parts(reply):
        about = _about(part)
        if about in seen:
            found.append(f"{about[0]}: {next(iter(type(part[1]).model_fields))} {about[1]} is answered twice")
        seen.add(about)
    return found


def _about(part: tuple[str, ReplyModel]) -> tuple[str, int]:
    """What an entry speaks of: its first field is an index."""
    name, entry = part
    return name, getattr(entry, next(iter(type(entry).model_fields)))


def _plain(part: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_plain(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        named = definitions[part["$ref"].rpartition("/")[2]]
        return _plain({**named, **{key: v for key, v in part.items() if key != "$ref"}}, definitions)
    return {
        key: _plain_properties(value, definitions) if key == "properties" else _plain(value, definitions)
        for key, value in part.items()
        if key not in ("$defs", "maxLength", "title")
    }


def _plain_properties(properties: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Names of fields are no keywords, even where one is called ``title``."""
    return {name: _plain(value, definitions) for name, value in properties.items()}
