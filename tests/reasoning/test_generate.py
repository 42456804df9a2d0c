"""The offline job: resume, recorded failures, and the canary that reaches nothing."""

import json
from dataclasses import replace

import pytest
from toy_reasoning import toy_catalog, toy_histories, toy_reasoner

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError, SettingsError
from llmrg.graph.schema import NodeKind
from llmrg.graph.store import GraphStore
from llmrg.prompting.rendering import render
from llmrg.reasoners.reasoner import Usage
from llmrg.reasoners.tasks import Task, document
from llmrg.reasoning.generate import generate
from llmrg.settings import GenerationSettings

RECIPE = GenerationSettings(wave=6, knowledge=True, knowledge_min_support=1)


class Between:
    """The embedded reasoner with something done before each answer."""

    name = "between"

    def __init__(self, histories, act, catalog=None):
        self.inner, self.act = toy_reasoner(histories, catalog), act
        self.fingerprint = self.inner.fingerprint
        self.answered = 0

    def scope(self, user_id):
        return self.inner.scope(user_id)

    def answer(self, request):
        self.answered += 1
        changed = self.act(request, self.answered)
        return changed or self.inner.answer(request)


def run(path, histories, reasoner, settings=RECIPE, catalog=None, **more):
    with GraphStore.open(path) as store:
        return generate(histories, catalog or toy_catalog(), reasoner, store, settings=settings, **more)


def content(path):
    with GraphStore.open(path) as store:
        return (
            [graph.to_document() for graph in store],
            store.failures(),
            [(r.scope, r.key, r.wave, r.document) for r in store.knowledge()],
            store.last_wave,
        )


def test_a_run_leaves_a_graph_for_every_user_and_counts_what_it_did(tmp_path):
    histories, seen = toy_histories(), []
    report = run(tmp_path / "s", histories, toy_reasoner(histories), progress=seen.append)
    graphs, failures, knowledge, last = content(tmp_path / "s")
    assert len(graphs) == report.done == len(histories)
    assert not failures
    assert report.failed == 0
    assert knowledge
    assert last == 6
    assert [p.done for p in seen] == list(range(1, 41))
    assert {Task.CHAINED_REASONING, Task.SELF_VERIFICATION} <= set(report.requests) < set(Task)
    assert report.usage == Usage(calls=report.requests.total())
    assert 0 < report.mean_score <= 1
    assert 0 <= report.rejected_share < 0.5
    assert report.reuse.links + report.reuse.imagined > 0


def test_the_same_run_twice_is_the_same_and_the_second_time_nothing_is_asked(tmp_path):
    histories = toy_histories()
    for name in ("a", "b"):
        run(tmp_path / name, histories, toy_reasoner(histories))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    again = run(tmp_path / "a", histories, toy_reasoner(histories))
    assert (again.done, again.skipped, again.requests.total()) == (0, 40, 0)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("at", [1, 60, 90])
def test_an_interrupted_run_ends_in_the_store_of_an_uninterrupted_one(tmp_path, at):
    def interrupt(request, answered):
        if answered == at:
            raise KeyboardInterrupt

    histories = [*toy_histories(), UserHistory("nobody", (), 0)]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", histories, Between(histories, interrupt))
    run(tmp_path / "a", histories, Between(histories, lambda *_: None))
    run(tmp_path / "b", histories, Between(histories, lambda *_: None))
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_what_fails_for_one_user_is_recorded_and_stops_no_other(tmp_path):
    histories = [*toy_histories(), UserHistory("nobody", (), 0)]

    def fail(request, answered):
        if answered == 5:
            raise ReasonerError("the line is dead")
        if answered == 40:
            raise ZeroDivisionError
        return

    report = run(tmp_path / "s", histories, Between(histories, fail))
    _, failures, _, _ = content(tmp_path / "s")
    assert report.failed == 3
    assert report.done == 38
    assert sorted(f.message for f in failures) == [
        "ZeroDivisionError()",
        "empty history: there is nothing to reason about before the cut-off",
        "the line is dead",
    ]
    again = run(tmp_path / "s", histories, Between(histories, lambda *_: None))
    assert (again.done, again.failed) == (2, 0)
    assert [f.user_id for f in content(tmp_path / "s")[1]] == ["nobody"]


def test_what_would_fail_for_everybody_ends_the_run(tmp_path):
    def misspelt(request, answered):
        if answered == 5:
            raise SettingsError("no such text encoder")

    with pytest.raises(SettingsError, match="no such text encoder"):
        run(tmp_path / "s", toy_histories(), Between(toy_histories(), misspelt))
    assert content(tmp_path / "s")[1] == []


def test_a_salvaged_reply_leaves_a_graph_and_a_record(tmp_path):
    histories = toy_histories(users=12)

    def dangle(request, answered):
        if answered != 1:
            return None
        reply = toy_reasoner(histories).answer(request)
        links = [link.model_copy(update={"sources": [77]}) for link in reply.parsed.links]
        return replace(reply, parsed=reply.parsed.model_copy(update={"links": links}))

    report = run(tmp_path / "s", histories, Between(histories, dangle))
    graphs, failures, _, _ = content(tmp_path / "s")
    assert len(graphs) == 12
    assert report.problems["chained_reasoning"] == len(failures) > 0
    assert {f.user_id for f in failures} == {"u0"}


def test_a_changed_history_is_thought_about_again_and_another_recipe_starts_over(tmp_path):
    histories = toy_histories()
    reasoner = Between(histories, lambda *_: None)
    run(tmp_path / "s", histories, reasoner)
    changed = [UserHistory("u0", (*histories[0].item_ids, "i39"), 12), *histories[1:]]
    report = run(tmp_path / "s", changed, reasoner)
    assert (report.done, report.skipped) == (1, 39)
    other = run(tmp_path / "s", changed, reasoner, RECIPE.model_copy(update={"tau": 0.5}))
    assert other.done == 40
    assert other.recipe != report.recipe


def test_an_item_that_only_a_held_out_position_knows_fails_nobody(tmp_path):
    histories = [*toy_histories(), UserHistory("late", ("i1", "i5", "unheard of"), 2)]
    report = run(tmp_path / "s", histories, toy_reasoner(histories))
    assert report.failed == 0


def test_every_setting_of_the_recipe_changes_its_fingerprint():
    base = GenerationSettings()
    for name, field in GenerationSettings.model_fields.items():
        value = getattr(base, name)
        if isinstance(value, bool) or name == "knowledge":
            other = not value
        else:
            other = f"{value}!" if isinstance(value, str) else (value or 0) + 1
        assert base.model_copy(update={name: other}).fingerprint != base.fingerprint, field


def test_a_canary_in_held_out_positions_reaches_nothing_it_must_not(tmp_path):
    """The validation target may be shown to what comes after it only; the test target to nobody."""
    catalog = toy_catalog(["validation-canary", "test-canary"])
    full = [
        (h.user_id, (*h.item_ids[:-1], "validation-canary", "test-canary")) for h in toy_histories(users=24)
    ]
    histories = [UserHistory(user, items[:-1], len(items) - 2) for user, items in full]
    asked = []

    def watch(request, answered):
        asked.append(request)

    run(tmp_path / "s", histories, Between(histories, watch, catalog), catalog=catalog)
    graphs, failures, knowledge, _ = content(tmp_path / "s")
    assert not failures
    everything = json.dumps([graphs, knowledge])
    assert "test-canary" not in everything
    for request in asked:
        words = json.dumps([document(request.payload), render(request)])
        assert "test-canary" not in words
        if "validation-canary" in words:
            assert request.payload.items[-1].item_id == "validation-canary"
    assert "validation-canary" not in json.dumps(knowledge)
    for graph in graphs:
        for _, kind, _, position, item_id, *_ in graph["nodes"]:
            if item_id == "validation-canary":
                assert (kind, position) == (NodeKind.ITEM.value, graph["as_of"] - 1)
