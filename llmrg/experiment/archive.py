"""Finished runs on disk, one file each, so that a comparison goes on where it was interrupted.

Promise: a file appears whole or not at all, under the key of everything that affects the run
(:mod:`llmrg.experiment.identity`); a file that cannot be read is left where it is and its run is trained
again. Nothing is ever deleted here.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from llmrg.errors import DataError
from llmrg.evaluation.runs import DAMAGED, RunResult
from llmrg.whole_files import whole_file

FORMAT = "llmrg-run"
VERSION = 1
_UNREADABLE = (*DAMAGED, DataError)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A finished run as kept: its result, and the family whose runs take about as long."""

    result: RunResult
    family: str


@dataclass(frozen=True)
class RunArchive:
    """A folder of finished runs.

    Args:
        folder: made when the first run is kept.
    """

    folder: Path

    def find(self, key: str) -> RunResult | None:
        """The finished run of this key, if it is here and sound."""
        for path in sorted(self.folder.glob(f"*-{_short(key)}.npz")):
            try:
                document, kept = _read(path)
            except _UNREADABLE as error:
                log.warning("%s cannot be read (%s); the run is trained again", path, error)
                continue
            if document["key"] == key:
                return kept.result
        return None

    def begin(self) -> None:
        """Make the folder and write to it, before hours of training.

        Raises:
            OSError: that is not possible.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=self.folder):
            pass

    def keep(self, key: str, result: RunResult, *, family: str = "") -> Path:
        """Write a finished run; one of the same key is replaced.

        Raises:
            OSError: it cannot be written; nothing of it is left behind.
        """
        words = f"{result.dataset}-{result.model}-{result.arm}-{result.seed}"
        path = self.folder / f"{re.sub('[^A-Za-z0-9-]+', '_', words)}-{_short(key)}.npz"
        facts = {"format": FORMAT, "version": VERSION, "key": key, "family": family}
        document = json.dumps({**facts, "run": result.to_document()}, allow_nan=False)
        arrays: dict[str, Any] = {
            "document": np.array(document),
            "users": np.array(result.user_ids, dtype=np.str_),
            "ranks": result.ranks,
        }
        if result.other_ranks is not None:
            arrays["other_ranks"] = result.other_ranks
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)
        return path

    def all(self) -> Iterator[Kept]:
        """Every sound run, by file name."""
        for path in sorted(self.folder.glob("*.npz")):
            try:
                yield _read(path)[1]
            except _UNREADABLE:
                log.debug("%s is no run", path)


def _read(path: Path) -> tuple[dict[str, Any], Kept]:
    with np.load(path, allow_pickle=False) as arrays:
        document = json.loads(str(arrays["document"]))
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {document['format']!r} {document['version']}")
        users = tuple(arrays["users"].tolist())
        result = RunResult.from_document(
            document["run"], user_ids=users, ranks=arrays["ranks"], other_ranks=arrays.get("other_ranks")
        )
    return document, Kept(result, str(document["family"]))


def _short(key: str) -> str:
    return key.partition(":")[2][:20]
