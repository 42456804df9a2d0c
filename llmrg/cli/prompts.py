"""``llmrg prompts``: the prompts there are, what one looks like, and what a folder of one's own changes.

Promise: it asks no model and writes nothing; a prompt that could not be used is refused here as it would be
by a run.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrg.cli.options import AsJson
from llmrg.cli.screen import Screen, open_screen, table_of
from llmrg.errors import SettingsError
from llmrg.plain_text import plain_line

if TYPE_CHECKING:
    from llmrg.prompting.templates import PromptTemplate


class Action(StrEnum):
    """What is done with prompts."""

    LIST = "list"
    SHOW = "show"
    DIFF = "diff"


def prompts(
    action: Annotated[
        Action, typer.Argument(metavar="list|show|diff", help="What to do.", show_default=False)
    ] = Action.LIST,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FOLDER]", help="show: a prompt's name. diff: a folder.", show_default=False
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", metavar="DIR", help="list, show: prompts of your own; the others are shipped."
        ),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="show: the messages of a small example request instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List or show the prompts, or compare your own.

    A folder of your own may hold some of them only; the others stay the shipped ones.

    \b
    Example:
      llmrg prompts list
      llmrg prompts show chained_reasoning --example
      llmrg prompts diff my-prompts --json
    """
    with open_screen(as_json) as screen:
        if action is Action.LIST:
            _refuse(what is not None or example, "list", "takes neither a name nor --example")
            _list(screen, folder)
        elif action is Action.SHOW:
            _show(screen, what, folder, example)
        else:
            _refuse(
                folder is not None or example, "diff", "takes its folder without --folder, and no --example"
            )
            _diff(screen, what)


def prompt_facts(template: PromptTemplate, folder: Path | None) -> dict[str, Any]:
    """What there is to know of a prompt, as plain values."""
    from llmrg.prompting.example_requests import example_messages
    from llmrg.prompting.own_prompts import estimated_tokens
    from llmrg.prompting.templates import prompt_path

    static = example_messages(template.head.name, folder)[0]["content"].partition("\n=====DATA")[0].rstrip()
    return {
        "name": template.head.name,
        "version": template.head.version,
        "variables": template.head.variables,
        "fingerprint": template.fingerprint,
        "from": str(prompt_path(template.head.name, folder)),
        "own": folder is not None and prompt_path(template.head.name, folder).parent == folder,
        "static_characters": len(static),
        "static_tokens": estimated_tokens(static),
    }


def _list(screen: Screen, folder: Path | None) -> None:
    from llmrg.prompting.templates import PROMPTS, load_prompt, prompts_fingerprint

    found = [prompt_facts(load_prompt(name, folder), folder) for name in PROMPTS]
    table = table_of(("prompt", "variables", "fingerprint", "from", "version", "static tokens"), names=4)
    for facts in found:
        where = plain_line(facts["from"], 80) if facts["own"] else "shipped"
        words = (facts["name"], ", ".join(facts["variables"]), facts["fingerprint"][:15], where)
        table.add_row(*words, str(facts["version"]), f"about {facts['static_tokens']}")
    screen.show(table)
    screen.document({"prompts": found, "fingerprint": prompts_fingerprint(folder)})


def _show(screen: Screen, name: str | None, folder: Path | None, example: bool) -> None:
    from llmrg.prompting.example_requests import example_messages
    from llmrg.prompting.templates import ENCODING, PROMPTS, load_prompt, prompt_path

    if name is None:
        raise SettingsError(f"prompts show: expected a prompt's name, one of {', '.join(PROMPTS)}")
    template = load_prompt(name, folder)
    facts = prompt_facts(template, folder)
    if example:
        messages = example_messages(name, folder)
        for message in messages:
            screen.line(f"--- {message['role']}")
            screen.text(message["content"])
        screen.document({**facts, "messages": messages})
        return
    text = prompt_path(name, folder).read_text(encoding=ENCODING)
    tokens = f"{facts['static_characters']} characters, about {facts['static_tokens']} tokens"
    screen.facts({"from": facts["from"], "fingerprint": facts["fingerprint"], "static part": tokens})
    screen.line()
    screen.text(text)
    screen.document({**facts, "text": text})


def _diff(screen: Screen, what: str | None) -> None:
    from llmrg.prompting.own_prompts import compare_prompts
    from llmrg.prompting.templates import PROMPTS, prompts_fingerprint

    if what is None:
        raise SettingsError("prompts diff: expected a folder of your own prompts")
    changes = compare_prompts(Path(what))
    for change in changes:
        before, after = change.versions
        version = f"version {before}" if before == after else f"version {before} shipped, {after} yours"
        screen.line(f"{change.name}: {version}{'' if change.diff else ', the same words'}")
        if change.unexplained:
            screen.line(
                f"parts of the reply it no longer explains: {', '.join(change.unexplained)}", before="  "
            )
        for problem in change.problems:
            screen.line(f"does not fit the reply schema: {problem}", before="  ")
        screen.text("\n".join(change.diff))
    shipped = [name for name in PROMPTS if name not in {change.name for change in changes}]
    screen.line(f"shipped ones stay for: {', '.join(shipped) or 'none'}")
    screen.document(
        {
            "folder": what,
            "fingerprint": prompts_fingerprint(Path(what)),
            "shipped_fingerprint": prompts_fingerprint(),
            "changes": [
                {
                    "name": change.name,
                    "shipped_version": change.versions[0],
                    "own_version": change.versions[1],
                    "diff": list(change.diff),
                    "unexplained": list(change.unexplained),
                    "problems": list(change.problems),
                }
                for change in changes
            ],
        }
    )


def _refuse(unfit: bool, action: str, why: str) -> None:
    if unfit:
        raise SettingsError(f"prompts {action}: {why}")
