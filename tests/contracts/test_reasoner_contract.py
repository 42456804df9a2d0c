"""What every reasoner must do: answer every task of real histories, in the schema, about what was shown.

A later reasoner joins by adding a maker to ``REASONERS``.
"""

import json
from contextlib import contextmanager

import llama_server
import pytest
from answering import Served
from fault_server import FaultServer
from toy_reasoning import think, toy_histories, toy_reasoner, toy_world

from llmrg.errors import ReplyError
from llmrg.graph.checks import check_graph
from llmrg.reasoners.reasoner import Reasoner, Rung
from llmrg.reasoners.reply_checks import reply_problems
from llmrg.reasoners.structured import best_parts, understand
from llmrg.reasoners.tasks import REPLY_OF, Task
from llmrg.settings import GenerationSettings

RECIPES = (GenerationSettings(), GenerationSettings(joint_extension=False, verification="free"))
USERS = 6


@contextmanager
def embedded():
    yield toy_reasoner(toy_histories())


@contextmanager
def fault_server():
    with FaultServer() as server:
        served = Served(server.base_url)
        yield served
        served.close()


@contextmanager
def babbling_llama_server():
    if llama_server.binary() is None:
        pytest.skip(llama_server.ABSENT)
    with llama_server.LlamaServer() as server:
        served = Served(server.base_url, temperature=1.0, max_tokens=1000)
        yield served
        served.close()


REASONERS = {"embedded": embedded, "fault server": fault_server, "llama-server": babbling_llama_server}
BABBLES = {"llama-server"}  # random weights: what they say fits the schema, and what is shown only by chance


@pytest.fixture(scope="module", params=sorted(REASONERS))
def named(request):
    with REASONERS[request.param]() as made:
        yield request.param, made


@pytest.fixture(scope="module")
def reasoner(named):
    return named[1]


@pytest.fixture(scope="module")
def thought(named):
    """Exchanges, and for each user the graph, or why there is none."""
    name, reasoner = named
    exchanges, graphs = [], []
    world = toy_world(toy_reasoner(toy_histories()))
    for settings in RECIPES:
        for history in toy_histories()[: 2 if name in BABBLES else USERS]:
            try:
                ended = think(history, world, reasoner, settings, watch=lambda q, a: exchanges.append((q, a)))
            except ReplyError as error:
                graphs.append((history, error))
            else:
                graphs.append((history, ended.graph))
    return exchanges, graphs


def test_it_is_a_reasoner(reasoner):
    assert isinstance(reasoner, Reasoner)
    assert reasoner.name
    assert reasoner.fingerprint == reasoner.fingerprint


def test_every_task_is_answered_in_its_schema(named, thought):
    exchanges, _ = thought
    assert exchanges
    if named[0] not in BABBLES:
        assert {request.task for request, _ in exchanges} == set(Task)
    for request, reply in exchanges:
        model = REPLY_OF[request.task]
        assert model.model_validate_json(reply.parsed.model_dump_json()) == reply.parsed


def test_every_reply_speaks_of_what_was_shown_and_of_all_of_it(named, thought):
    for request, reply in thought[0]:
        if Rung.SALVAGED in reply.rungs:
            assert named[0] in BABBLES
            whole = understand(reply.parsed.model_dump_json(), request.payload)
            entries = [e for name in type(reply.parsed).model_fields for e in getattr(reply.parsed, name)]
            assert len(best_parts(request.payload, [whole])) == len(entries) > 0
        else:
            assert reply_problems(request.payload, reply.parsed) == []


def test_every_graph_passes_the_checks_and_every_failure_says_why(named, thought):
    _, graphs = thought
    for history, ended in graphs:
        if isinstance(ended, ReplyError):
            assert named[0] in BABBLES
            assert ended.problems
        else:
            assert check_graph(ended, history) == []
            assert len(ended.nodes) >= len(history)


def test_schemas_keep_to_the_portable_subset():
    for model in REPLY_OF.values():
        schema = model.model_json_schema()
        for part in [schema, *schema.get("$defs", {}).values()]:
            assert part["additionalProperties"] is False
            assert sorted(part["required"]) == sorted(part["properties"])
            for found in part["properties"].values():
                assert found["type"] != "array" or "maxItems" in found
        assert "default" not in json.dumps(schema)
