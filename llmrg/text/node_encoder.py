"""What encodes the nodes of graphs, and what knows their items, as the settings say.

Promise: where items are described by their titles alone, both are what they always were: the plain sentence encoder,
and an index of titles.

T texts, d width of the encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from llmrg.data.catalog import ItemCatalog
from llmrg.fingerprint import fingerprint
from llmrg.settings import TextSettings
from llmrg.text.encoder import TextEncoder, Vectors
from llmrg.text.grounding import Grounding
from llmrg.text.item_texts import keep_item_texts, read_item_texts
from llmrg.text.item_vectors import DescribedItems

log = logging.getLogger(__name__)


class NodeEncoder:
    """A text encoder in which an item's label stands for all that is known of the item.

    Every other text (a reason, an attribute, words for an imagined item that are not its label) is encoded as it is.

    Args:
        grounding: knows labels and vectors of the items.
        encoder: of all other texts.
    """

    def __init__(self, grounding: Grounding, encoder: TextEncoder) -> None:
        self._grounding, self._encoder = grounding, encoder
        self.name = encoder.name
        self.fingerprint = fingerprint(["nodes", encoder.fingerprint, grounding.fingerprint])

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors. [T, d]"""
        row = self._grounding.row
        items = np.array([row.get(self._grounding.labelled(text) or "", -1) for text in texts], np.int64)
        likeness = self._grounding.likeness
        vectors = np.zeros((len(texts), likeness.shape[1]), np.float32)
        vectors[items >= 0] = likeness[items[items >= 0]]
        others = [text for text, item in zip(texts, items, strict=True) if item < 0]
        if others:
            vectors[items < 0] = self._encoder(others)
        return vectors


def open_grounding(
    catalog: ItemCatalog,
    encoder: TextEncoder,
    settings: TextSettings,
    folder: Path,
    *,
    keep: bool = False,
    notice: Callable[[str], None] = log.info,
) -> Grounding:
    """The grounding of a catalogue, with the attributes and item texts by which the settings describe its items.

    Args:
        catalog: the items.
        encoder: sentence encoder.
        settings: whether attributes, and which texts, if any.
        folder: of the graphs.
        keep: write the item texts there, so that the recipe outlives their file.
        notice: called with a sentence on what the texts cover, and one before they are encoded.

    Raises:
        SettingsError, DataError: see :func:`~llmrg.text.item_texts.read_item_texts`.
    """
    texts = None
    if settings.item_texts is not None:
        texts = read_item_texts(Path(settings.item_texts), catalog)
        notice(f"{settings.item_texts}: {texts}")
        if keep:
            keep_item_texts(folder, texts)
    attributes = texts is not None if settings.item_attributes is None else settings.item_attributes
    if texts is None and not attributes:
        return Grounding(catalog, encoder)
    described = DescribedItems(catalog, encoder, texts=texts, attributes=attributes, notice=notice)
    return Grounding(catalog, encoder, described)


def node_encoder(grounding: Grounding, encoder: TextEncoder) -> TextEncoder:
    """What encodes nodes: ``encoder`` itself where items are nothing but their titles."""
    return NodeEncoder(grounding, encoder) if grounding.described is not None else encoder
