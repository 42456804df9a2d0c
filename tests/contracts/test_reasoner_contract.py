"""What every reasoner must do: answer all three tasks of real histories, in the schema, about what was shown.

A later reasoner joins by adding a maker to ``REASONERS``.
"""

import json

import pytest
from toy_reasoning import think, toy_histories, toy_reasoner, toy_world

from llmrg.reasoners.reasoner import Reasoner
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.tasks import REPLY_OF, Task
from llmrg.settings import GenerationSettings

REASONERS = {"embedded": toy_reasoner}


@pytest.fixture(params=sorted(REASONERS))
def reasoner(request):
    return REASONERS[request.param](toy_histories())


@pytest.fixture
def exchanges(reasoner):
    made = []
    world = toy_world(toy_reasoner(toy_histories()))
    for history in toy_histories()[:6]:
        think(history, world, reasoner, GenerationSettings(), watch=lambda q, a: made.append((q, a)))
    return made


def test_it_is_a_reasoner(reasoner):
    assert isinstance(reasoner, Reasoner)
    assert reasoner.name
    assert reasoner.fingerprint == reasoner.fingerprint


def test_every_reply_fits_the_schema_of_its_task(exchanges):
    assert {request.task for request, _ in exchanges} == set(Task)
    for request, reply in exchanges:
        model = REPLY_OF[request.task]
        assert model.model_validate_json(reply.parsed.model_dump_json()) == reply.parsed


def test_every_reply_speaks_of_what_was_shown_and_of_all_of_it(exchanges):
    for request, reply in exchanges:
        assert reply_problems(request.payload, reply.parsed) == []


def test_schemas_keep_to_the_portable_subset():
    for model in REPLY_OF.values():
        schema = model.model_json_schema()
        for part in [schema, *schema.get("$defs", {}).values()]:
            assert part["additionalProperties"] is False
            assert sorted(part["required"]) == sorted(part["properties"])
            for found in part["properties"].values():
                assert found["type"] != "array" or "maxItems" in found
        assert "default" not in json.dumps(schema)
