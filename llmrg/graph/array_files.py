"""A folder of ``.npy`` files with a manifest of their sizes and hashes.

Promise: a folder appears whole or not at all, opening one reads no array, and what is missing, cut short or
of a newer format is refused with what to do. Whenever a process is killed, the older folder or the newer one is
there, at the latest when it is asked for, and what is left over goes when the folder is written again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import StoreError
from llmrg.fingerprint import ALGORITHM

FORMAT = "llmrg-arrays"
VERSION = 1
MANIFEST = "manifest.json"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder that takes the place of ``folder`` when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _restore(folder)
    for kind in ("partial", "old") if folder.exists() else ("partial",):
        for path in _left_over(folder, kind):
            shutil.rmtree(path, ignore_errors=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rename(old)  # a full folder cannot be replaced in one step
        partial.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def save_folder(folder: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, str]) -> None:
    """Write one file per array, then the manifest.

    Args:
        folder: an existing folder; a file that lies there already is taken to be the array of its name.
        arrays: name to array.
        facts: name to word, kept in the manifest.
    """
    files = {}
    for name, array in arrays.items():
        path = _file(folder, name)
        if not path.exists():
            np.save(path, array, allow_pickle=False)
        files[name] = {
            "bytes": path.stat().st_size,
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "hash": _hash_file(path),
        }
    manifest = {"format": FORMAT, "version": VERSION, "facts": dict(facts), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_folder(
    folder: Path, names: Sequence[str], facts: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Map the named arrays into memory, read-only, and read all facts, the named ones at least.

    Raises:
        StoreError: no such folder, incomplete or corrupt, or of a newer format.
    """
    _restore(folder)
    manifest = _read_manifest(folder, names, facts)
    return {name: _map(folder, name, manifest["files"][name]) for name in names}, {
        name: str(word) for name, word in manifest["facts"].items()
    }


def verify_folder(folder: Path, names: Sequence[str], facts: Sequence[str]) -> list[str]:
    """Problems: what :func:`load_folder` would refuse, then every file's hash, derived again."""
    try:
        load_folder(folder, names, facts)
        expected = _read_manifest(folder, names, facts)["files"]
        load_folder(folder, [*expected], facts)
    except StoreError as error:
        return [str(error)]
    return [
        f"{_file(folder, name)}: its hash is not the manifest's; build the arrays again"
        for name in expected
        if _hash_file(_file(folder, name)) != expected[name]["hash"]
    ]


def _restore(folder: Path) -> None:
    """Put back what a process that was killed had just moved out of the way for a newer one."""
    with suppress(OSError):  # another process may be first, and where nothing may be written it stays
        if not folder.exists() and (moved := _left_over(folder, "old")):
            max(moved, key=lambda path: path.stat().st_mtime).rename(folder)


def _left_over(folder: Path, kind: str) -> list[Path]:
    """What :func:`new_folder` left behind in this process or in one that is no more."""
    form = re.compile(rf"\.{re.escape(folder.name)}\.([0-9]{{1,9}})\.{kind}")
    named = [(path, form.fullmatch(path.name)) for path in folder.parent.glob(f".*.{kind}")]
    return [path for path, match in named if match and not _works(int(match[1]))]


def _works(process: int) -> bool:
    """Whether another process of this number may be at work here."""
    if process == os.getpid():
        return False
    if os.name != "posix":  # where asking might end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True


def _map(folder: Path, name: str, expected: Mapping[str, Any]) -> NDArray[Any]:
    path = _file(folder, name)
    size = path.stat().st_size if path.is_file() else None
    if size != expected["bytes"]:
        raise _corrupt(folder, f"{path.name}: expected {expected['bytes']} bytes, found {size or 'no file'}")
    try:
        # an array without elements cannot be mapped
        mode: Any = None if 0 in expected["shape"] else "r"
        array: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise _corrupt(folder, f"{path.name}: {error}") from error
    if array.dtype.str != expected["dtype"] or list(array.shape) != expected["shape"]:
        raise _corrupt(
            folder,
            f"{path.name}: expected {expected['dtype']} {expected['shape']}, "
            f"found {array.dtype.str} {list(array.shape)}",
        )
    return array


def _read_manifest(folder: Path, names: Sequence[str], facts: Sequence[str]) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: expected graph arrays, found no {MANIFEST}; build them first") from error
    except (OSError, ValueError) as error:
        raise _corrupt(folder, f"{MANIFEST}: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StoreError(f"{path}: expected format {FORMAT!r}, found another; name a folder of graph arrays")
    version = manifest.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise StoreError(
            f"{path}: made by a newer llmrg (array version {version}, this one knows {VERSION}); "
            "upgrade llmrg or build the arrays again"
        )
    files, words = manifest.get("files"), manifest.get("facts")
    if not (
        isinstance(files, dict)
        and isinstance(words, dict)
        and all({"bytes", "dtype", "shape", "hash"} <= set(files.get(name) or ()) for name in names)
        and all(isinstance(words.get(name), str) for name in facts)
    ):
        raise _corrupt(folder, f"{MANIFEST}: incomplete")
    return manifest


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _corrupt(folder: Path, problem: str) -> StoreError:
    return StoreError(f"{folder}: corrupt graph arrays: {problem}; build them again")


def _hash_file(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{ALGORITHM}:{digest.hexdigest()}"
