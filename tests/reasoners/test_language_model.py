"""The ladder of a language model: valid, lenient, asked again once, salvaged, failed; pure all the way."""

import json

import pytest
from answering import answer_with, language_model
from fault_server import HOSTILE, misworded
from questions import PAYLOADS, question, right

from llmrg.errors import ReplyError, SettingsError
from llmrg.reasoners.endpoint import Completion, EndpointError, FaultKind
from llmrg.reasoners.language_model import QUOTED, LanguageModel
from llmrg.reasoners.reasoner import ReasonerRequest, Rung, UnusableReplyError, Usage
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.tasks import ChainedPayload, ShownItem, Task
from llmrg.settings import LanguageModelSettings

CHAINED = Task.CHAINED_REASONING
TOO_LONG = EndpointError("maximum context length", kind=FaultKind.OVERFLOW)


@pytest.mark.parametrize("task", Task)
def test_a_right_answer_takes_one_call_and_is_valid(task):
    reply, asked = answer_with(
        language_model(), question(task), [Completion(right(task), "stop", None, "toy", 50, 9)]
    )
    assert reply.rungs == (Rung.VALID,)
    assert reply.usage == Usage(1, 50, 9)
    assert not reply.cached
    assert len(asked) == 1
    assert reply_problems(PAYLOADS[task], reply.parsed) == []


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("fault", ["fenced", "prose", "trailing_comma"])
def test_an_answer_of_bad_form_takes_one_call_and_is_read_leniently(task, fault):
    reply, _ = answer_with(language_model(), question(task), [misworded(right(task), fault)])
    assert reply.rungs == (Rung.LENIENT,)


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("fault", ["dangling", "duplicate", "missing_entry", "other_task"])
def test_a_wrong_answer_is_asked_for_again_once_with_its_problems(task, fault):
    wrong = right(task, fault)
    reply, asked = answer_with(language_model(), question(task), [wrong, right(task)])
    assert reply.rungs == (Rung.REPAIRED,)
    assert reply.usage.calls == 2
    first, second = (request.body["messages"] for request in asked)
    assert second[: len(first)] == first
    assert second[len(first)] == {"role": "assistant", "content": wrong}
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert "problems" in second[-1]["content"]


@pytest.mark.parametrize("task", Task)
def test_what_stays_wrong_is_left_out_and_the_rest_kept(task):
    wrong = right(task, "dangling")
    reply, asked = answer_with(language_model(), question(task), [wrong, wrong])
    assert reply.rungs == (Rung.SALVAGED,)
    assert len(asked) == 2
    assert "999" not in reply.parsed.model_dump_json()


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("words", ["I would rather not.", "", "[" * 100_000, "x" * 10_000_000])
def test_what_cannot_be_understood_at_all_is_a_failure_after_two_calls(task, words):
    with pytest.raises(UnusableReplyError) as caught:
        answer_with(language_model(), question(task), [words, Completion(words, prompt_tokens=7)])
    assert caught.value.problems
    assert caught.value.rungs == (Rung.FAILED,)
    assert caught.value.usage == Usage(2, 7)
    assert len(str(caught.value)) < 2000


def test_a_refusal_is_a_failure_and_is_not_argued_with():
    for refusal in (Completion("", "stop", "I cannot."), Completion("", "content_filter")):
        with pytest.raises(ReplyError, match="refused"):
            answer_with(language_model(), question(CHAINED), [refusal])


def test_after_an_empty_answer_no_empty_turn_is_sent():
    _, asked = answer_with(language_model(), question(CHAINED), ["", right(CHAINED)])
    assert [message["role"] for message in asked[1].body["messages"]] == ["system", "user"]
    assert "the reply is empty" in asked[1].body["messages"][-1]["content"]


def test_a_long_wrong_answer_is_quoted_in_part_only():
    wrong = json.dumps({"links": [], "extensions": [], "note": "x" * 100_000})
    _, asked = answer_with(language_model(), question(CHAINED), [wrong, right(CHAINED)])
    assert len(asked[1].body["messages"][2]["content"]) == QUOTED


def test_a_cut_off_answer_is_asked_for_once_with_twice_the_room():
    cut = Completion(right(CHAINED)[:60], "length")
    reply, asked = answer_with(language_model(max_tokens=100), question(CHAINED), [cut, right(CHAINED)])
    assert [request.body["max_completion_tokens"] for request in asked] == [100, 200]
    assert asked[0].body["messages"] == asked[1].body["messages"]
    assert reply.rungs == (Rung.VALID, Rung.LIMIT_RAISED)


def test_an_answer_cut_off_twice_is_salvaged_and_not_asked_for_again():
    cut = Completion(right(CHAINED)[: right(CHAINED).index('"item": 7')], "length")
    reply, asked = answer_with(language_model(), question(CHAINED), [cut, cut])
    assert reply.rungs == (Rung.SALVAGED, Rung.LIMIT_RAISED)
    assert [link.item for link in reply.parsed.links] == [5, 6]
    assert len(asked) == 2


def test_where_there_is_no_more_room_the_cut_off_answer_is_read():
    cut = Completion(right(CHAINED)[: right(CHAINED).index('"item": 7')], "length")
    reply, _ = answer_with(language_model(), question(CHAINED), [cut, TOO_LONG])
    assert reply.rungs == (Rung.SALVAGED, Rung.LIMIT_RAISED)


@pytest.mark.parametrize("task", Task)
def test_a_prompt_that_is_too_long_is_sent_once_with_half_the_context(task):
    reply, asked = answer_with(language_model(), question(task), [TOO_LONG, right(task)])
    assert Rung.SHORTENED in reply.rungs
    long, short = (request.body["messages"][-1]["content"] for request in asked)
    assert len(short) < len(long)
    assert "Story number 7" in short
    assert "Story number 0" in long
    assert "Story number 0" not in short


def test_what_is_left_of_a_shortened_prompt_keeps_its_indexes():
    _, asked = answer_with(language_model(), question(CHAINED), [TOO_LONG, right(CHAINED)])
    data = json.loads(asked[1].body["messages"][-1]["content"].splitlines()[1])
    assert [(item["index"], item["title"]) for item in data["items"]] == [
        (n, f"Story number {n}") for n in range(3, 8)
    ]
    assert [item["index"] for item in data["items"] if item.get("new")] == [5, 6, 7]


def test_a_prompt_too_long_twice_is_an_endpoint_error():
    with pytest.raises(EndpointError):
        answer_with(language_model(), question(CHAINED), [TOO_LONG, TOO_LONG])


def test_a_prompt_with_nothing_to_leave_out_is_not_sent_again():
    only_new = ReasonerRequest(ChainedPayload((ShownItem("i0", "A"), ShownItem("i1", "B")), (0, 1)))
    with pytest.raises(EndpointError):
        answer_with(language_model(), only_new, [TOO_LONG])


def test_where_asking_again_is_too_long_the_first_answer_is_salvaged():
    reply, _ = answer_with(language_model(), question(CHAINED), [right(CHAINED, "dangling"), TOO_LONG])
    assert reply.rungs == (Rung.SALVAGED,)


@pytest.mark.parametrize("kind", [FaultKind.STOP, FaultKind.RETRY])
def test_a_fault_of_the_endpoint_passes_through(kind):
    with pytest.raises(EndpointError):
        answer_with(language_model(), question(CHAINED), [EndpointError("no", kind=kind)])
    with pytest.raises(EndpointError):
        answer_with(
            language_model(), question(CHAINED), [right(CHAINED, "dangling"), EndpointError("no", kind=kind)]
        )


def test_an_answer_from_records_costs_nothing():
    reply, _ = answer_with(
        language_model(), question(CHAINED), [Completion(right(CHAINED), prompt_tokens=5, recorded=True)]
    )
    assert reply.cached
    assert reply.usage == Usage()


def test_a_hostile_echo_stays_words():
    reply, _ = answer_with(language_model(), question(CHAINED), [right(CHAINED, "hostile_echo")])
    for link in reply.parsed.links:
        assert link.reason.isprintable()
    wrong = json.loads(right(CHAINED, "hostile_echo"))
    wrong["links"][0][HOSTILE] = wrong["links"][0].pop("item")
    _, asked = answer_with(language_model(), question(CHAINED), [json.dumps(wrong), right(CHAINED)])
    told = asked[1].body["messages"][-1]["content"]
    assert told.count("=====DATA") == 2


def test_the_same_completions_give_the_same_requests_and_the_same_reply():
    answers = [right(CHAINED, "dangling"), right(CHAINED)]
    one, two = (answer_with(language_model(), question(CHAINED), answers) for _ in range(2))
    assert one[0] == two[0]
    assert [request.content_hash for request in one[1]] == [request.content_hash for request in two[1]]


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ({"model": "other"}, True),
        ({"temperature": 1.0}, True),
        ({"temperature": None}, True),
        ({"seed": 1}, True),
        ({"max_tokens": 99}, True),
        ({"structured_output": "prompt_only"}, True),
        ({"base_url": "http://10.0.0.7/v1"}, False),
        ({"timeout": 1.0}, False),
        ({"local_only": True}, False),
    ],
)
def test_the_fingerprint_covers_what_affects_answers_and_nothing_else(change, matters):
    assert (language_model(**change).fingerprint != language_model().fingerprint) == matters


def test_prompts_of_ones_own_are_in_the_fingerprint_and_in_the_request(tmp_path):
    from llmrg.resources import resource_folder

    for path in resource_folder("prompts").glob("*.md"):
        text = path.read_text(encoding="utf-8").replace("You explain, step by step,", "You tell, in verse,")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    own = language_model(prompts=str(tmp_path))
    assert own.fingerprint != language_model().fingerprint
    _, asked = answer_with(own, question(CHAINED), [right(CHAINED)])
    assert "in verse" in asked[0].body["messages"][0]["content"]


def test_what_is_null_is_left_to_the_server():
    _, asked = answer_with(
        language_model(temperature=None, seed=None, structured_output="prompt_only"),
        question(CHAINED),
        [right(CHAINED)],
    )
    assert set(asked[0].body) == {"model", "messages", "max_completion_tokens"}


def test_a_model_without_a_name_or_not_probed_is_refused():
    with pytest.raises(SettingsError, match="name"):
        LanguageModel(LanguageModelSettings(structured_output="json_schema"))
    with pytest.raises(SettingsError, match="probe"):
        LanguageModel(LanguageModelSettings(model="toy"))
