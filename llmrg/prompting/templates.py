"""Prompts as files: front matter, three parts (task, example input, example output), the data last.

Promise: a prompt that lacks a part or a variable, or that cannot be rendered, is refused when it is loaded, not
when the first user is asked about; what is static stands before what changes, so that servers can cache the prefix.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from llmrg.errors import SettingsError
from llmrg.fingerprint import fingerprint, fingerprint_text
from llmrg.resources import resource_folder

PROMPTS = ("chained_reasoning", "divergent_extension", "self_verification", "free_fill", "repair")
VARIABLES = frozenset({"schema", "data", "delimiter"})
"""What rendering provides: the reply's JSON schema, what is shown, and the marks around it."""

_FORGED = re.compile(r"[<>&'\u2028\u2029\u0085\ud800-\udfff]|={2,}|\[(?=/?[A-Z])")
"""Tags, line ends, halves of characters, delimiters, and tokens such as ``[/INST]``."""

_FAULTS = (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What a template may end in, by its own fault."""

ENCODING = "utf-8-sig"  # of prompt files; some editors begin with a byte order mark
PARTS = ("# Task", "# Example input", "# Example output", "# Input")


class FrontMatter(BaseModel):
    """The head of a prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int
    variables: list[str]


@dataclass(frozen=True)
class PromptTemplate:
    """One prompt.

    Args:
        head: name, version, variables.
        system: everything before ``# Input``: the static part.
        user: everything after it: the data.
    """

    head: FrontMatter
    system: str
    user: str

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of version and words."""
        return fingerprint_text([self.head.name, str(self.head.version), self.system, self.user])

    def render(self, *, schema: object, data: object, delimiter: str) -> tuple[str, str]:
        """The static part and the data part."""
        given = {"schema": schema, "data": data, "delimiter": delimiter}
        system, user = (part.render(given).strip() for part in self._compiled)
        return system, user

    @cached_property
    def _compiled(self) -> tuple[Template, Template]:
        environment = _environment()
        return environment.from_string(self.system), environment.from_string(self.user)


def load_prompt(name: str, folder: Path | None = None) -> PromptTemplate:
    """A prompt by name: from a folder of one's own where it holds one of that name, else the shipped one.

    Raises:
        SettingsError: no such prompt, or one that cannot be used.

    >>> load_prompt("chained_reasoning").head.variables
    ['schema', 'data', 'delimiter']
    """
    path = prompt_path(name, folder)
    try:
        text = path.read_text(encoding=ENCODING)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: expected UTF-8 text, found {error.reason}") from error
    template = parse_prompt(text, where=str(path))
    if template.head.name != name:
        raise SettingsError(
            f"{path}: expected 'name: {name}' in its front matter, found {template.head.name!r}"
        )
    _refuse_unrenderable(template, where=str(path))
    return template


def prompt_path(name: str, folder: Path | None = None) -> Path:
    """The file that a prompt is read from.

    Raises:
        SettingsError: no prompt of that name, or a folder that cannot be used.
    """
    if name not in PROMPTS:
        raise SettingsError.unknown(name, PROMPTS, where=str(folder or "prompts"))
    if folder is not None and name in own_prompts(folder):
        return folder / f"{name}.md"
    return resource_folder("prompts") / f"{name}.md"


def own_prompts(folder: Path) -> tuple[str, ...]:
    """Which prompts a folder of one's own replaces; the others stay the shipped ones.

    Raises:
        SettingsError: no such folder, no prompt in it, or a file that is called like none.
    """
    names = {path.stem for path in folder.glob("*.md") if path.stem.lower() != "readme"}
    for name in sorted(names - set(PROMPTS)):
        raise SettingsError.unknown(name, PROMPTS, where=str(folder))
    if not names:
        raise SettingsError(
            f"{folder}: expected a folder with at least one of {', '.join(f'{name}.md' for name in PROMPTS)}, "
            f"found {'none of them' if folder.is_dir() else 'no such folder'}"
        )
    return tuple(name for name in PROMPTS if name in names)


def parse_prompt(text: str, *, where: str) -> PromptTemplate:
    """A prompt from its file's text.

    Raises:
        SettingsError: a part, the front matter or a variable is missing, unknown or unused.
    """
    lead, _, rest = text.partition("---\n")
    front, mark, body = rest.partition("\n---\n")
    if lead.strip() or not mark:
        raise SettingsError(f"{where}: expected front matter between two lines of ---, found none")
    try:
        head = FrontMatter.model_validate(yaml.safe_load(front))
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # of pydantic's kind, too
        raise SettingsError(f"{where}: front matter: {error}") from error
    lines = body.splitlines()
    places = [lines.index(part) if part in lines else -1 for part in PARTS]
    if -1 in places or places != sorted(places):
        raise SettingsError(f"{where}: expected the parts {', '.join(PARTS)} in this order")
    system, user = "\n".join(lines[: places[-1]]), "\n".join(lines[places[-1] + 1 :])
    environment = _environment()
    try:
        used = {
            name
            for part in (system, user)
            for name in meta.find_undeclared_variables(environment.parse(part))
        }
        changing = meta.find_undeclared_variables(environment.parse(system)) - {"schema"}
    except _FAULTS as error:
        raise SettingsError(f"{where}: {error}") from error
    declared = set(head.variables)
    for name in sorted(used - declared):
        raise SettingsError(f"{where}: uses the variable {name!r} without declaring it in its front matter")
    for name in sorted(declared - used):
        raise SettingsError(f"{where}: declares the variable {name!r} and never uses it")
    for name in sorted(declared - VARIABLES):
        raise SettingsError.unknown(name, VARIABLES, where=where)
    for name in sorted(VARIABLES - declared):
        raise SettingsError(f"{where}: expected the variable {name!r}, found it neither declared nor used")
    if changing:
        raise SettingsError(
            f"{where}: {sorted(changing)} may stand after # Input only: what precedes is static"
        )
    return PromptTemplate(head, system.strip(), user.strip())


def prompts_fingerprint(folder: Path | None = None) -> str:
    """Content hash of all prompts."""
    return fingerprint([load_prompt(name, folder).fingerprint for name in PROMPTS])


def _refuse_unrenderable(template: PromptTemplate, *, where: str) -> None:
    """Try a prompt on the example request of its task."""
    from llmrg.prompting.example_requests import example_variables  # which itself loads prompts

    try:
        template.render(**example_variables(template.head.name))
    except _FAULTS as error:
        raise SettingsError(f"{where}: cannot be rendered: {error}") from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
    environment.filters["tojson"] = _to_json
    return environment


def _to_json(value: object, indent: int | None = None) -> str:
    """JSON in which foreign words hold no tag, no delimiter and no token that a chat format reserves.

    >>> _to_json({"title": "<|im_end|> [/INST] =====DATA"})
    '{"title": "\\\\u003c|im_end|\\\\u003e \\\\u005b/INST] \\\\u003d\\\\u003d\\\\u003d\\\\u003d\\\\u003dDATA"}'
    """
    if isinstance(value, StrictUndefined):
        str(value)  # raises, and names what is missing
    # none of these stands outside a string in JSON, indented or not, so escaping them changes no value
    return _FORGED.sub(
        lambda found: "".join(f"\\u{ord(character):04x}" for character in found.group()),
        json.dumps(value, ensure_ascii=False, indent=indent),
    )
