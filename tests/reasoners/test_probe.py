"""The probe: a reply that was cut off, by thoughts that nobody sees, says nothing about what a server keeps to."""

from __future__ import annotations

import asyncio

import pytest

from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.probe import ROOM, probe, settle
from llmrg.settings import LanguageModelSettings


class Thinker:
    """A model behind a server that keeps to schemas, and thinks for so many tokens first."""

    def __init__(self, thoughts: int) -> None:
        self.thoughts, self.rooms = thoughts, list[int]()

    async def complete(self, request: CompletionRequest) -> Completion:
        room: int = request.body["max_completion_tokens"]
        self.rooms.append(room)
        if room <= self.thoughts:
            return Completion("", finish_reason="length")
        schema = request.body["response_format"]["json_schema"]["schema"]
        word = schema["properties"].get("word", {"enum": ["another schema"]})["enum"][0]
        return Completion(f'{{"word": "{word}"}}')


def test_a_model_that_thinks_longer_than_the_probes_room_is_asked_once_more_with_all_of_it() -> None:
    thinker = Thinker(thoughts=1000)
    found = asyncio.run(probe(thinker, LanguageModelSettings(model="toy", max_tokens=4096)))
    assert (found.mode, found.refused) == ("json_schema", {})
    assert thinker.rooms == [ROOM, 4096, ROOM]


@pytest.mark.parametrize(("room", "asked"), [(4096, [ROOM, 4096]), (100, [100])])
def test_what_cannot_be_told_is_said_instead_of_taken_for_an_inability(room: int, asked: list[int]) -> None:
    thinker = Thinker(thoughts=5000)
    with pytest.raises(EndpointError, match="cannot be told: its reply was cut off after") as caught:
        asyncio.run(settle(thinker, LanguageModelSettings(model="toy", max_tokens=room)))
    assert caught.value.kind is FaultKind.STOP
    assert "structured_output" in str(caught.value)
    assert thinker.rooms == asked
