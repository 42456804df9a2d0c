"""Thinking driven by records alone: as far as they reach, and then it says what it would ask next.

Promise: nothing is asked; the same records lead to the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError
from llmrg.reasoning.engine import Steps

T = TypeVar("T")
Known = Callable[[CompletionRequest], Completion | EndpointError | None]


def replay(one: Steps[T], known: Known) -> T | CompletionRequest:
    """Drive one user's steps as far as what is known reaches.

    Args:
        one: closed where it does not come to its end.
        known: what is recorded of a request; ``None``: nothing.

    Returns:
        What the steps end in, or the first request that nothing is recorded of.
    """
    try:
        request = next(one)
        while True:
            found = known(request)
            if found is None:
                one.close()
                return request
            request = one.throw(found) if isinstance(found, EndpointError) else one.send(found)
    except StopIteration as end:
        value: T = end.value
        return value
