"""Sentence vectors kept beside the graphs: one text is encoded once for all jobs in a folder.

Promise: who asks gets what the encoder gave when it first met the text, under the same name and fingerprint; what was
encoded is on disk block by block, a block whole or not at all; and the file is a cache: one that is damaged or foreign
is said once in the log, set aside, and its texts are encoded anew.

One SQLite file an encoder: an addition costs what it adds, where an array would be written again whole, and two
processes may add at once. T texts, d width of the encoder.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import numpy as np

from llmrg.settings import TextSettings
from llmrg.text.encoder import HashingEncoder, TextEncoder, Vectors, load_text_encoder

FOLDER = "text-vectors"
SET_ASIDE = ".unusable"
ROW_TYPE = "<f4"
BLOCK = 500  # digests looked up at once
# Texts encoded, then kept, at once. A model's last bits depend on what shares a batch, and batches are formed by length
# over all texts of a call: more than any published data set has (12,291), so that none of them gets other bits.
ENCODED = 16384
WAIT = 10.0  # seconds for another process that writes
UNUSABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # the last: not our table

log = logging.getLogger(__name__)


class KeptVectors:
    """A text encoder that encodes only what is not kept already, and keeps it.

    Args:
        encoder: of what is missing; it is not touched where nothing is.
        folder: of the graphs; the file lies in its ``text-vectors/``, named by the encoder's fingerprint.
        keep: add what was encoded; otherwise nothing is written.
    """

    def __init__(self, encoder: TextEncoder, folder: Path, *, keep: bool = True) -> None:
        self._encoder, self._keep = encoder, keep
        self.name, self.fingerprint = encoder.name, encoder.fingerprint
        self.path = folder / FOLDER / f"{self.fingerprint.replace(':', '-')}.sqlite"
        self._given_up = False

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised float32 vectors. [T, d]"""
        if not texts:
            return self._encoder(texts)
        wanted = {text: self._digest(text) for text in texts}
        vectors = self._read([*wanted.values()])
        missing = [text for text, digest in wanted.items() if digest not in vectors]
        for start in range(0, len(missing), ENCODED):
            block = missing[start : start + ENCODED]
            new = np.asarray(self._encoder(block), np.float32)
            if not start and any(vector.shape != new.shape[1:] for vector in vectors.values()):
                self._set_aside(f"expected vectors of {new.shape[1]} numbers, found others")
                return self(texts)
            added = {wanted[text]: vector for text, vector in zip(block, new, strict=True)}
            if self._keep and not self._given_up and np.isfinite(new).all():
                self._add(added)
            vectors.update(added)
        return np.stack([vectors[wanted[text]] for text in texts])

    def _digest(self, text: str) -> bytes:
        """What a text is kept under: another encoder's vectors are never taken for this one's."""
        return blake2b(
            f"{self.fingerprint}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16
        ).digest()

    def _read(self, digests: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Those vectors that are kept; none where the file is of no use."""
        found: dict[bytes, Vectors] = {}
        if self._given_up or not self.path.is_file():
            return found
        try:
            with closing(self._connection("rw" if self._keep else "ro")) as file:
                if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    return found  # another process has just begun it
                for start in range(0, len(digests), BLOCK):
                    block = digests[start : start + BLOCK]
                    marks = ", ".join("?" * len(block))
                    rows = file.execute(
                        f"SELECT digest, vector FROM vectors WHERE digest IN ({marks})", block
                    )
                    found.update((digest, np.frombuffer(row, ROW_TYPE)) for digest, row in rows)
        except sqlite3.DatabaseError as error:
            self._failed(error)
            return {}
        except (TypeError, ValueError) as error:  # a row that is no float32 vector
            self._set_aside(str(error))
            return {}
        if len({vector.shape for vector in found.values()}) > 1 or not all(
            vector.size and np.isfinite(vector).all() for vector in found.values()
        ):
            self._set_aside("expected finite vectors of one width, found others")
            return {}
        return found

    def _add(self, vectors: dict[bytes, Vectors]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connection("rwc")) as file:
                file.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB NOT NULL)"
                )
                with file:  # one transaction: all of them, or none
                    file.executemany(
                        "INSERT OR IGNORE INTO vectors VALUES (?, ?)",
                        ((digest, _as_row(vector)) for digest, vector in vectors.items()),
                    )
        except (sqlite3.DatabaseError, OSError) as error:
            self._failed(error)

    def _connection(self, mode: str) -> sqlite3.Connection:
        """A new one each time, so that threads and forked processes may share an encoder."""
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=WAIT)

    def _failed(self, error: sqlite3.DatabaseError | OSError) -> None:
        if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode & 0xFF in UNUSABLE:
            self._set_aside(str(error))
            return
        log.warning("%s: text vectors can be neither read nor kept now: %s", self.path, error)
        self._given_up = True

    def _set_aside(self, problem: str) -> None:
        log.warning("%s: unusable text vectors: %s; the texts are encoded anew", self.path, problem)
        self._given_up = not self._keep
        if self._keep:
            try:
                self.path.replace(self.path.with_name(self.path.name + SET_ASIDE))
                self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
            except OSError:
                self._given_up = True


def kept_encoder(settings: TextSettings, folder: Path, *, keep: bool = True) -> TextEncoder:
    """The encoder that the settings name, with what is kept in a folder of graphs; hashing is cheaper than looking up.

    Args:
        settings: name the encoder.
        folder: of the graphs.
        keep: add what is encoded.

    Raises:
        MissingExtraError, SettingsError: see :func:`~llmrg.text.encoder.load_text_encoder`.
    """
    encoder = load_text_encoder(settings)
    return encoder if isinstance(encoder, HashingEncoder) else KeptVectors(encoder, folder, keep=keep)


def _as_row(vector: Vectors) -> bytes:
    return vector.astype(ROW_TYPE).tobytes()
