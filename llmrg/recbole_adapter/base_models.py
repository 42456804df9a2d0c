"""Which base models can be enhanced, what is particular about each, and why others cannot.

Promise: every particularity of a base model that the wrapper has to know is one field of :class:`Traits`; the
contract suite (``tests/contracts``) runs over :data:`ENHANCED_BASES`, so a name stands here only if it passes; a
model that cannot fit is refused with the reason, before anything slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmrg.errors import ModelError


@dataclass(frozen=True)
class Traits:
    """What the wrapper must know about a base model.

    Args:
        causal: its state at a position depends on earlier positions only, and it picks states by
            ``gather_indexes``: all prefixes of a history can be trained in one pass.
        item_table: the embedding its scores are products with; graph nodes that are items share it.
        unit_states: its states have unit length (its scores are cosines), and must keep their length.
        masked: it predicts masked positions: ``forward`` gives the states of all positions, and ``output_bias`` is
            added to all its scores.
    """

    causal: bool = False
    item_table: str = "item_embedding"
    unit_states: bool = False
    masked: bool = False


_ANY = Traits()
_CAUSAL = Traits(causal=True)
_TRAITS: dict[str, Traits] = {
    "SASRec": _CAUSAL,
    "GRU4Rec": _CAUSAL,
    "CL4SRec": _CAUSAL,  # ours: llmrg.recbole_adapter.models
    "DuoRec": _CAUSAL,  # ours
    "SASRecF": _CAUSAL,
    "GRU4RecF": _CAUSAL,
    "FDSA": _CAUSAL,
    "BERT4Rec": Traits(masked=True),  # bidirectional
    "FEARec": _ANY,  # filters frequencies of the whole window
    "LightSANs": _ANY,  # gathers the whole window into a few interests
    "CORE": Traits(unit_states=True),  # weighs the whole window
    "NARM": _ANY,  # its local part attends to the whole window
    "STAMP": _ANY,  # the window's mean
    "SINE": _ANY,  # interests of the whole window
    "NextItNet": _ANY,  # reads the state of the window's last column, padding or not
    "SRGNN": _ANY,  # a graph of the whole window
    "GCSAN": _ANY,  # the same
    "Caser": _ANY,  # convolves the whole window
    "HGN": Traits(item_table="item_embedding_for_prediction"),  # sums the whole window
    "SHAN": _ANY,  # attends to the whole window
    "NPE": _ANY,  # sums the whole window
}

ENHANCED_BASES = tuple(_TRAITS)
"""Base models whose enhanced form passes the contract suite."""

CAUSAL_MODELS = frozenset(name for name, traits in _TRAITS.items() if traits.causal)
"""Those whose state at a position depends on earlier positions only: the contract suite proves it."""

_GENERAL = (
    "it learns one vector a user from unordered pairs: its training rows have no place in the history, so each would "
    "read graph nodes as new as its own target"
)
_CANDIDATE = "it scores one candidate at a time, there is no user state that a graph could be fused into"
_MIXTURE = "its loss takes probabilities of its own mixture, not the items' scores"
REFUSED: dict[str, str] = {
    "BPR": _GENERAL,
    "LightGCN": _GENERAL,
    "DIN": _CANDIDATE,
    "DIEN": _CANDIDATE,
    "FPMC": _CANDIDATE,
    "TransRec": "its scores are distances to the newest item, not products with a user state",
    "RepeatNet": "its forward gives probabilities of items, not a user state",
    "SASRecCPR": _MIXTURE,
    "GRU4RecCPR": _MIXTURE,
    "S3Rec": "it trains in two stages, the first of which has no next item",
    "KSR": "it needs the embeddings of a knowledge graph trained elsewhere",
    "GRU4RecKG": "it needs the embeddings of a knowledge graph trained elsewhere",
}
"""RecBole's models that cannot be enhanced, with the reason."""


POINTWISE = ("DIN", "DIEN")
"""RecBole's models that learn from labels of history and candidate pairs, which training rows here do not have."""


def traits_of(model: Any) -> Traits:
    """The traits of a base model, given as class or instance, enhanced or not.

    A class of one's own that RecBole does not ship says ``causal = True`` in its body if it is.
    """
    cls = model if isinstance(model, type) else type(model)
    name = getattr(cls, "base_name", cls.__name__)
    return _TRAITS.get(name) or Traits(causal=bool(getattr(cls, "causal", False)))


def refusal(name: str) -> str:
    """Why the base model ``name`` has no enhanced form, as a sentence that names those that have one."""
    because = f" because {REFUSED[name]}" if name in REFUSED else ""
    return f"{name} has no enhanced form{because}; {', '.join(ENHANCED_BASES)} have one"


def check_base(base: Any) -> None:
    """Refuse a class that cannot be enhanced.

    Raises:
        ModelError: not a sequential recommender, or one of :data:`REFUSED`.
    """
    from recbole.model.abstract_recommender import SequentialRecommender

    name = getattr(base, "__name__", repr(base))
    if name in REFUSED:
        raise ModelError(refusal(name))
    if not (isinstance(base, type) and issubclass(base, SequentialRecommender)):
        raise ModelError(f"only RecBole sequential recommenders can be enhanced, found {base!r}")


def check_trainable(name: str) -> None:
    """Refuse a model whose training rows are not made here.

    Raises:
        ModelError: one of :data:`POINTWISE`.
    """
    if name in POINTWISE:
        raise ModelError(
            f"{name} is pointwise: it learns from a label (taken or not) and drawn negatives on every row, which "
            "training on next items has none of; choose a model that learns from the next item, such as SASRec"
        )


def check_causal(model: Any) -> None:
    """Refuse prefix-parallel training of a model that is not known to be causal.

    Raises:
        ModelError: say which path to take instead.
    """
    if not traits_of(model).causal:
        cls = model if isinstance(model, type) else type(model)
        raise ModelError(
            f"{getattr(cls, 'base_name', cls.__name__)} is not known to be causal, so its prefixes cannot be trained "
            "in one pass; set llmrg.training.path: expanded (or auto)"
        )
