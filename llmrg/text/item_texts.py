"""What is known of items beside their titles: a text for each, read from a file of one's own.

Promise: a file that is missing, or is not what was expected, is one error with the place; a text that is null or
blank is none; ids that the catalogue does not know are counted and change nothing, not even the fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.data.catalog import ItemCatalog
from llmrg.errors import DataError, SettingsError
from llmrg.fingerprint import fingerprint_text
from llmrg.plain_text import encodable
from llmrg.whole_files import whole_file

SETTING = "llmrg.text.item_texts"
LINES = (".jsonl", ".ndjson")
KEPT_FILE = "item-texts.json"


@dataclass(frozen=True)
class ItemTexts:
    """Texts of items of one catalogue.

    Args:
        by_item: item id to text, in catalogue order; items without one are absent.
        items: items of the catalogue.
        unknown: ids of the file that are no item of the catalogue.
    """

    by_item: Mapping[str, str]
    items: int
    unknown: int = 0

    @property
    def fingerprint(self) -> str:
        """Content hash of ids and texts."""
        return fingerprint_text(f"{item_id}\x1f{text}" for item_id, text in self.by_item.items())

    def __str__(self) -> str:
        bare = self.items - len(self.by_item)
        said = f"texts of {len(self.by_item)} of {self.items} items"
        if bare:
            said += f" ({bare} have none)"
        return said + (
            f"; {self.unknown} ids in the file are no item of this data set" if self.unknown else ""
        )


def read_item_texts(path: Path, catalog: ItemCatalog) -> ItemTexts:
    """Read the texts of a catalogue's items.

    Args:
        path: a JSON object, item id → text or null; or (ending in .jsonl or .ndjson) JSON Lines of
            ``{"item_id": ..., "text": ...}``.
        catalog: the items.

    Raises:
        SettingsError: no such file, or one that cannot be read.
        DataError: it holds something else, an id twice, or no id of the catalogue.
    """
    try:
        words = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected item texts in UTF-8, found other bytes ({error})", path=str(path)
        ) from error
    except OSError as error:
        raise SettingsError(
            f"{SETTING}: expected a file of item texts, found none that can be read at {path} ({error.strerror})",
            name=SETTING,
        ) from error
    pairs = _of_lines(words, path) if path.suffix.lower() in LINES else _of_object(words, path)
    found: dict[str, str] = {}
    for item_id, text, line in pairs:
        if text is not None and not isinstance(text, str):
            raise DataError(
                f"item {item_id!r}: expected a text or null, found {type(text).__name__}",
                path=str(path),
                line=line,
            )
        if item_id in found:
            raise DataError(f"item {item_id!r} occurs twice", path=str(path), line=line)
        found[item_id] = encodable(text or "").strip()
    unknown = sum(1 for item_id in found if item_id not in catalog)
    if found and unknown == len(found):
        raise DataError(
            f"expected texts of items of this data set (such as {next(iter(catalog), '')!r}), found {len(found)} "
            f"ids (such as {next(iter(found))!r}) and none of them an item",
            path=str(path),
        )
    return ItemTexts({i: found[i] for i in catalog if found.get(i)}, len(catalog), unknown)


def keep_item_texts(folder: Path, texts: ItemTexts) -> None:
    """Have the folder's :data:`KEPT_FILE` hold these texts: so the recipe of its graphs outlives their own file."""
    words = json.dumps(texts.by_item, ensure_ascii=True, indent=0) + "\n"
    path = folder / KEPT_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != words:
        with whole_file(path) as partial:
            partial.write_text(words, encoding="utf-8")


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands in the file: a dict would hide that a name occurs twice."""


def _of_object(words: str, path: Path) -> Iterator[tuple[str, Any, int | None]]:
    try:
        found = json.loads(words, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"expected a JSON object of item ids and texts, found what is no JSON ({error}); JSON Lines go into a "
            "file that ends in .jsonl",
            path=str(path),
        ) from error
    if not isinstance(found, _Pairs):
        raise DataError(
            f"expected a JSON object of item ids and texts, found {type(found).__name__}", path=str(path)
        )
    for item_id, text in found:
        yield item_id.strip(), text, None


def _of_lines(words: str, path: Path) -> Iterator[tuple[str, Any, int | None]]:
    for number, line in enumerate(_lines(words), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        item_id = found.get("item_id") if isinstance(found, dict) else None
        if not isinstance(item_id, str | int) or not isinstance(found, dict) or "text" not in found:
            raise DataError(
                'expected an item such as {"item_id": "42", "text": "..."}', path=str(path), line=number
            )
        yield str(item_id).strip(), found["text"], number


def _lines(words: str) -> Iterable[str]:
    return words.split("\n")  # str.splitlines also splits at characters that JSON allows within a text
