"""Explanations: every figure is what the model says when it is asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trained_toy import TrainedToy

import llmrg
from llmrg.cli.app import run
from llmrg.errors import DataError, ModelError, StoreError
from llmrg.explanation.effects import Explanation, render_explanation, render_explanation_html
from llmrg.graph.controls import keep_nodes
from llmrg.graph.schema import NodeKind
from llmrg.graph.store import GraphStore
from llmrg.recbole_adapter.checkpoint import save_checkpoint
from llmrg.recbole_adapter.training import prepare
from llmrg.serving.explaining import chains_of, explain_item, reasoned
from llmrg.serving.recommender import Recommender, open_recommender


@pytest.fixture(scope="module")
def recommender(toy: TrainedToy) -> Iterator[Recommender]:
    with open_recommender(toy.checkpoint) as found:
        yield found


def best(recommender: Recommender, toy: TrainedToy, user: str) -> str:
    return recommender.recommend(toy.known(user), 1, user_id=user).items[0].item_id


def told(recommender: Recommender, toy: TrainedToy, user: str) -> Explanation:
    return explain_item(recommender, toy.known(user), best(recommender, toy, user), user_id=user)


def test_scores_and_ranks_are_those_of_the_recommendation(toy: TrainedToy, recommender: Recommender) -> None:
    found = told(recommender, toy, "u1")
    listed = recommender.recommend(toy.known("u1"), 30, user_id="u1", keep_seen=True).items
    same = next(item for item in listed if item.item_id == found.item_id)
    assert (found.rank, found.title) == (same.rank, same.title)
    assert found.score == pytest.approx(same.score, abs=1e-5)
    masked = recommender.scorer.scores("u1", toy.known("u1"))
    assert found.score_without_graph == masked[recommender.scorer.vocabulary.item_numbers[found.item_id]]
    assert found.score != pytest.approx(found.score_without_graph, abs=1e-3)


def test_the_effect_of_a_chain_is_the_score_without_it(toy: TrainedToy, recommender: Recommender) -> None:
    found = told(recommender, toy, "u4")
    graph, arrays = reasoned(recommender, toy.known("u4"), "u4")
    number = recommender.scorer.vocabulary.item_numbers[found.item_id]
    by_keys = {tuple(node.key for node in chain): nodes for chain, nodes in chains_of(graph, arrays)}
    assert found.chains
    for chain in found.chains:
        scores = recommender.scorer.scores("u4", toy.known("u4"), keep_nodes(arrays, ~by_keys[chain.nodes]))
        assert chain.effect == pytest.approx(found.score - float(scores[number]), abs=1e-6)
        assert chain.support == pytest.approx(chain.effect, abs=1e-3)  # no later node heard of the chain
        assert chain.rank_without == 1 + (scores > scores[number]).sum()
    weights = [chain.weight for chain in found.chains]
    assert sum(weights) + found.items_weight == pytest.approx(1.0, abs=1e-4)
    assert [abs(c.support) for c in found.chains] == sorted(
        (abs(c.support) for c in found.chains), reverse=True
    )


def test_chains_take_every_reason_and_idea_once_and_touch_no_fact(
    toy: TrainedToy, recommender: Recommender
) -> None:
    graph, arrays = reasoned(recommender, toy.known("u2"), "u2")
    taken = np.stack([nodes for _, nodes in chains_of(graph, arrays)]).sum(0)
    thought = [n.kind in (NodeKind.REASON, NodeKind.IMAGINED_ITEM) for n in graph.accepted.nodes]
    assert taken.tolist() == [int(one) for one in thought]


def test_a_shorter_history_is_explained_by_what_was_there_at_its_end(
    toy: TrainedToy, recommender: Recommender
) -> None:
    whole = toy.known("u2")
    for length in range(1, len(whole)):
        graph, arrays = reasoned(recommender, whole[:length], "u2")
        assert graph.item_ids == whole[:length]
        assert [n.position for n in graph.accepted.nodes] == arrays.node_position.tolist()
        assert arrays.node_position.max() < length
        found = explain_item(recommender, whole[:length], "i3", user_id="u2")
        assert {node for chain in found.chains for node in chain.nodes} <= set(graph.by_key)
        assert "i3" in render_explanation_html(found, {})
    assert len(reasoned(recommender, whole, "u2")[1].node_kind) > len(arrays.node_kind)


def test_an_idea_that_names_the_item_supports_it(toy: TrainedToy, recommender: Recommender) -> None:
    assert float(recommender.scorer.model.pointer.beta.detach()) > 0
    supported = 0
    for user in ("u1", "u2", "u3", "u4", "u5", "u6"):
        graph, _ = reasoned(recommender, toy.known(user), user)
        ideas = [n.item_id for n in graph.accepted.nodes if n.kind is NodeKind.IMAGINED_ITEM and n.item_id]
        found = explain_item(recommender, toy.known(user), ideas[-1], user_id=user)
        naming = [chain for chain in found.chains if found.item_id in chain.imagined]
        supported += any(chain.effect > 0 for chain in naming)
    assert supported >= 4


def test_a_stranger_is_explained_with_a_graph_made_now(toy: TrainedToy, recommender: Recommender) -> None:
    history = list(reversed(toy.known("u1")))
    found = explain_item(recommender, history, "i3")
    assert found.graph.item_ids == tuple(history)
    assert found.chains
    with pytest.raises(DataError, match="empty"):
        explain_item(recommender, [], "i3")
    with pytest.raises(DataError, match="'zz'"):
        explain_item(recommender, history, "zz")


def test_a_model_without_graphs_and_a_store_of_other_graphs_are_refused(
    toy: TrainedToy, recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare("GRU4Rec", "toy", overrides={"data_path": str(toy.data_path), "hidden_size": 8})
    base = save_checkpoint(tmp_path / "base", prepared.new_model(), prepared.config, prepared.train.dataset)
    with pytest.raises(ModelError, match="reads none"):
        llmrg.explain(base, "u1", "i3", history=["i1"])
    monkeypatch.setattr(GraphStore, "get", lambda *_: None)
    with pytest.raises(StoreError, match="another graph"):
        explain_item(recommender, toy.known("u1"), "i3", user_id="u1")


def test_text_and_page_tell_all_of_it_and_no_title_acts_as_markup(
    toy: TrainedToy, recommender: Recommender
) -> None:
    found = told(recommender, toy, "u5")
    titles = {item: f"<u>{item}</u>" for item in toy.themes.catalog}
    text = render_explanation(found, titles, most=1)
    assert f"rank {found.rank}" in text
    assert f"{found.score_without_graph:.3f}" in text
    assert "taken out the score changes by" in text
    assert ("more chains" in text) == (len(found.chains) > 1)
    chain = replace(found.chains[0], imagined=("i3", *(f"x{number}" for number in range(9)), found.item_id))
    text = render_explanation(replace(found, chains=(chain,)), titles)
    assert f"suggests <u>{found.item_id}</u> [{found.item_id}] (this item), <u>i3</u> [i3], item x0" in text
    assert "item x5 and 3 more\n" in text
    newest = found.graph.item_ids[chain.positions[-1]]
    assert f"from (newest first) <u>{newest}</u>" in text
    page = render_explanation_html(found, titles)
    assert "<u>" not in page
    assert page.count("<summary>Why ") == 1
    assert all(f"{-chain.effect:+.3f}" in page for chain in found.chains if abs(chain.effect) > 1e-3)


def test_the_verb_explains_as_text_json_and_page(
    toy: TrainedToy, recommender: Recommender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    item = best(recommender, toy, "u1")
    line = ["explain", str(toy.checkpoint), "u1", item]
    assert run(line) == 0
    assert "Without the graph: rank" in capsys.readouterr().out
    page = tmp_path / "pages" / "why.html"
    assert run([*line, "--html", str(page), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    again = llmrg.explain(toy.checkpoint, "u1", item)
    assert document["rank"] == again.rank
    assert len(document["chains"]) == len(again.chains)
    assert page.read_text().startswith("<!doctype html>")
    assert run(["explain", str(toy.checkpoint), "nobody", item]) == 1
    assert "give a history" in capsys.readouterr().err
