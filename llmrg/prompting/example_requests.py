"""One small request per task, of nobody: what ``llmrg prompts show --example`` renders and golden files pin.

Promise: the requests never change by themselves, and between them they show every field that rendering knows.
"""

from __future__ import annotations

from pathlib import Path

from llmrg.prompting.rendering import (
    Messages,
    Variables,
    render,
    render_repair,
    shown_data,
    shown_problems,
    variables_of,
)
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

_STOVE = ShownItem("b1", "Camping Stove", "category: Outdoor, Cooking")
_TENT = ShownItem("b2", "Two-Person Tent", "category: Outdoor")
_UKULELE = ShownItem("b3", "Beginner's Ukulele", "category: Music")
_SONGS = ShownItem("b4", "Easy Songs for Four Strings", "category: Music, Books")
_CHAIR = ShownItem("b5", "Office Chair", "category: Furniture")
_BAG = ShownItem("b6", "Down Sleeping Bag", "category: Outdoor")

_MASKS = (
    Mask((1,), "learning to play what was just bought", (_CHAIR, _SONGS, _BAG), imagined=False),
    Mask((0,), "preparing a camping trip", (_BAG, _CHAIR, _UKULELE), imagined=True),
)

PAYLOADS: dict[Task, Payload] = {
    Task.CHAINED_REASONING: ChainedPayload(
        items=(_STOVE, _TENT, _UKULELE, _SONGS),
        new=(2, 3),
        attributes=("age=25-34",),
        reasons=(ShownReason("preparing a camping trip", (0, 1)),),
        rejected=("buys what is cheap",),
        extend=2,
        per_chain=3,
        known=("b1", "b2", "b3", "b4"),
    ),
    Task.DIVERGENT_EXTENSION: DivergentPayload(
        items=(_STOVE, _TENT, _UKULELE),
        chains=(ShownChain((), (2,)), ShownChain(("cooks outdoors", "preparing a camping trip"), (0, 1))),
        per_chain=3,
        known=("b1", "b2", "b3"),
        attributes=("age=25-34",),
    ),
    Task.SELF_VERIFICATION: VerificationPayload((_TENT, _UKULELE), _MASKS),
    Task.FREE_FILL: FillPayload(
        (_TENT, _UKULELE), tuple(Mask(m.visible, m.reason, (), m.imagined) for m in _MASKS)
    ),
}

PROBLEMS = ("link of item 3: sources [7] must be distinct indexes below it", "item 2 has no link")
"""What a faulty reply to the chained example might be told."""


def example_request(task: Task) -> ReasonerRequest:
    """The request of a task.

    >>> example_request(Task.FREE_FILL).payload.masks[0].options
    ()
    """
    return ReasonerRequest(PAYLOADS[task])


def example_variables(name: str) -> Variables:
    """What the prompt of a name is given for its example request.

    >>> sorted(example_variables("repair"))
    ['data', 'delimiter', 'schema']
    """
    if name == "repair":
        return variables_of(example_request(Task.CHAINED_REASONING), shown_problems(PROBLEMS))
    request = example_request(Task(name))
    return variables_of(request, shown_data(request.payload))


def example_messages(name: str, folder: Path | None = None) -> Messages:
    """What a model would be sent for the example request of a prompt; what is static stands in the first message.

    Args:
        name: of the prompt.
        folder: prompts of one's own; ``None``: the shipped ones.
    """
    if name == "repair":
        words = render_repair(example_request(Task.CHAINED_REASONING), PROBLEMS, folder)
        return [{"role": "user", "content": words}]
    return render(example_request(Task(name)), folder)
