"""Whatever a model writes is read soon, without an exception, and as far as it can be trusted."""

import json
import time

import pytest
from fault_server import misworded
from hypothesis import given, settings
from hypothesis import strategies as st
from questions import PAYLOADS, right

from llmrg.reasoners.loose_json import DEEPEST, json_values
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.structured import LONGEST, portable_schema, response_format, salvage, understand
from llmrg.reasoners.tasks import REPLY_OF, WORDS, Task

CHAINED = PAYLOADS[Task.CHAINED_REASONING]


@pytest.mark.parametrize("task", Task)
def test_a_right_answer_is_good_as_it_is(task):
    read = understand(right(task), PAYLOADS[task])
    assert read.good
    assert not read.mended
    assert read.reply == REPLY_OF[task].model_validate_json(right(task))


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("fault", ["fenced", "prose", "trailing_comma"])
def test_form_is_mended_and_nothing_is_lost(task, fault):
    read = understand(misworded(right(task), fault), PAYLOADS[task])
    assert read.good
    assert read.mended
    assert read.reply == understand(right(task), PAYLOADS[task]).reply


@pytest.mark.parametrize("task", Task)
def test_surplus_keys_are_dropped(task):
    read = understand(right(task, "extra_keys"), PAYLOADS[task])
    assert read.good
    assert read.mended
    assert "confidence" not in read.reply.model_dump_json()


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("fault", ["dangling", "duplicate", "missing_entry", "other_task"])
def test_a_wrong_answer_is_told_from_a_right_one(task, fault):
    read = understand(right(task, fault), PAYLOADS[task])
    assert not read.good
    assert all(read.problems)


@pytest.mark.parametrize("task", [Task.CHAINED_REASONING, Task.DIVERGENT_EXTENSION, Task.SELF_VERIFICATION])
def test_a_number_out_of_range_is_a_problem(task):
    assert not understand(right(task, "out_of_range"), PAYLOADS[task]).good


def test_links_in_a_cycle_are_problems():
    problems = understand(right(Task.CHAINED_REASONING, "cycle"), CHAINED).problems
    assert sum("sources" in problem for problem in problems) == 2


@pytest.mark.parametrize("task", Task)
def test_of_a_cut_off_reply_the_whole_entries_are_kept(task):
    whole = right(task)
    cut = whole[: whole.rindex("{") + 12]  # within the last entry
    read = understand(cut, PAYLOADS[task])
    assert read.mended
    first = next(iter(REPLY_OF[task].model_fields))
    assert getattr(read.reply, first)
    assert getattr(read.reply, first)[0] == getattr(understand(whole, PAYLOADS[task]).reply, first)[0]


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("fault", ["dangling", "duplicate", "missing_entry"])
def test_what_is_salvaged_holds_no_wrong_entry_and_all_right_ones(task, fault):
    payload = PAYLOADS[task]
    read = understand(right(task, fault), payload)
    kept = salvage(payload, [read])
    assert kept is not None
    empty = type(kept).model_construct(**{name: [] for name in type(kept).model_fields})
    assert set(reply_problems(payload, kept)) <= set(reply_problems(payload, empty))
    entries = [e for name in type(kept).model_fields for e in getattr(kept, name)]
    whole = understand(right(task), payload).reply
    wanted = [e for name in type(whole).model_fields for e in getattr(whole, name)]
    assert len(entries) >= len(wanted) - 1


def test_two_attempts_complete_each_other():
    links = json.loads(right(Task.CHAINED_REASONING))
    half = {"links": links["links"][:2], "extensions": links["extensions"]}
    other = {"links": links["links"][2:], "extensions": []}
    attempts = [understand(json.dumps(one), CHAINED) for one in (half, other)]
    kept = salvage(CHAINED, attempts)
    assert kept is not None
    assert reply_problems(CHAINED, kept) == []


def test_nothing_is_salvaged_from_nothing():
    assert salvage(CHAINED, [understand("I would rather not.", CHAINED)]) is None


def test_numbers_as_words_and_overlong_words_are_taken():
    reply = json.loads(right(Task.CHAINED_REASONING))
    reply["links"][0]["item"] = str(reply["links"][0]["item"])
    reply["links"][1]["reason"] = "so " * 1000
    read = understand(json.dumps(reply), CHAINED)
    assert read.good
    assert read.mended
    assert max(len(link.reason) for link in read.reply.links) <= WORDS


def test_words_come_out_without_controls_surrogates_and_turned_directions():
    text = misworded(right(Task.CHAINED_REASONING), "surrogate")
    read = understand(text, CHAINED)
    assert read.good
    for link in read.reply.links:
        link.reason.encode("utf-8")
        assert link.reason.isprintable()


HOSTILE = {
    "huge": "x" * 10_000_000,
    "huge object": '{"links": "' + "x" * 10_000_000 + '"}',
    "open brackets": "[" * 3_000_000,
    "open brackets below the limit": "[" * (LONGEST - 1),
    "open braces below the limit": '{"a":' * (LONGEST // 5 - 1),
    "closed brackets": "[" * 90_000 + "]" * 90_000,
    "many starts": "{x " * (LONGEST // 3 - 1),
    "an open string": '{"links": [{"reason": "' + "\\" * (LONGEST - 100),
    "numbers": '{"links": [{"item": ' + "9" * 150_000 + "}]}",
    "not a number": '{"links": [{"item": NaN, "reason": Infinity}]}',
    "many entries": '{"links": [' + "{}," * 60_000 + "{}]}",
    "many wrong entries": '{"verdicts": [' + '{"mask": 0, "reasoning": "", "ranking": [0]},' * 4_000 + "]}",
    "another shape": '{"links": {"0": {"item": [[[]]]}}, "extensions": 7}',
    "a list of lists": "[[[[]]], 1, null, {}]",
    "null": "null",
    "blank": " \n\t ",
}


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_a_list_of_problems_and_soon(task, name):
    started = time.perf_counter()
    read = understand(HOSTILE[name], PAYLOADS[task])
    assert time.perf_counter() - started < 2
    assert not read.good
    assert salvage(PAYLOADS[task], [read]) is None or name == "many wrong entries"


@settings(max_examples=150)
@given(st.text(alphabet='{}[],:"\\ \n0123abclinks', max_size=80))
def test_looking_for_json_raises_nothing(text):
    for value, mended in json_values(text):
        assert mended or json.loads(text) == value
    understand(text, CHAINED)


def test_brackets_deeper_than_any_reply_are_passed_over():
    deep = "{" * (DEEPEST + 5) + ' and then {"links": []}'
    assert ({"links": []}, True) in list(json_values(deep))


@pytest.mark.parametrize("task", Task)
def test_the_portable_schema_has_no_references_and_no_bounds_on_words(task):
    text = json.dumps(portable_schema(task))
    for word in ("$ref", "$defs", "maxLength", "minimum"):
        assert f'"{word}"' not in text

    def objects(part):
        if isinstance(part, dict):
            if part.get("type") == "object":
                yield part
            for inner in part.values():
                yield from objects(inner)

    for found in objects(portable_schema(task)):
        assert found["additionalProperties"] is False
        assert sorted(found["required"]) == sorted(found["properties"])
    assert '"maxItems"' in text


def test_each_way_of_holding_to_a_schema_has_its_form():
    assert response_format(Task.FREE_FILL, "prompt_only") is None
    assert response_format(Task.FREE_FILL, "json_object") == {"type": "json_object"}
    nested = response_format(Task.FREE_FILL, "json_schema")["json_schema"]
    assert nested["strict"] is True
    assert nested["schema"] == portable_schema(Task.FREE_FILL)
