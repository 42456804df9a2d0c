"""The embedded reasoner: nobody's own counts come back, and verification tells links from noise."""

import random

import numpy as np
import pytest
from toy_reasoning import ITEMS, think, toy_histories, toy_reasoner, toy_world

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError
from llmrg.reasoners import offline_divergent, offline_evidence
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoners.tasks import DivergentPayload, Mask, ShownChain, ShownItem, VerificationPayload
from llmrg.reasoning.verification import share_beaten
from llmrg.settings import GenerationSettings


@pytest.mark.parametrize("change", [lambda items: items[::-1], lambda items: (*ITEMS, *ITEMS)[: len(items)]])
def test_what_a_fold_did_changes_no_answer_to_its_own_users(change):
    histories = toy_histories(users=40)
    reasoner = toy_reasoner(histories)
    scope = reasoner.scope("u0")
    changed = [
        UserHistory(h.user_id, change(h.item_ids), h.train_length)
        if reasoner.scope(h.user_id) == scope
        else h
        for h in histories
    ]
    other = toy_reasoner(changed)
    asked = []
    think(
        histories[0],
        toy_world(reasoner),
        reasoner,
        GenerationSettings(),
        watch=lambda q, a: asked.append((q, a)),
    )
    assert asked
    for request, reply in asked:
        assert other.answer(request) == reply
    assert other.fingerprint != reasoner.fingerprint


def test_true_links_score_above_links_with_a_random_endpoint():
    histories = toy_histories(users=80, length=14)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    rng = random.Random(0)
    true, noise = [], []

    def watch(request, reply):
        payload = request.payload
        if not isinstance(payload, VerificationPayload):
            return
        masks, places = [], []
        for mask in payload.masks:
            drawn = rng.choice(ITEMS)
            options, place = world.options(drawn, history.user_id, 9, set(history.item_ids), rng)
            masks.append(Mask(mask.visible, mask.reason, options, mask.imagined))
            places.append(place)
        asked = ReasonerRequest(VerificationPayload(payload.items, tuple(masks)), request.scope)
        verdicts = reasoner.answer(asked).parsed.verdicts
        noise.extend(
            share_beaten(v.ranking, place, len(m.options))
            for v, place, m in zip(verdicts, places, masks, strict=True)
        )

    for history in histories[:10]:
        graph = think(history, world, reasoner, GenerationSettings(), watch=watch).graph
        true += [n.score for n in graph.nodes if n.key.startswith("reason") and n.score < 1]
    wins = np.array(true)[:, None] - np.array(noise)[None, :]
    assert (wins > 0).mean() + (wins == 0).mean() / 2 > 0.65


def imagined(reasoner, user_id, item_ids, *, chains=1, per_chain=4):
    shown = tuple(ShownItem(item_id, item_id) for item_id in item_ids)
    last = tuple(ShownChain((), (at,)) for at in range(len(shown) - 1, len(shown) - 1 - chains, -1))
    payload = DivergentPayload(shown, last, per_chain, tuple(sorted(item_ids)), ())
    reply = reasoner.answer(ReasonerRequest(payload, reasoner.scope(user_id))).parsed
    return [{reasoner.grounding.labelled(one.title): one.score for one in e.items} for e in reply.extensions]


def followers(**times):
    """Users who took, after item ``a``, the item named, so many each; in many folds."""
    wanted = [item for item, count in times.items() for _ in range(count)]
    users = [UserHistory(f"v{at}", ("a", item), 2) for at, item in enumerate(wanted)]
    catalog = ItemCatalog([CatalogItem(item, f"the {item}") for item in ("a", *times)])
    return EmbeddedReasoner.from_histories(users, catalog, None)


def test_what_many_took_next_is_called_more_plausible_and_what_one_user_took_hardly():
    (found,) = imagined(followers(b=40, c=20, d=1), "asked", ["a"])
    assert list(found) == ["b", "c", "d"]
    assert found["b"] > found["c"] > 5 * found["d"]


def test_an_item_is_as_plausible_whatever_else_is_imagined():
    (short,) = imagined(followers(b=40, c=20, d=10), "asked", ["a"], per_chain=1)
    (long,) = imagined(followers(b=40, c=20, d=10), "asked", ["a"], per_chain=3)
    assert long["b"] == short["b"]


def test_no_item_is_imagined_twice_in_one_call():
    histories = toy_histories(users=40)
    chains = imagined(toy_reasoner(histories), "u0", histories[0].item_ids[:4], chains=3)
    found = [item for chain in chains for item in chain]
    assert len(found) == len(set(found)) > 6
    assert not set(found) & set(histories[0].item_ids[:4])


def test_reasons_come_from_a_bounded_vocabulary_and_name_no_title():
    histories = toy_histories(users=60)
    reasoner = toy_reasoner(histories)
    world = toy_world(reasoner)
    labels = set()
    for history in histories:
        graph = think(history, world, reasoner, GenerationSettings(knowledge=False)).graph
        labels |= {node.label for node in graph.nodes if node.key.startswith("reason")}
    assert 3 < len(labels) < 40
    assert not any("story" in label for label in labels)


@pytest.mark.parametrize("scope", ["", "99", "u0"])
def test_a_scope_that_is_no_fold_is_refused(scope):
    reasoner = toy_reasoner(toy_histories(users=8))
    with pytest.raises(ReasonerError, match="scope"):
        reasoner.answer(ReasonerRequest(VerificationPayload((), ()), scope))


def reasoner_of(*sequences, times=10):
    """What users with these histories teach, so many users each."""
    users = [
        UserHistory(f"v{number}-{at}", tuple(sequence), len(sequence))
        for number, sequence in enumerate(sequences)
        for at in range(times)
    ]
    catalog = ItemCatalog([CatalogItem(i, f"the {i}") for i in sorted({i for s in sequences for i in s})])
    return EmbeddedReasoner.from_histories(users, catalog, None)


def test_what_came_after_both_newest_items_together_is_more_plausible_than_after_each_by_itself(monkeypatch):
    # a and b are followed by x as often and as closely as by y, and both are as popular; together only by x
    unfollowed = ["a"] * 8 + ["b"] * 8  # keep plausibility away from its end
    reasoner = reasoner_of("abx", "a1y", "by", "2x", *unfollowed)
    (found,) = imagined(reasoner, "asked", ["a", "b"])
    assert found["x"] > found["y"] + 1
    monkeypatch.setattr(offline_evidence, "STRETCHES", 0.0)
    monkeypatch.setattr(offline_divergent, "TASTE", 0.0)
    (by_each,) = imagined(reasoner, "asked", ["a", "b"])
    assert by_each["x"] == pytest.approx(by_each["y"], abs=1)  # folds deal users out unevenly


def test_of_items_that_follow_alike_the_one_that_goes_with_the_whole_history_comes_first():
    # x and y follow n alike; those who took the old items o and p took x, those who took q and r took y
    reasoner = reasoner_of("op.....nx", "qr,,,,,ny")
    shown = tuple(ShownItem(item, item) for item in "n")
    for old, first in (("op", "x"), ("qr", "y")):
        payload = DivergentPayload(shown, (ShownChain((), (0,)),), 2, tuple(sorted("n" + old)), ())
        reply = reasoner.answer(ReasonerRequest(payload, reasoner.scope("asked"))).parsed
        titles = [one.title for one in reply.extensions[0].items]
        assert titles[0] == f"the {first}"
