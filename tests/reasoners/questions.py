"""One question of every task, and a right answer to each."""

from __future__ import annotations

import json

from fault_server import answer

from llmrg.prompting.rendering import shown_data
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoners.tasks import (
    ChainedPayload,
    DivergentPayload,
    FillPayload,
    Mask,
    Payload,
    ShownChain,
    ShownItem,
    ShownReason,
    Task,
    VerificationPayload,
)

ITEMS = tuple(ShownItem(f"i{n}", f"Story number {n}", "genre: space") for n in range(8))
OPTIONS = tuple(ShownItem(f"o{n}", f"Option {n}") for n in range(4))

PAYLOADS: dict[Task, Payload] = {
    Task.CHAINED_REASONING: ChainedPayload(
        ITEMS, (5, 6, 7), ("sex=F",), (ShownReason("space goes on", (0, 1)),), extend=2, per_chain=3
    ),
    Task.DIVERGENT_EXTENSION: DivergentPayload(
        ITEMS, (ShownChain(("space goes on",), (0, 1)), ShownChain(("more of it",), (2, 5))), 3
    ),
    Task.SELF_VERIFICATION: VerificationPayload(
        ITEMS, (Mask((0, 1), "space", OPTIONS, False), Mask((2,), "more", OPTIONS, True))
    ),
    Task.FREE_FILL: FillPayload(ITEMS, (Mask((0, 1), "space", (), False), Mask((2,), "more", (), True))),
}


def question(task: Task) -> ReasonerRequest:
    """The question of a task."""
    return ReasonerRequest(PAYLOADS[task])


def right(task: Task, fault: str | None = None) -> str:
    """A right answer to it, or one with a fault, as a server writes it."""
    return json.dumps(answer(shown_data(PAYLOADS[task]), fault))
