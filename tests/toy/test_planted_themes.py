"""The planted data: how much the graphs tell, that they tell nothing early, and that the files read back."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.data.atomic_files import read_dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.synthetic import THEME_WORDS, PlantedThemes, planted_themes, write_atomic_files
from llmrg.errors import DataError
from llmrg.graph.checks import check_graph
from llmrg.graph.schema import NodeKind, ReasoningGraph


def stated_theme(node_label: str) -> int:
    return THEME_WORDS.index(node_label.rsplit(" ", 1)[1])


def agreement(data: PlantedThemes, *, shift: int = 0) -> float:
    """Share of reasons that state the theme of the next item; ``shift`` reads another user's items."""
    users = list(data.sequences)
    hits = total = 0
    for place, user_id in enumerate(users):
        items = data.sequences[users[(place + shift) % len(users)]]
        for node in data.graphs[user_id].nodes:
            if node.kind is NodeKind.REASON:
                total += 1
                hits += stated_theme(node.label) == data.item_themes[items[node.position + 1]]
    return hits / total


def make(signal: float, *, length: int = 12, seed: int = 3) -> PlantedThemes:
    return planted_themes(num_users=150, num_items=40, num_themes=5, length=length, signal=signal, seed=seed)


def test_with_full_signal_every_reason_states_the_theme_of_the_next_item() -> None:
    assert agreement(make(1.0)) == 1.0


def test_without_signal_reasons_agree_with_the_future_no_more_than_chance() -> None:
    data = make(0.0)
    reasons = sum(n.kind is NodeKind.REASON for g in data.graphs.values() for n in g.nodes)
    assert agreement(data) == pytest.approx(1 / 5, abs=4 * math.sqrt(0.2 * 0.8 / reasons))


def test_another_users_graph_tells_no_more_than_chance_even_with_full_signal() -> None:
    assert agreement(make(1.0), shift=1) == pytest.approx(1 / 5, abs=0.06)


def test_half_the_signal_lies_between() -> None:
    assert 0.45 < agreement(make(0.5)) < 0.75


def test_the_past_alone_seldom_tells_the_next_theme() -> None:
    data = make(1.0)
    pairs = [pair for items in data.sequences.values() for pair in pairwise(items)]
    stays = sum(data.item_themes[a] == data.item_themes[b] for a, b in pairs) / len(pairs)
    assert stays == pytest.approx(0.3, abs=0.05)


def test_imagined_items_carry_the_stated_theme_but_not_the_very_next_item() -> None:
    data = make(1.0)
    same = total = 0
    for user_id, graph in data.graphs.items():
        for node in graph.nodes:
            if node.kind is NodeKind.IMAGINED_ITEM:
                following = data.sequences[user_id][node.position + 1]
                assert data.item_themes[node.item_id or ""] == data.item_themes[following]
                same, total = same + (node.item_id == following), total + 1
    assert same / total == pytest.approx(1 / 8, abs=0.04)  # eight items a theme


@settings(max_examples=25)
@given(
    short=st.integers(3, 10),
    more=st.integers(1, 6),
    signal=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_a_longer_life_changes_nothing_that_came_before(
    short: int, more: int, signal: float, seed: int
) -> None:
    def build(length: int) -> PlantedThemes:
        return planted_themes(num_users=2, num_items=9, num_themes=3, length=length, signal=signal, seed=seed)

    early, late = build(short), build(short + more)
    for user_id, items in early.sequences.items():
        assert late.sequences[user_id][:short] == items
        seen, later = early.graphs[user_id], late.graphs[user_id].before(short - 1)
        assert (seen.nodes, seen.edges) == (later.nodes, later.edges)


@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_every_planted_graph_passes_the_graph_checks(signal: float) -> None:
    data = make(signal)
    for history in data.histories:
        assert not check_graph(data.graphs[history.user_id], history)


def test_graphs_know_the_validation_target_but_never_the_test_target() -> None:
    data = make(1.0)
    for history in data.histories:
        graph = data.graphs[history.user_id]
        assert graph.item_ids == history.item_ids == data.sequences[history.user_id][:-1]
        assert graph.history == history.fingerprint
        assert max(node.position for node in graph.nodes) == len(history) - 1


def test_planted_graphs_survive_their_document_form() -> None:
    for graph in make(1.0).graphs.values():
        assert ReasoningGraph.from_document(graph.to_document()) == graph


def test_one_seed_is_one_data_set() -> None:
    assert make(0.7, seed=5).sequences == make(0.7, seed=5).sequences
    assert make(0.7, seed=5).sequences != make(0.7, seed=6).sequences


def test_titles_do_not_name_the_themes() -> None:
    words = " ".join(item.title for item in make(1.0).catalog.values())
    assert not any(theme in words for theme in THEME_WORDS)


@pytest.mark.parametrize(
    "wrong", [{"num_themes": 1}, {"num_themes": 41}, {"length": 2}, {"num_users": 0}, {"signal": 1.5}]
)
def test_sizes_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    sizes = {"num_users": 2, "num_items": 40, "num_themes": 5, "length": 5, "signal": 1.0, "seed": 1}
    with pytest.raises(DataError):
        planted_themes(**{**sizes, **wrong})  # type: ignore[arg-type]


def test_written_files_read_back_as_the_same_histories_and_catalogue(tmp_path: Path) -> None:
    data = make(1.0)
    write_atomic_files(tmp_path, "toy", data.sequences, catalog=data.catalog)
    read = read_dataset(tmp_path, "toy")
    assert {h.user_id: h.fingerprint for h in read.histories} == {
        h.user_id: h.fingerprint for h in data.histories
    }
    assert {i.item_id: i.title for i in read.catalog.values()} == {
        i.item_id: i.title for i in data.catalog.values()
    }


def test_attributes_are_written_as_token_sequences(tmp_path: Path) -> None:
    catalog = ItemCatalog([CatalogItem("a", "One Two", {"genre": ("X", "Y")}), CatalogItem("b")])
    folder = write_atomic_files(
        tmp_path, "t", {"u": ["a", "b"]}, catalog=catalog, user_attributes={"u": {"age": ("9",)}}
    )
    assert (folder / "t.item").read_text().splitlines() == [
        "item_id:token\ttitle:token_seq\tgenre:token_seq",
        "a\tOne Two\tX Y",
        "b\t\t",
    ]
    assert (folder / "t.user").read_text().splitlines() == ["user_id:token\tage:token_seq", "u\t9"]


@pytest.mark.parametrize(
    "item",
    [
        CatalogItem("a", "tab\there"),
        CatalogItem("a", "line\nbreak"),
        CatalogItem("a", "", {"genre": ("two words",)}),
    ],
)
def test_values_an_atomic_file_cannot_hold_are_refused(tmp_path: Path, item: CatalogItem) -> None:
    with pytest.raises(DataError):
        write_atomic_files(tmp_path, "t", {"u": ["a"]}, catalog=ItemCatalog([item]))
