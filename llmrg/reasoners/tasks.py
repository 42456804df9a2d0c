"""The tasks a reasoner answers: what it is shown, and what it may say.

Promise (law 5): a reply is closed-world. It refers to what was shown by index and to relations by name, and
code maps both back; only words (a reason, the title of an imagined item) are free. Every reply field is
required, every array bounded, and words come before the choice they argue for, because the order changes
verdicts. Payloads are our own values and carry item ids for reasoners that look things up; prompts never
show those.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmrg.data.catalog import CatalogItem

WORDS = 300  # characters of a reason at most
MAX_LINKS, MAX_EXTENSIONS, MAX_IMAGINED, MAX_VERDICTS, MAX_OPTIONS, MAX_TITLES = 50, 20, 20, 500, 51, 3


class Task(StrEnum):
    """The closed set of tasks; a prompt of the same name lies in ``prompts/``."""

    CHAINED_REASONING = "chained_reasoning"
    DIVERGENT_EXTENSION = "divergent_extension"
    SELF_VERIFICATION = "self_verification"
    FREE_FILL = "free_fill"


# ----------------------------------------------------------------- what is shown


@dataclass(frozen=True, slots=True)
class ShownItem:
    """One item as a reasoner sees it.

    Args:
        item_id: external id, for reasoners that look things up; never rendered.
        title: its label (see :meth:`~llmrg.text.grounding.Grounding.label`).
        about: its attributes in words, ``genre: Comedy, Drama``.
    """

    item_id: str
    title: str
    about: str = ""

    @classmethod
    def of(cls, item: CatalogItem, title: str) -> ShownItem:
        """The item as it is shown."""
        about = "; ".join(f"{name}: {', '.join(v)}" for name, v in item.attributes.items() if any(v))
        return cls(item.item_id, title, about)


@dataclass(frozen=True, slots=True)
class ShownReason:
    """An earlier verified reason: its words and the shown items it stands on (indexes)."""

    words: str
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChainedPayload:
    """Link each new item to what came before, or start a chain; and, where asked, continue chains in the same call.

    Args:
        items: oldest first; an item may be linked to items of a smaller index only.
        new: indexes of the items to link.
        attributes: of the user, ``name=value``.
        reasons: earlier verified reasons, oldest first.
        rejected: reasons that verification turned down for the new items; other ones are wanted.
        extend: chains to continue beyond the newest item, those of the newest items first; 0 = none.
        per_chain: imagined items asked for per continued chain.
        known: ids of everything the user already has, and of what was just reused for them; not to be imagined.
    """

    items: tuple[ShownItem, ...]
    new: tuple[int, ...]
    attributes: tuple[str, ...] = ()
    reasons: tuple[ShownReason, ...] = ()
    rejected: tuple[str, ...] = ()
    extend: int = 0
    per_chain: int = 0
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DivergentPayload:
    """Continue each chain beyond the newest item.

    Args:
        items: oldest first.
        chains: each with its reasons' words (oldest first) and the shown items it stands on; its newest item
            names it and names no other.
        per_chain: imagined items asked for per chain.
        known: ids of everything the user already has, and of what was just reused for them; not to be imagined.
        attributes: of the user, ``name=value``.
    """

    items: tuple[ShownItem, ...]
    chains: tuple[ShownChain, ...]
    per_chain: int
    known: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownChain:
    """A chain to extend: words of its reasons, oldest first, and shown items (indexes, oldest first)."""

    reasons: tuple[str, ...]
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """One hidden endpoint: which option best fills it?

    Args:
        visible: the shown items on the visible side (indexes).
        reason: the words that join them to the hidden item.
        options: the closed choice; nothing tells which one is true.
        imagined: the hidden item is one that may come next, not one that came before.
    """

    visible: tuple[int, ...]
    reason: str
    options: tuple[ShownItem, ...]
    imagined: bool


@dataclass(frozen=True, slots=True)
class VerificationPayload:
    """Rank the options of every mask; no hidden item is among ``items`` (oldest first)."""

    items: tuple[ShownItem, ...]
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True)
class FillPayload:
    """Name what every mask hides, with no options to choose from (the paper's way); masks without ``options``."""

    items: tuple[ShownItem, ...]
    masks: tuple[Mask, ...]


Payload = ChainedPayload | DivergentPayload | VerificationPayload | FillPayload

TASK_OF: dict[type[Any], Task] = {
    ChainedPayload: Task.CHAINED_REASONING,
    DivergentPayload: Task.DIVERGENT_EXTENSION,
    VerificationPayload: Task.SELF_VERIFICATION,
    FillPayload: Task.FREE_FILL,
}


def document(payload: Payload) -> list[Any]:
    """The payload as plain lists, complete: what its content hash covers."""
    items = [(i.item_id, i.title, i.about) for i in payload.items]
    if isinstance(payload, ChainedPayload):
        reasons = [(r.words, r.items) for r in payload.reasons]
        asked = [payload.extend, payload.per_chain, payload.known]
        return [items, payload.new, payload.attributes, reasons, payload.rejected, asked]
    if isinstance(payload, DivergentPayload):
        chains = [(c.reasons, c.items) for c in payload.chains]
        return [items, chains, payload.per_chain, payload.known, payload.attributes]
    masks = [
        (m.visible, m.reason, m.imagined, [(o.item_id, o.title, o.about) for o in m.options])
        for m in payload.masks
    ]
    return [items, masks]


# ----------------------------------------------------------------- what may be said

Words = Annotated[str, Field(max_length=WORDS)]
Connection = Literal["refines", "causes", "contrasts", "none"]


class ReplyModel(BaseModel):
    """Base of all replies: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(ReplyModel):
    """Why one new item was taken."""

    item: int = Field(description="index of the new item")
    reason: Words = Field(description="why it follows, in a few words, without naming titles")
    sources: Annotated[list[int], Field(max_length=4)] = Field(
        description="indexes of earlier items; empty: a new chain"
    )
    attributes: Annotated[list[int], Field(max_length=4)] = Field(
        description="indexes of user attributes that matter"
    )
    earlier_reasons: Annotated[list[int], Field(max_length=4)] = Field(
        description="indexes of reasons it continues"
    )
    relation: Connection = Field(
        description="how the earlier reasons lead to this one; none without earlier reasons"
    )


class ImaginedItem(ReplyModel):
    """One thing that may come next."""

    title: Words = Field(description="its title")
    score: int = Field(description="how plausible it is, from 0 to 100")


class Extension(ReplyModel):
    """Where one chain leads."""

    item: int = Field(description="index of the newest item of the chain")
    reason: Words = Field(description="what comes next in it, in a few words, without titles; may be empty")
    items: Annotated[list[ImaginedItem], Field(max_length=MAX_IMAGINED)] = Field(
        description="most plausible first"
    )


class ChainedReply(ReplyModel):
    """One link per new item, and the extensions asked for."""

    links: Annotated[list[Link], Field(max_length=MAX_LINKS)]
    extensions: Annotated[list[Extension], Field(max_length=MAX_EXTENSIONS)] = Field(
        description="one per chain continued; empty if extend is 0"
    )


class DivergentReply(ReplyModel):
    """One extension per chain."""

    extensions: Annotated[list[Extension], Field(max_length=MAX_EXTENSIONS)]


class Verdict(ReplyModel):
    """The options of one mask, best first."""

    mask: int = Field(description="index of the mask")
    reasoning: Words = Field(description="a short argument")
    ranking: Annotated[list[int], Field(max_length=MAX_OPTIONS)] = Field(
        description="option indexes, best first"
    )


class VerificationReply(ReplyModel):
    """One verdict per mask."""

    verdicts: Annotated[list[Verdict], Field(max_length=MAX_VERDICTS)]


class FillVerdict(ReplyModel):
    """What one mask may hide."""

    mask: int = Field(description="index of the mask")
    reasoning: Words = Field(description="a short argument")
    titles: Annotated[list[Words], Field(max_length=MAX_TITLES)] = Field(
        description="titles that may be hidden, most likely first"
    )


class FillReply(ReplyModel):
    """One verdict per mask."""

    verdicts: Annotated[list[FillVerdict], Field(max_length=MAX_VERDICTS)]


ReplyContent = ChainedReply | DivergentReply | VerificationReply | FillReply

REPLY_OF: dict[
    Task, type[ChainedReply] | type[DivergentReply] | type[VerificationReply] | type[FillReply]
] = {
    Task.CHAINED_REASONING: ChainedReply,
    Task.DIVERGENT_EXTENSION: DivergentReply,
    Task.SELF_VERIFICATION: VerificationReply,
    Task.FREE_FILL: FillReply,
}
