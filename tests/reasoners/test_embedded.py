"""The embedded reasoner: nobody's own counts come back, and verification tells links from noise."""

import random

import numpy as np
import pytest
from toy_reasoning import ITEMS, think, toy_histories, toy_reasoner, toy_world

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoners.tasks import Mask, VerificationPayload
from llmrg.reasoning.verification import share_beaten
from llmrg.settings import GenerationSettings


def test_what_a_fold_did_changes_no_answer_to_its_own_users():
    histories = toy_histories(users=40)
    reasoner = toy_reasoner(histories)
    scope = reasoner.scope("u0")
    changed = [
        UserHistory(h.user_id, h.item_ids[::-1], h.train_length) if reasoner.scope(h.user_id) == scope else h
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
