"""``llmrg prompts``: what there is, what it looks like, and what a folder of one's own changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Command, told_in_one_line

from llmrg.prompting.templates import PROMPTS, prompt_path, prompts_fingerprint


@pytest.fixture
def own(room: Path) -> Path:
    """A folder with one prompt, in other words and of another version."""
    folder = room / "my-prompts"
    folder.mkdir()
    text = prompt_path("self_verification").read_text(encoding="utf-8")
    version = next(line for line in text.splitlines() if line.startswith("version: "))
    text = text.replace("# Task\n", "# Task\nBe quick.\n", 1).replace(version, "version: 77")
    text = text.replace("`ranking`", "the ranking").replace('"ranking": [', '"order": [')
    (folder / "self_verification.md").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text("mine")
    return folder


def test_the_list_names_every_prompt_with_version_variables_and_fingerprint(llmrg: Command) -> None:
    document = llmrg("prompts", "list", "--json").document
    assert [prompt["name"] for prompt in document["prompts"]] == list(PROMPTS)
    assert document["fingerprint"] == prompts_fingerprint()
    assert {prompt["own"] for prompt in document["prompts"]} == {False}
    assert all(
        {"version", "variables", "fingerprint", "from", "static_tokens"} <= set(prompt)
        for prompt in document["prompts"]
    )
    shown = llmrg("prompts")
    assert shown.code == 0
    assert all(name in shown.out for name in PROMPTS)


def test_a_folder_with_one_prompt_replaces_that_one_only(llmrg: Command, own: Path) -> None:
    document = llmrg("prompts", "list", "--folder", own, "--json").document
    assert [p["name"] for p in document["prompts"] if p["own"]] == ["self_verification"]
    assert [p["version"] for p in document["prompts"] if p["own"]] == [77]
    assert document["fingerprint"] == prompts_fingerprint(own) != prompts_fingerprint()


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_is_shown_as_a_file_and_as_messages(llmrg: Command, name: str) -> None:
    shown = llmrg("prompts", "show", name)
    assert "{{ data | tojson }}" in shown.out
    document = llmrg("prompts", "show", name, "--json").document
    assert document["text"] == prompt_path(name).read_text(encoding="utf-8")
    example = llmrg("prompts", "show", name, "--example")
    assert example.out.count("=====DATA") == 2
    assert "{{" not in example.out
    messages = llmrg("prompts", "show", name, "--example", "--json").document["messages"]
    assert all(line.strip() in example.out for m in messages for line in m["content"].splitlines())


def test_a_diff_tells_words_version_and_parts_of_the_reply(llmrg: Command, own: Path) -> None:
    shown = llmrg("prompts", "diff", own)
    assert shown.code == 0
    assert "+Be quick." in shown.out.splitlines()
    assert "77 yours" in shown.out
    assert "no longer explains: ranking" in shown.out
    assert "does not fit the reply schema" in shown.out
    assert "shipped ones stay for: chained_reasoning" in shown.out
    (change,) = llmrg("prompts", "diff", own, "--json").document["changes"]
    assert change["unexplained"] == ["ranking"]
    assert change["problems"]
    assert change["own_version"] == 77


def test_a_copy_of_the_shipped_prompts_changes_nothing(llmrg: Command, room: Path) -> None:
    for name in PROMPTS:
        (room / f"{name}.md").write_bytes(prompt_path(name).read_bytes())
    document = llmrg("prompts", "diff", room, "--json").document
    assert document["fingerprint"] == document["shipped_fingerprint"]
    assert [change["diff"] for change in document["changes"]] == [[]] * len(PROMPTS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prompts lst", ("lst", "list")),
        ("prompts show", ("expected a prompt's name", "repair")),
        ("prompts show repar", ("did you mean 'repair'?",)),
        ("prompts diff", ("expected a folder",)),
        ("prompts diff nowhere", ("nowhere", "no such folder")),
        ("prompts list repair", ("list",)),
        ("prompts diff my-prompts --example", ("--example",)),
    ],
)
def test_a_misused_prompts_verb_is_told_in_one_line(
    llmrg: Command, line: str, words: tuple[str, ...]
) -> None:
    told_in_one_line(llmrg(*line.split()), *words)


def test_a_prompt_that_cannot_be_rendered_is_told_in_one_line(llmrg: Command, own: Path) -> None:
    file = own / "self_verification.md"
    file.write_text(file.read_text(encoding="utf-8").replace("{{ data |", "{{ data.nope |"), encoding="utf-8")
    for line in (("diff", own), ("list", "--folder", own)):
        told_in_one_line(llmrg("prompts", *line), file.name, "cannot be rendered", "'nope'")


def test_the_words_of_a_file_with_a_byte_order_mark_are_shown_without_it(llmrg: Command, own: Path) -> None:
    file = own / "self_verification.md"
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    text = llmrg("prompts", "show", "self_verification", "--folder", own, "--json").document["text"]
    assert text.startswith("---")


def test_a_file_called_like_no_prompt_is_refused(llmrg: Command, own: Path) -> None:
    (own / "self_verificaton.md").write_text("x")
    told_in_one_line(llmrg("prompts", "list", "--folder", own), "did you mean 'self_verification'?")
