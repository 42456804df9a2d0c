"""The control arm of plain neighbours: as strict about the future as the agent, and as large."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from toy_reasoning import think, toy_catalog, toy_histories, toy_reasoner, toy_world

from llmrg.data.interactions import UserHistory
from llmrg.graph.arrays import build_arrays, load_arrays
from llmrg.graph.checks import check_graph
from llmrg.graph.schema import NodeKind
from llmrg.reasoning.neighbours import neighbour_graphs, neighbours_recipe
from llmrg.settings import GenerationSettings
from llmrg.text.encoder import HashingEncoder

RECIPE = GenerationSettings(chains_per_call=2, imagined_per_chain=3)


def graphs_of(histories, world, settings=RECIPE):
    return {graph.user_id: graph for graph in neighbour_graphs(histories, world, settings)}


def imagined(graph):
    """Position → imagined item ids, best first."""
    found: dict[int, list[str]] = {}
    for node in graph.nodes:
        if node.kind is NodeKind.IMAGINED_ITEM:
            found.setdefault(node.position, []).append(node.item_id)
    return found


@pytest.fixture(scope="module")
def toy():
    histories = toy_histories(users=40)
    reasoner = toy_reasoner(histories)
    return histories, reasoner, toy_world(reasoner)


def test_every_graph_is_sound_and_every_user_has_one(toy):
    histories, _, world = toy
    graphs = graphs_of([*histories, UserHistory("nobody", (), 0)], world)
    assert list(graphs) == sorted(history.user_id for history in histories)
    for history in histories:
        assert not check_graph(graphs[history.user_id], history)


@hypothesis_settings(max_examples=15)
@given(cut=st.integers(3, 12), seed=st.integers(0, 2**20))
def test_what_comes_later_changes_nothing_that_was_imagined_before(cut, seed):
    """Law 1, exactly: a history that ends in the training part gives the longer one's graph up to there."""
    histories = toy_histories(users=12)
    world = toy_world(toy_reasoner(histories))
    whole = histories[seed % 12]
    items = list(whole.item_ids)
    tail = items[cut:]
    random.Random(seed).shuffle(tail)
    other = UserHistory(whole.user_id, (*items[:cut], *tail), whole.train_length, attributes=whole.attributes)
    full = cut // RECIPE.window * RECIPE.window  # windows close here whatever comes
    first, second = (graphs_of([history], world)[whole.user_id].before(full) for history in (whole, other))
    assert (first.nodes, first.edges) == (second.nodes, second.edges)


def test_nothing_imagined_is_in_the_history_so_far(toy):
    histories, _, world = toy
    for history in histories:
        for position, items in imagined(graphs_of([history], world)[history.user_id]).items():
            assert not set(items) & set(history.item_ids[: position + 1])
            assert len(set(items)) == len(items)


def test_what_a_fold_did_changes_no_graph_of_its_own_users(toy):
    histories, reasoner, world = toy
    fold = reasoner.scope("u0")
    changed = [
        UserHistory(h.user_id, h.item_ids[::-1], h.train_length) if reasoner.scope(h.user_id) == fold else h
        for h in histories
    ]
    other = toy_world(toy_reasoner(changed))
    same, moved = (
        imagined(graphs_of([histories[0]], world)["u0"]),
        imagined(graphs_of([histories[0]], other)["u0"]),
    )
    assert same == moved


def test_canaries_of_one_fold_and_of_held_out_positions_are_never_imagined():
    """An item that only the user's own fold took, or that nobody took in training, does not exist yet."""
    catalog = toy_catalog(["fold-canary", "validation-canary"])
    plain = toy_histories(users=40)
    fold = toy_reasoner(plain).scope("u0")
    reasoner = toy_reasoner(plain)
    histories = [
        UserHistory(
            h.user_id,
            (
                *(("fold-canary",) if reasoner.scope(h.user_id) == fold else ()),
                *h.item_ids,
                "validation-canary",
            ),
            len(h) + (reasoner.scope(h.user_id) == fold),
        )
        for h in plain
        if h.user_id != "u0"
    ] + [plain[0]]
    graphs = graphs_of(histories, toy_world(toy_reasoner(histories, catalog), catalog))
    for user_id, graph in graphs.items():
        items = {item for found in imagined(graph).values() for item in found}
        assert "validation-canary" not in items
        if reasoner.scope(user_id) == fold:
            assert "fold-canary" not in items
    seen = {
        i for u, g in graphs.items() if reasoner.scope(u) != fold for f in imagined(g).values() for i in f
    }
    assert "fold-canary" in seen  # the canary would sing: others may imagine it


def test_as_much_is_imagined_and_at_the_same_positions_as_by_the_reasoner(toy):
    histories, reasoner, world = toy
    recipe = RECIPE.model_copy(update={"tau": 0.0, "knowledge": False})
    for history in histories[:10]:
        theirs = imagined(think(history, world, reasoner, recipe).graph)
        ours = imagined(graphs_of([history], world, recipe)[history.user_id])
        assert theirs.keys() == ours.keys()
        for position, items in ours.items():
            left = len(set(world.cooccurrence.index) - set(history.item_ids[: position + 1]))
            assert len(items) == min(6, left)
            assert len(theirs[position]) <= len(items)


def test_the_best_neighbour_of_the_newest_item_comes_with_the_highest_trust(toy):
    histories, _, world = toy
    for graph in graphs_of(histories, world).values():
        for position in imagined(graph):
            scores = [
                n.score for n in graph.nodes if n.kind is NodeKind.IMAGINED_ITEM and n.position == position
            ]
            assert max(scores) == 1
            assert min(scores) >= 0.5


def test_graphs_survive_as_arrays(toy, tmp_path):
    histories, _, world = toy
    graphs = graphs_of(histories, world)
    build_arrays(
        graphs.values(),
        HashingEncoder(),
        tmp_path / "a",
        components=8,
        fingerprint="f",
        cutoff="leave_one_out",
    )
    arrays = load_arrays(tmp_path / "a")
    kind = list(NodeKind).index(NodeKind.IMAGINED_ITEM)
    for row, user_id in enumerate(arrays.user_ids):
        nodes = slice(arrays.node_offset[row], arrays.node_offset[row + 1])
        ideas = np.flatnonzero(arrays.node_kind[nodes] == kind)
        found: dict[int, list[str]] = {}
        for at in ideas:
            position = int(arrays.node_position[nodes][at])
            found.setdefault(position, []).append(str(arrays.item_ids[arrays.node_item[nodes][at]]))
        assert found == imagined(graphs[str(user_id)])


def test_the_recipe_changes_with_what_is_read_and_only_with_that(toy):
    _, _, world = toy
    base = neighbours_recipe(world, RECIPE)
    read = {
        "window": 4,
        "max_history": 7,
        "divergent_every": 2,
        "chains_per_call": 3,
        "imagined_per_chain": 4,
    }
    for name, value in read.items():
        assert neighbours_recipe(world, RECIPE.model_copy(update={name: value})) != base, name
    assert neighbours_recipe(world, RECIPE.model_copy(update={"tau": 0.9, "seed": 1})) == base
