"""The knowledge base: frozen, scoped, counted in distinct users, revocable."""

import pytest
from toy_reasoning import think, toy_catalog, toy_histories, toy_reasoner, toy_world

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReplyError, StoreError
from llmrg.graph.schema import Relation
from llmrg.graph.store import KnowledgeRow
from llmrg.reasoners.tasks import ChainedPayload, DivergentPayload, Task
from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase, supporter_hash
from llmrg.reasoning.premises import link_lessons, next_keys, premise_items
from llmrg.reasoning.recall import Asker, Recall
from llmrg.settings import GenerationSettings

KEY = "link:a->b"


KNOWING = GenerationSettings(knowledge=True, knowledge_min_fit=0)


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


def test_a_user_who_comes_again_does_not_count_towards_the_support_it_needs_itself():
    base = KnowledgeBase(salt="s", min_support=2)
    base.merge([_learnt("u1", name="mine"), _learnt("u2", name="another's")], wave=0)

    def found(user):
        return [known.name for known in base.snapshot().look_up(KEY, scope="1", user_id=user)]

    assert found("u3") == ["another's", "mine"]
    assert found("u1") == []
    base.merge([_learnt("u3", name="a third")], wave=1)
    assert found("u1") == ["a third", "another's"]


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
    rows = base.merge([_learnt("u1"), _learnt("u2", name="q"), _learnt("u3", key="next:b")], wave=0)
    again = KnowledgeBase(salt="s", min_support=1)
    again.load(rows)
    for key in (KEY, "next:b"):
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
        allowed = {
            key
            for p, item in enumerate(train)
            for source in (None, *range(p))
            for key in (*link_lessons(world, train, p, source), *next_keys(world, item))
        }
        reasoned = think(history, world, reasoner, KNOWING)
        assert reasoned.contributions
        assert {c.key for c in reasoned.contributions} <= allowed


def test_what_is_known_is_not_asked_for():
    histories = toy_histories(users=20)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    base = KnowledgeBase(salt="s", min_support=1)
    history = histories[0]
    before, asked = [], []
    first = think(history, world, reasoner, KNOWING, watch=lambda q, a: before.append(q))
    base.merge([("another", reasoner.scope("u0"), c) for c in first.contributions], wave=0)
    second = think(history, world, reasoner, KNOWING, base.snapshot(), lambda q, a: asked.append(q))
    reused = [n for n in second.graph.nodes if n.provenance and n.provenance.knowledge_entry]
    taught = {c.score for c in first.contributions}
    assert second.reuse.links + second.reuse.imagined == len(reused) > 0
    assert min(taught) <= min(n.score for n in reused) <= max(n.score for n in reused) <= max(taught)

    def linked(requests):
        return sum(len(q.payload.new) for q in requests if isinstance(q.payload, ChainedPayload))

    assert linked(asked) < linked(before) == len(history)
    assert len(asked) <= len(before)
    base.revoke(reused[0].provenance.knowledge_entry)
    third = think(history, world, reasoner, KNOWING, base.snapshot())
    assert third.reuse.links + third.reuse.imagined < second.reuse.links + second.reuse.imagined


def test_premises_generalise_from_a_pair_to_what_it_shares_and_from_an_item_to_its_category():
    world = toy_world(toy_reasoner(toy_histories()))
    # i0, i4 and i8 are of one theme, i1 of another
    assert link_lessons(world, ("i0", "i4"), 1, 0) == ["link:i0->i4", "link-shared:genre=space"]
    assert link_lessons(world, ("i0", "i1"), 1, None) == ["link-alone:genre=cooking"]
    assert next_keys(world, "i8") == ["next:i8", "next-category:genre=space"]


def test_ids_that_look_like_links_are_no_other_links_premise():
    world = toy_world(toy_reasoner(toy_histories()))
    odd = ["a", "a->b", "b->c", "c", "b", '"a', '"a"', "->", 'a"->"b', "-", ">", "a-", ">c", ""]
    pairs = [(one, other) for one in odd for other in odd]
    keys = [link_lessons(world, pair, 1, 0)[0] for pair in pairs]
    assert len(set(keys)) == len(pairs)
    assert [premise_items(key) for key in keys] == pairs
    assert "link:a->b" in keys  # ordinary ids stand as they are
    assert premise_items('link:"a->b') == ('"a', "b")  # a key of an older version


def test_a_link_nobody_met_is_explained_by_what_the_items_share():
    histories = toy_histories(users=20)
    world = toy_world(toy_reasoner(histories))
    base = KnowledgeBase(min_support=2)
    shared = Contribution("link-shared:genre=space", "more space", "more space", 0.9, "request")
    base.merge([("u1", "", shared), ("u2", "", shared)], wave=0)
    recall = Recall(UserHistory("u", ("i0", "i36"), 1), world, KNOWING, base.snapshot(), Asker())
    assert recall.link(0) is None
    known, source = recall.link(1)
    assert (known.words, known.entry, source) == ("more space", "link-shared:genre=space", 0)


def test_a_premise_its_supporters_disagree_about_is_asked():
    histories = toy_histories(users=20)
    world = toy_world(toy_reasoner(histories))
    base = KnowledgeBase(min_support=2)
    key = "link-shared:genre=space"
    linked, alone = Contribution(key, "r", "r", 0.9, "q"), Contribution(key, "start: n", "n", 1.0, "q")
    base.merge([("u1", "", linked), ("u2", "", linked), ("u3", "", alone), ("u4", "", alone)], wave=0)
    history = UserHistory("u", ("i0", "i36"), 1)
    assert Recall(history, world, KNOWING, base.snapshot(), Asker()).link(1) is None
    base.merge([(f"v{n}", "", alone) for n in range(6)], wave=1)
    known, _ = Recall(history, world, KNOWING, base.snapshot(), Asker()).link(1)
    assert known.words == "n"


def test_imagined_items_are_reused_only_where_the_newest_items_speak_for_them():
    histories = toy_histories(users=40)
    world = toy_world(toy_reasoner(histories))
    base = KnowledgeBase(min_support=1)
    lessons = [
        Contribution("next-category:genre=space", i, "", 0.9, "q") for i in ("i12", "i16", "i20", "i24")
    ]
    base.merge([("another", "", lesson) for lesson in lessons], wave=0)
    history = UserHistory("u", ("i0", "i4", "i8"), 2)

    def found(least):
        recipe = KNOWING.model_copy(update={"knowledge_min_fit": least})
        return Recall(history, world, recipe, base.snapshot(), Asker()).following(2, 2, {"i0", "i4", "i8"})

    assert {known.name for known in found(0)} == {"i12", "i16", "i20", "i24"}
    assert found(100.0) == []


def test_what_only_the_users_own_fold_has_taken_is_not_reused_though_others_learned_it():
    histories = toy_histories(users=40)
    catalog = toy_catalog(extra=("rare",))
    first = histories[0]
    histories[0] = UserHistory(first.user_id, (*first.item_ids[:-2], "rare", first.item_ids[-1]), 12)
    reasoner = toy_reasoner(histories, catalog)
    world = toy_world(reasoner, catalog)
    other = next(h for h in histories if reasoner.scope(h.user_id) != reasoner.scope(first.user_id))
    base = KnowledgeBase(min_support=1)
    lessons = [Contribution(f"next:{first.item_ids[0]}", "rare", "", 0.9, "q")]
    base.merge([("a language model's knowledge knows no folds", "", lesson) for lesson in lessons], wave=0)
    recipe = KNOWING.model_copy(update={"imagined_per_chain": 1})

    def found(user_id):
        history = UserHistory(user_id, first.item_ids[:1], 1)
        return Recall(history, world, recipe, base.snapshot(), Asker()).following(0, 0, set())

    assert [known.name for known in found(other.user_id)] == ["rare"]
    assert found(first.user_id) == []


def test_an_audited_user_has_every_reuse_verified_and_a_false_one_lowers_the_entry():
    histories = toy_histories(users=20)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    base = KnowledgeBase(salt="s", min_support=1)
    audited = KNOWING.model_copy(update={"audit_share": 1.0})
    first = think(histories[0], world, reasoner, KNOWING)
    base.merge([("another", reasoner.scope("u0"), c) for c in first.contributions], wave=0)
    again = think(histories[0], world, reasoner, audited, base.snapshot())
    silent = think(
        histories[0], world, reasoner, KNOWING.model_copy(update={"audit_share": 0.0}), base.snapshot()
    )
    assert again.reuse.audited_imagined.count == again.reuse.imagined > 0
    assert 0 < again.reuse.audited_links.count <= again.reuse.links
    assert silent.reuse.audited_imagined.count == 0
    wrong = Contribution(KEY, "r", "r", 0.0, "request", supports=False)
    base = KnowledgeBase(salt="s", min_support=1)
    base.merge([_learnt("u1", score=0.9)], wave=0)
    base.merge([("u2", "1", wrong)], wave=1)
    (known,) = base.snapshot().look_up(KEY, scope="1", user_id="asking")
    assert (known.support, known.score) == (1, 0.45)


def test_an_audit_that_nobody_answered_counts_for_nothing():
    histories = toy_histories(users=20)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    base = KnowledgeBase(salt="s", min_support=1)
    first = think(histories[0], world, reasoner, KNOWING)
    base.merge([("another", reasoner.scope("u0"), c) for c in first.contributions], wave=0)

    class Silent:
        name = fingerprint = "silent"
        scope = staticmethod(reasoner.scope)

        def answer(self, request):
            if request.task is Task.SELF_VERIFICATION:
                raise ReplyError("nothing to be understood")
            return reasoner.answer(request)

    audited = KNOWING.model_copy(update={"audit_share": 1.0})
    reasoned = think(histories[0], world, Silent(), audited, base.snapshot())
    assert reasoned.reuse.links + reasoned.reuse.imagined > 0
    assert reasoned.reuse.audited_links.count == reasoned.reuse.audited_imagined.count == 0
    assert all(contribution.supports for contribution in reasoned.contributions)


def test_chains_that_knowledge_continued_are_not_asked_about():
    histories = toy_histories(users=20)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    base = KnowledgeBase(salt="s", min_support=1)
    apart = KNOWING.model_copy(update={"joint_extension": False})
    first = think(histories[0], world, reasoner, apart)
    base.merge([("another", reasoner.scope("u0"), c) for c in first.contributions], wave=0)
    asked = []
    reasoned = think(histories[0], world, reasoner, apart, base.snapshot(), lambda q, a: asked.append(q))
    graph, answered = reasoned.graph, {}
    for edge in graph.edges:
        if edge.relation is Relation.SUGGESTS and graph.by_key[edge.target].provenance.knowledge_entry:
            newest = max(
                node.position for node, kind in graph.incoming(edge.source) if kind is Relation.SUPPORTS
            )
            answered.setdefault(graph.by_key[edge.target].position, set()).add(newest)
    assert answered
    together = 0
    for payload in (request.payload for request in asked):
        if isinstance(payload, DivergentPayload):
            end = max(p for p, item in enumerate(histories[0].item_ids) if item == payload.items[-1].item_id)
            first = end + 1 - len(payload.items)
            chains = {first + chain.items[-1] for chain in payload.chains}
            assert not chains & answered.get(end, set())
            together += bool(answered.get(end))
    assert together
