"""Lists of titles in prose: shapes models write, real replies where the data are at hand, and hostile text."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.reasoners.free_form import ListedTitle, parse_free_form, to_divergent
from llmrg.reasoners.reply_checks import extension_problem, reply_problems
from llmrg.reasoners.structured import salvage, understand
from llmrg.reasoners.tasks import WORDS, DivergentPayload, ShownChain, ShownItem

REPLIES = "llm-texts/ml-100k-three-step-replies.json"


def pairs(text):
    return [(entry.source, entry.title) for entry in parse_free_form(text)]


def titles(text):
    return [entry.title for entry in parse_free_form(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. Cave - River Tale\n2. Moon 2 - 1 1/2 Days", [("Cave", "River Tale"), ("Moon 2", "1 1/2 Days")]),
        ("1. Cave Story – River Tale\n2. A → B", [("Cave Story", "River Tale"), ("A", "B")]),
        ("[1. Cave Story - River Tale], \n[2. Moon].", [("Cave Story", "River Tale"), ("", "Moon")]),
        ("[1. Cave - River], [2. Moon - Sun/Star], [3. Tin].", [("Cave", "River"), ("Moon", "Sun/Star"), ("", "Tin")]),
        ("1. Cave 2. River 3. Moon", [("", "Cave"), ("", "River"), ("", "Moon")]),
        ("[10. - River: The Return].", [("", "River: The Return")]),
        ("9. Cave - The Hill - The River", [("Cave - The Hill", "The River")]),
        ("10. M*A*S*T - E.R. the Extra-Ordinary", [("M*A*S*T", "E.R. the Extra-Ordinary")]),
        ("Because you liked Cave Story:\n- River\n- Moon", [("Cave Story", "River"), ("Cave Story", "Moon")]),
        ("1. Cave Story:\n   * River\n   * Moon", [("Cave Story", "River"), ("Cave Story", "Moon")]),
        ("3. Cave - A Sun, The Moon, Star, Sky 2.", [("Cave", t) for t in ("A Sun", "The Moon", "Star", "Sky 2")]),
        ("3. The Good, The Tall and The Odd", [("", "The Good, The Tall and The Odd")]),
        ("1. **Cave** - **River**", [("Cave", "River")]),
    ],
)  # fmt: skip
def test_pairs_and_lists_are_read_as_models_write_them(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Sure! Here are two:\n\n1. Cave Story (1999)\n2. River Tale (2001)\n\nI hope you enjoy them!",
        "1) Cave Story (1999)\n2) River Tale (2001)",
        "- Cave Story (1999)\n- River Tale (2001)",
        "• Cave Story (1999)\n• River Tale (2001).",
        "* **Cave Story (1999)**\n* **River Tale (2001)**",
        '1. "Cave Story (1999)"\n2. "River Tale (2001)"',
        "Cave Story (1999)\nRiver Tale (2001)",
        'You could try "Cave Story (1999)" or perhaps "River Tale (2001)".',
        "### 1. Cave Story (1999)\n### 2. River Tale (2001)",
        "1. Cave Story (1999),\r\n2. River Tale (2001);\r\n",
    ],
)
def test_the_same_two_titles_are_found_however_they_are_marked(text):
    assert titles(text) == ["Cave Story (1999)", "River Tale (2001)"]


@pytest.mark.parametrize(
    ("text", "title", "reason"),
    [
        ("1. Cave Story - suspenseful, with strong characters.", "Cave Story", "suspenseful, with strong characters"),
        ("1. **Cave Story** (1999): A slow film about a cave.", "Cave Story (1999)", "A slow film about a cave"),
        ("1. Cave Story, because you like caves", "Cave Story", "because you like caves"),
        ("- Cave Story (1999): slow and kind", "Cave Story (1999)", "slow and kind"),
        ('1. "Cave Story" - This one has all the things that you enjoyed.', "Cave Story",
         "This one has all the things that you enjoyed"),
    ],
)  # fmt: skip
def test_what_explains_a_title_is_its_reason(text, title, reason):
    assert parse_free_form(text) == [ListedTitle(title, "", reason)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I prefer action-packed movies with plenty of suspense and well-written characters.",
        "I'm sorry, but I can't help with that.",
        '{"extensions": [{"item": 3, "reason": "more caves", "items": [{"title": "Cave',
        "1.\n2.\n- \n*",
        "-----\n=====\n",
        "\x00\u202e",
    ],
)
def test_prose_refusals_and_broken_json_give_nothing(text):
    assert parse_free_form(text) == []


@given(st.text(alphabet=st.sampled_from(list("ab AB.,-*[]()\"'\n:12 –→{}\u2028\ud800")), max_size=300))
@settings(max_examples=300)
def test_any_text_gives_single_lines_of_its_own_words(text):
    for entry in parse_free_form(text):
        assert entry.title
        for words in (entry.title, entry.source, entry.reason):
            assert len(words) <= WORDS
            assert len(words.splitlines()) <= 1
        assert set(entry.title) <= {*text, " "}


@pytest.mark.parametrize(
    "piece", [" ", "1. ", "- ", " - ", "[1. ", "**", '"', "because ", "(", "a\n", ": ", "2."]
)
def test_a_long_hostile_text_costs_no_more_than_it_is_long(piece):
    start = time.perf_counter()
    parse_free_form("1. a" + piece * 100_000 + "x")
    assert time.perf_counter() - start < 2


def payload(per_chain=3):
    shown = [ShownItem(f"id{i}", title) for i, title in enumerate(("Cave Story", "River Tale", "Moon"))]
    chains = (ShownChain((), (2,)), ShownChain(("water",), (0, 1)))
    return DivergentPayload(tuple(shown), chains, per_chain)


def test_an_entry_continues_the_chain_that_holds_its_source():
    text = "1. River Tale - Lake\n2. Moon - Mars\n3. Nowhere - Venus\n4. cave story - Hill, because it is high\n5. Moon"
    reply = to_divergent(payload(), parse_free_form(text))
    found = {extension.item: [item.title for item in extension.items] for extension in reply.extensions}
    assert found == {2: ["Mars", "Venus"], 1: ["Lake", "Hill"]}
    assert [extension.reason for extension in reply.extensions] == ["", "because it is high"]
    assert [extension_problem(payload(), extension) for extension in reply.extensions] == [None, None]


def test_no_chain_gets_more_than_was_asked_and_no_title_comes_twice():
    reply = to_divergent(payload(2), parse_free_form("1. Mars\n2. Moon\n3. mars\n4. Venus\n5. Pluto"))
    assert [[item.title for item in e.items] for e in reply.extensions] == [["Mars", "Venus"]]


def test_nothing_understood_is_no_reply():
    assert to_divergent(payload(), []) is None
    assert to_divergent(payload(), parse_free_form("1. Moon\n2. River Tale")) is None


def test_a_model_that_ignores_the_schema_is_salvaged_after_it_was_asked_again():
    text = "Sure!\n1. River Tale - Lake\n2. Moon - Mars"
    found = understand(text, payload())
    assert found.problems  # so that it is asked again
    kept = salvage(payload(), [found])
    assert {e.item: [item.title for item in e.items] for e in kept.extensions} == {2: ["Mars"], 1: ["Lake"]}
    assert not reply_problems(payload(), kept)


def real_replies():
    folder = Path(os.environ.get("LLMRG_DATA", ""))
    if not os.environ.get("LLMRG_DATA") or not (folder / REPLIES).is_file():
        pytest.skip(f"no {REPLIES} in the folder that LLMRG_DATA names: real replies are not at hand")
    return json.loads((folder / REPLIES).read_text(encoding="utf-8"))


def test_real_free_form_replies_are_understood():
    """170 replies of each of three steps: a taste in prose, a list of titles, pairs of titles."""
    answers = understood = entries = known = salvaged = 0
    for reply in real_replies():
        assert parse_free_form(reply["Predictions_1"]) == []  # prose about taste recommends nothing
        for step, prompt in (("Predictions_2", "Input_2"), ("Predictions", "Input_3")):
            found = parse_free_form(reply[step])
            answers, understood = answers + 1, understood + bool(found)
            entries += len(found)
            known += sum(entry.title.casefold() in reply[prompt].casefold() for entry in found)
            kept = salvage(question(reply), [understand(reply[step], question(reply))])
            salvaged += kept is not None and step == "Predictions"
    print(
        f"understood: {understood} of {answers} replies; titles that the prompt names: {known} of {entries}"
    )
    print(f"read as extensions of chains: {salvaged} of 170")
    assert answers == 340
    assert understood == answers
    assert known / entries >= 0.99
    assert salvaged == 170


def question(reply):
    """What the divergent task would have shown: the watched films, and a chain for the newest."""
    watched = reply["Input_3"].partition("(watched movies): ")[2].partition(".\n")[0].split(", ")
    shown = tuple(ShownItem(str(i), title) for i, title in enumerate(watched))
    return DivergentPayload(
        shown, (ShownChain((), (len(shown) - 1,)), ShownChain(("a",), (0,))), per_chain=10
    )
