"""Items that are described: alike by what is known of them, grounded by their titles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.settings import TextSettings
from llmrg.text.encoder import HashingEncoder
from llmrg.text.grounding import Grounding
from llmrg.text.item_vectors import centred
from llmrg.text.node_encoder import node_encoder, open_grounding

CATALOG = ItemCatalog(
    [
        CatalogItem("1", "Heat", {"genre": ("Crime",)}),
        CatalogItem("2", "Heated Rivalry"),
        CatalogItem("3", "The Town", {"genre": ("Crime",)}),
        CatalogItem("4", ""),
        CatalogItem("5", "Fargo"),
    ]
)
HEIST = "A crew of bank robbers plans one last heist."
TEXTS = {"1": HEIST, "2": "Two hockey players fall in love.", "3": HEIST, "4": HEIST, "5": None}


def opened(folder: Path, encoder: HashingEncoder, texts: object = TEXTS, *, keep: bool = False) -> Grounding:
    path = folder / "texts.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    return open_grounding(CATALOG, encoder, TextSettings(item_texts=str(path)), folder / "graphs", keep=keep)


def test_items_are_alike_by_their_texts_and_words_are_grounded_to_titles(tmp_path: Path) -> None:
    plain, described = Grounding(CATALOG, HashingEncoder()), opened(tmp_path, HashingEncoder())
    assert plain.nearest(1)[0][0, 0] == 1
    assert set(described.nearest(2)[0][0].tolist()) == {2, 3}
    words = ["Heated Rivals", HEIST, "heat"]
    assert described.ground(words, threshold=0.5) == plain.ground(words, threshold=0.5)
    assert np.array_equal(described.vectors, plain.vectors)
    assert np.array_equal(described.similarity(words, ["1", "2"]), plain.similarity(words, ["1", "2"]))


def test_an_item_has_the_mean_of_what_is_known_of_it(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    grounding = opened(tmp_path, encoder)
    titles, texts = centred(grounding.vectors), centred(encoder([text or "" for text in TEXTS.values()]))
    genres = encoder(["Crime", "", "Crime", "", ""])  # centred, one genre for all would say nothing
    assert np.allclose(grounding.likeness[4], titles[4], atol=1e-6)
    assert np.allclose(grounding.likeness[3], texts[3], atol=1e-6)
    both = titles[1] + texts[1]
    assert np.allclose(grounding.likeness[1], both / np.linalg.norm(both), atol=1e-6)
    assert np.allclose(centred(genres), 0)
    assert np.allclose(np.linalg.norm(grounding.likeness, axis=1), 1, atol=1e-6)


def test_texts_and_attributes_that_say_nothing_leave_the_titles(tmp_path: Path) -> None:
    grounding = opened(tmp_path, HashingEncoder(), {"1": None})
    assert np.allclose(grounding.likeness, centred(grounding.vectors), atol=1e-6)


def test_attributes_describe_items_without_texts_where_that_is_asked_for_and_with_them_unless_it_is_not(
    tmp_path: Path,
) -> None:
    items = [
        ("1", "Heat", "Crime"),
        ("2", "Alien", "Horror"),
        ("3", "Casino", "Crime"),
        ("4", "Hea", "Horror"),
    ]
    catalog = ItemCatalog([CatalogItem(i, title, {"genre": (genre,)}) for i, title, genre in items])
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"1": "One.", "2": "Two."}), encoding="utf-8")

    def found(**settings: object) -> Grounding:
        text = TextSettings.model_validate(settings)
        return open_grounding(catalog, HashingEncoder(), text, tmp_path)

    assert found().nearest(1)[0][0, 0] == 3
    assert found(item_attributes=True).nearest(1)[0][0, 0] == 2
    given = {"item_texts": str(path)}
    assert found(**given).fingerprint == found(**given, item_attributes=True).fingerprint
    prints = {found(**given, item_attributes=flag).fingerprint for flag in (True, False)}
    assert len({*prints, found().fingerprint, found(item_attributes=True).fingerprint}) == 4


def test_without_texts_nothing_is_another(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    grounding = open_grounding(CATALOG, encoder, TextSettings(), tmp_path, keep=True)
    assert grounding.fingerprint == Grounding(CATALOG, encoder).fingerprint
    assert node_encoder(grounding, encoder) is encoder
    assert not list(tmp_path.iterdir())


def test_a_node_has_its_items_vector_and_other_words_their_own(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    grounding = opened(tmp_path, encoder)
    nodes = node_encoder(grounding, encoder)
    found = nodes(["genre=Crime", "heat ", "[item 4]", "Heats"])
    assert np.array_equal(found[1:3], grounding.likeness[[0, 3]])
    assert np.array_equal(found[[0, 3]], encoder(["genre=Crime", "Heats"]))
    assert nodes([]).shape == (0, 256)


def test_other_texts_are_other_fingerprints_of_items_and_nodes(tmp_path: Path) -> None:
    encoder = HashingEncoder()
    one, other = opened(tmp_path, encoder), opened(tmp_path, encoder, {**TEXTS, "2": "Love on ice."})
    assert len({one.fingerprint, other.fingerprint, Grounding(CATALOG, encoder).fingerprint}) == 3
    prints = {node_encoder(grounding, encoder).fingerprint for grounding in (one, other)}
    assert len({*prints, encoder.fingerprint}) == 3


def test_who_may_not_keep_texts_writes_nothing(tmp_path: Path) -> None:
    opened(tmp_path, HashingEncoder()).likeness  # noqa: B018 (computed when it is read)
    assert not (tmp_path / "graphs").exists()
