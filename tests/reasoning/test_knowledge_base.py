"""The knowledge base: frozen, scoped, counted in distinct users, revocable."""

from itertools import pairwise

import pytest
from toy_reasoning import think, toy_histories, toy_reasoner, toy_world

from llmrg.errors import StoreError
from llmrg.graph.store import KnowledgeRow
from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase, link_key, next_key, supporter_hash
from llmrg.settings import GenerationSettings

KEY = link_key("a", "b")


def _learnt(user, scope="1", name="r", score=0.5, key=KEY):
    return (user, scope, Contribution(key, name, name, score, "request"))


def _names(base, user="asking", scope="1", key=KEY):
    return [known.name for known in base.snapshot().look_up(key, scope=scope, user_id=user)]


def test_a_continuation_is_served_once_enough_distinct_users_stand_behind_it():
    base = KnowledgeBase(salt="s", min_support=2)
    base.merge([_learnt("u1"), _learnt("u1")], wave=0)
    assert _names(base) == []
    base.merge([_learnt("u2", score=0.8)], wave=1)
    (known,) = base.snapshot().look_up(KEY, scope="1", user_id="asking")
    assert known.support == 2
    assert known.score == pytest.approx((0.5 + 0.5 + 0.8) / 3)


def test_reuse_never_serves_a_supporter_nor_another_scope():
    base = KnowledgeBase(salt="s", min_support=1)
    base.merge([_learnt("u1"), _learnt("u2")], wave=0)
    assert _names(base, user="u1") == []
    assert _names(base, scope="2") == []
    assert _names(base, user="u3") == ["r"]


def test_no_user_id_is_kept():
    rows = KnowledgeBase(salt="s").merge([_learnt("somebody")], wave=0)
    assert "somebody" not in str(rows)
    assert supporter_hash("somebody", "s") in str(rows)


def test_a_revoked_entry_serves_and_learns_nothing_for_good():
    base = KnowledgeBase(salt="s", min_support=1)
    base.merge([_learnt("u1")], wave=0)
    rows = base.revoke(KEY)
    base.merge([_learnt("u2")], wave=1)
    assert _names(base) == []
    again = KnowledgeBase(salt="s", min_support=1)
    again.load(rows)
    again.merge([_learnt("u3")], wave=2)
    assert _names(again) == []


def test_loading_what_was_merged_gives_the_same_answers():
    base = KnowledgeBase(salt="s", min_support=1)
    rows = base.merge([_learnt("u1"), _learnt("u2", name="q"), _learnt("u3", key=next_key("b"))], wave=0)
    again = KnowledgeBase(salt="s", min_support=1)
    again.load(rows)
    for key in (KEY, next_key("b")):
        assert again.snapshot().look_up(key, scope="1", user_id="x") == base.snapshot().look_up(
            key, scope="1", user_id="x"
        )
    assert again.entries == base.entries


def test_a_row_that_is_no_entry_is_refused():
    with pytest.raises(StoreError, match="knowledge entry"):
        KnowledgeBase().load([KnowledgeRow("k", "s", {"something": "else"}, 0)])


def test_a_user_teaches_only_what_its_training_part_holds():
    histories = toy_histories(users=20, held_out=6)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    for history in histories[:6]:
        train = history.train_item_ids
        allowed = {link_key(a, b) for a, b in pairwise(train)} | {next_key(i) for i in train}
        reasoned = think(history, world, reasoner, GenerationSettings())
        assert reasoned.contributions
        assert {c.key for c in reasoned.contributions} <= allowed


def test_what_is_known_is_not_asked_for():
    histories = toy_histories(users=20)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    base = KnowledgeBase(salt="s", min_support=1)
    history = histories[0]
    first = think(history, world, reasoner, GenerationSettings())
    base.merge([("another", reasoner.scope("u0"), c) for c in first.contributions], wave=0)
    asked = []
    second = think(
        history, world, reasoner, GenerationSettings(), base.snapshot(), lambda q, a: asked.append(q)
    )
    reused = [n for n in second.graph.nodes if n.provenance and n.provenance.knowledge_entry]
    taught = {c.score for c in first.contributions}
    assert second.reuse.requests_saved > 0
    assert second.reuse.links + second.reuse.imagined == len(reused) > 0
    assert min(taught) <= min(n.score for n in reused) <= max(n.score for n in reused) <= max(taught)
    assert len(asked) + second.reuse.requests_saved <= 12
    base.revoke(reused[0].provenance.knowledge_entry)
    third = think(history, world, reasoner, GenerationSettings(), base.snapshot())
    assert third.reuse.links + third.reuse.imagined < second.reuse.links + second.reuse.imagined
