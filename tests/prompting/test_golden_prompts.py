"""What a model is sent, byte for byte. After a change that is meant, write the files anew and read their diff:

python tests/prompting/test_golden_prompts.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from llmrg.prompting.example_requests import PAYLOADS, example_messages, example_request
from llmrg.prompting.own_prompts import estimated_tokens, example_inputs, example_outputs, example_problems
from llmrg.prompting.rendering import render, shown_data
from llmrg.prompting.templates import PROMPTS, load_prompt
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.tasks import (
    REPLY_OF,
    ChainedPayload,
    DivergentPayload,
    FillPayload,
    Mask,
    ShownChain,
    ShownItem,
    ShownReason,
    Task,
    VerificationPayload,
)

GOLDEN = Path(__file__).parent / "golden"
FINGERPRINTS = GOLDEN / "versions.json"
CACHED = 1024  # tokens from which on servers keep a prefix


def as_text(name):
    return "".join(f"--- {message['role']}\n{message['content']}\n" for message in example_messages(name))


def versions():
    return {name: [load_prompt(name).head.version, load_prompt(name).fingerprint] for name in PROMPTS}


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_renders_as_its_golden_file(name):
    assert as_text(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_there_is_no_golden_file_of_a_prompt_that_is_gone():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(PROMPTS)


def test_other_words_come_with_another_version():
    """The files are written by the script, which refuses words that changed under an old version."""
    assert json.loads(FINGERPRINTS.read_text(encoding="utf-8")) == {n: list(v) for n, v in versions().items()}


@pytest.mark.parametrize("task", Task)
def test_the_static_part_is_the_same_for_every_request_and_long_enough_to_be_cached(task):
    system = example_messages(task.value)[0]["content"]
    other = replace(PAYLOADS[task], items=(*PAYLOADS[task].items, ShownItem("x", "Another Thing")))
    assert render(ReasonerRequest(other))[0]["content"] == system
    assert render(example_request(task), shortened=True)[0]["content"] == system
    assert estimated_tokens(system) >= CACHED


def test_the_lengths_in_the_prompts_readme_are_those_of_the_prompts():
    readme = (Path(__file__).parents[2] / "prompts" / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \|.*\| about ([\d,]+) \|$", readme, re.MULTILINE))
    found = {t.value: f"{estimated_tokens(example_messages(t.value)[0]['content']):,}" for t in Task}
    assert stated == found


def payload_of(task, data):
    """A payload that renders as ``data``."""

    def items(shown):
        return tuple(ShownItem("", item["title"], item.get("about", "")) for item in shown)

    shown = items(data["items"])
    attributes = tuple(a["attribute"] for a in data.get("attributes", ()))
    if task is Task.CHAINED_REASONING:
        new = tuple(item["index"] for item in data["items"] if item.get("new"))
        reasons = tuple(ShownReason(r["reason"], tuple(r["items"])) for r in data["reasons"])
        rejected = tuple(data["rejected"])
        return ChainedPayload(shown, new, attributes, reasons, rejected, data["extend"], data["per_chain"])
    if task is Task.DIVERGENT_EXTENSION:
        chains = tuple(ShownChain(tuple(c["reasons"]), tuple(c["items"])) for c in data["chains"])
        return DivergentPayload(shown, chains, data["per_chain"], (), attributes)
    masks = tuple(
        Mask(tuple(m["visible"]), m["reason"], items(m.get("options", ())), m["imagined"])
        for m in data["masks"]
    )
    return (VerificationPayload if task is Task.SELF_VERIFICATION else FillPayload)(shown, masks)


@pytest.mark.parametrize("task", Task)
def test_the_examples_in_a_prompt_are_rendered_as_requests_are_and_answered_without_fault(task):
    template = load_prompt(task.value)
    inputs, outputs = example_inputs(template), example_outputs(template)
    assert len(inputs) == len(outputs) == 2
    for shown, said in zip(inputs, outputs, strict=True):
        payload = payload_of(task, json.loads(shown))
        assert shown_data(payload) == json.loads(shown)
        reply = REPLY_OF[task].model_validate_json(said)
        assert reply_problems(payload, reply) == []
        assert json.loads(said) == reply.model_dump()
        titles = [item.title.casefold() for item in payload.items]
        assert not [
            title for title in titles if any(title in w.casefold() for w in reasons_in(json.loads(said)))
        ]


def reasons_in(value):
    if isinstance(value, list):
        return [words for part in value for words in reasons_in(part)]
    if isinstance(value, dict):
        own = [value[key] for key in ("reason", "reasoning") if key in value]
        return own + [words for part in value.values() for words in reasons_in(part)]
    return []


def test_the_example_of_the_repair_prompt_fits_the_schema():
    assert example_problems(load_prompt("repair")) == []


def write_anew():
    before = json.loads(FINGERPRINTS.read_text(encoding="utf-8")) if FINGERPRINTS.is_file() else {}
    for name, (version, words) in versions().items():
        if name in before and before[name][1] != words and version <= before[name][0]:
            raise SystemExit(f"{name}: its words changed; raise its version above {before[name][0]}")
        (GOLDEN / f"{name}.txt").write_text(as_text(name), encoding="utf-8")
    FINGERPRINTS.write_text(json.dumps(versions(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_anew()
