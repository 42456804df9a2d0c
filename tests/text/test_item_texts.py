"""Texts of items: what a file may hold, and what is said where it holds something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.errors import DataError, SettingsError
from llmrg.text.item_texts import KEPT_FILE, keep_item_texts, read_item_texts

CATALOG = ItemCatalog([CatalogItem("1", "Toy Story"), CatalogItem("2", "Heat"), CatalogItem("3", "Fargo")])


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_nulls_blanks_and_absent_items_have_no_text_and_unknown_ids_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json", {"9": "?", "3": None, "2": " A heist. ", "1": "  ", "8": None})
    texts = read_item_texts(path, CATALOG)
    assert dict(texts.by_item) == {"2": "A heist."}
    assert str(texts) == (
        "texts of 1 of 3 items (2 have none); 2 ids in the file are no item of this data set"
    )


def test_lines_and_an_object_are_the_same_texts_whatever_their_order(tmp_path: Path) -> None:
    both = read_item_texts(written(tmp_path / "t.json", {"1": "toys\u2028alive", "2": "heist"}), CATALOG)
    lines = [{"item_id": 2, "text": "heist"}, {"item_id": "7", "text": "?"}]
    words = "\n".join(map(json.dumps, lines)) + '\n\n{"item_id": "1", "text": "toys\u2028alive"}\n'
    other = read_item_texts(written(tmp_path / "t.jsonl", words), CATALOG)
    assert dict(both.by_item) == dict(other.by_item)
    assert both.fingerprint == other.fingerprint
    assert (both.unknown, other.unknown) == (0, 1)


def test_another_text_is_another_fingerprint_and_an_unknown_items_text_is_not(tmp_path: Path) -> None:
    one, unknown, changed = (
        read_item_texts(written(tmp_path / f"{n}.json", content), CATALOG).fingerprint
        for n, content in enumerate([{"1": "toys"}, {"1": "toys", "9": "x"}, {"1": "toys."}])
    )
    assert one == unknown != changed


def test_a_missing_file_names_the_setting_and_the_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"llmrg\.text\.item_texts.*none\.json.*No such file") as caught:
        read_item_texts(tmp_path / "none.json", CATALOG)
    assert caught.value.name == "llmrg.text.item_texts"
    with pytest.raises(SettingsError, match="directory"):
        read_item_texts(tmp_path, CATALOG)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", '{"1": "toys"', r"t\.json: expected a JSON object .* no JSON"),
        (
            "t.json",
            '{"item_id": "1", "text": "a"}\n{"item_id": "2", "text": "b"}',
            r"file that ends in \.jsonl",
        ),
        ("t.json", ["toys"], "expected a JSON object of item ids and texts, found list"),
        ("t.json", {"1": ["toys"]}, "item '1': expected a text or null, found"),
        ("t.json", {"2": 7}, "item '2': expected a text or null, found int"),
        ("t.json", '{"1": "a", "1": "b"}', "item '1' occurs twice"),
        (
            "t.json",
            {"a": "x", "b": "y"},
            r"such as '1'\), found 2 ids \(such as 'a'\) and none of them an item",
        ),
        ("t.jsonl", '{"item_id": "1", "text": "a"}\nnot json', r"t\.jsonl:2: expected an item such as"),
        ("t.jsonl", '{"item_id": "1"}', r"t\.jsonl:1: expected an item such as"),
        (
            "t.jsonl",
            '{"item_id": "1", "text": "a"}\n{"item_id": 1, "text": "b"}',
            r"jsonl:2: item '1' occurs twice",
        ),
    ],
)
def test_what_is_no_file_of_texts_is_one_error_with_its_place(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_item_texts(written(tmp_path / name, content), CATALOG)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(b'{"1": "\xff"}')
    with pytest.raises(DataError, match="UTF-8"):
        read_item_texts(path, CATALOG)


@pytest.mark.parametrize("content", [{"1": "caf\u00e9 \ud800", "2": "b", "9": "?"}, {"1": None}])
def test_texts_that_are_kept_are_read_back_as_they_were(tmp_path: Path, content: object) -> None:
    texts = read_item_texts(written(tmp_path / "t.json", content), CATALOG)
    keep_item_texts(tmp_path / "new", texts)
    assert read_item_texts(tmp_path / "new" / KEPT_FILE, CATALOG).fingerprint == texts.fingerprint
    assert [path.name for path in (tmp_path / "new").iterdir()] == [KEPT_FILE]
