"""Where graphs lie: from a folder or a data set's name to an open store.

Promise: a verb that reads graphs takes either, and a name that leads nowhere is refused with the places
looked at and the data sets that have graphs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmrg.errors import SettingsError, StoreError
from llmrg.graph.store_records import STORE_FILE

ARRAYS_FOLDER = "arrays"


def find_store(place: str, folder: Path | None = None) -> Path:
    """The folder of the store that a person means.

    Args:
        place: a folder, or the name of a data set.
        folder: where the graphs are said to lie; then ``place`` is only a name.

    Raises:
        StoreError: no store there.
    """
    from llmrg.job.reading import DEFAULT_FOLDER

    places = [Path(place), DEFAULT_FOLDER / place] if folder is None else [folder]
    for found in places:
        if (found / STORE_FILE).is_file():
            return found
    looked = " and ".join(str(found / STORE_FILE) for found in places)
    known = ", ".join(str(found) for found in known_stores())
    hint = f"graphs lie in: {known}" if known else f"run `llmrg generate {place}` first"
    raise StoreError(f"no graphs of {place!r}: looked for {looked}; {hint}")


def known_stores() -> list[Path]:
    """Folders with a store under the default folder."""
    from llmrg.job.reading import DEFAULT_FOLDER

    return sorted(path.parent for path in DEFAULT_FOLDER.glob(f"*/{STORE_FILE}"))


def try_folder(place: Path | None) -> None:
    """Make a folder to write into, and try it, before anything slow.

    Raises:
        SettingsError: it is something else, or nothing can be written there.
    """
    if place is None:
        return
    with writing_into(place, "--out"):
        if place.exists() and not place.is_dir():
            raise SettingsError(f"--out: expected a folder, found a file: {place}")
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass


@contextmanager
def writing_into(place: Path, option: str) -> Iterator[None]:
    """Say which option names a folder that cannot be written into.

    Raises:
        SettingsError: an OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{option}: cannot write into {place}: {error.strerror or error}") from error


def refuse_other(file: Path, start: bytes, what: str) -> None:
    """Refuse to write over a file of another kind: a store, a part of a checkpoint, somebody's notes.

    Args:
        file: to be written; a missing or empty one, a folder and a pipe are left to whoever writes.
        start: first bytes of what may be replaced.
        what: its name in the message.

    Raises:
        SettingsError: the file starts with something else.
    """
    if not file.is_file():
        return
    with file.open("rb") as opened:
        found = opened.read(len(start))
    if found and found.lower() != start.lower():
        raise SettingsError(f"{file} is there and is not {what}; name another file to write to")


def refuse_no_page(file: Path) -> None:
    """:func:`refuse_other`, for a page of HTML."""
    refuse_other(file, b"<!doctype html", "a page of HTML")
