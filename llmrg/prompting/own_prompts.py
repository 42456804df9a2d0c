"""What a folder of one's own prompts changes: words, version, and the parts of the reply it speaks of.

Promise: nothing is refused here that could be loaded, and every way in which an own prompt no longer fits
this version's replies is named, because such a prompt makes a model's replies fail one by one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmrg.prompting.templates import ENCODING, PromptTemplate, load_prompt, own_prompts, prompt_path
from llmrg.reasoners.tasks import REPLY_OF, Task

CHARACTERS_PER_TOKEN = 4  # of English, roughly; only a server's own count is true
REPAIRED = Task.CHAINED_REASONING  # whose reply the example of the repair prompt shows


@dataclass(frozen=True, slots=True)
class PromptChange:
    """One prompt of one's own, held against the shipped one.

    Args:
        name: of the prompt.
        versions: shipped, own.
        diff: unified, of the files; empty where they are the same.
        unexplained: fields of the reply that the shipped prompt explains and the own one does not.
        problems: why an example output does not fit the reply schema.
    """

    name: str
    versions: tuple[int, int]
    diff: tuple[str, ...]
    unexplained: tuple[str, ...]
    problems: tuple[str, ...]


def compare_prompts(folder: Path) -> list[PromptChange]:
    """Every prompt of a folder against the shipped one of its name.

    Raises:
        SettingsError: the folder or a prompt in it cannot be used.
    """
    changes = []
    for name in own_prompts(folder):
        shipped, own = load_prompt(name), load_prompt(name, folder)
        before, after = (
            path.read_text(encoding=ENCODING).splitlines()
            for path in (prompt_path(name), prompt_path(name, folder))
        )
        changes.append(
            PromptChange(
                name,
                (shipped.head.version, own.head.version),
                tuple(
                    difflib.unified_diff(before, after, f"shipped/{name}.md", f"own/{name}.md", lineterm="")
                ),
                tuple(sorted(explained_fields(shipped) - explained_fields(own))),
                tuple(example_problems(own)),
            )
        )
    return changes


def explained_fields(template: PromptTemplate) -> set[str]:
    """Fields of the reply that the task part names in backticks."""
    if template.head.name == "repair":
        return set()
    task_part = template.system.partition("# Example input")[0]
    return set(re.findall(r"`(\w+)`", task_part)) & set(_field_names(_schema(template)))


def example_problems(template: PromptTemplate) -> list[str]:
    """Why an example output of a prompt is not a valid reply; empty where all are.

    >>> example_problems(load_prompt("self_verification"))
    []
    """
    found = []
    for at, example in enumerate(example_outputs(template), start=1):
        try:
            REPLY_OF[_task(template)].model_validate_json(example)
        except ValidationError as error:
            found += [
                f"example output {at}: {'.'.join(map(str, e['loc']))}: {e['msg']}"
                for e in error.errors(include_input=False, include_url=False)
            ]
    return found


def example_outputs(template: PromptTemplate) -> list[str]:
    """The example outputs: one JSON object a line, under a heading that names them."""
    return _lines_under(template.system, "Example output")


def example_inputs(template: PromptTemplate) -> list[str]:
    """The example inputs, as :func:`example_outputs`."""
    return _lines_under(template.system, "Example input")


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has.

    >>> estimated_tokens("a prompt of 24 letters..")
    6
    """
    return len(text) // CHARACTERS_PER_TOKEN


def _lines_under(text: str, heading: str) -> list[str]:
    found, inside = [], False
    for line in text.splitlines():
        if line.startswith("# "):
            inside = line.startswith(f"# {heading}")
        elif inside and line.startswith("{"):
            found.append(line)
    return found


def _task(template: PromptTemplate) -> Task:
    return REPAIRED if template.head.name == "repair" else Task(template.head.name)


def _schema(template: PromptTemplate) -> dict[str, Any]:
    return REPLY_OF[_task(template)].model_json_schema()


def _field_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield from schema["properties"]
        for value in schema.values():
            yield from _field_names(value)
