"""A dozen sound graphs."""

from __future__ import annotations

import pytest
from sound_graphs import make_graphs

from llmrg.graph.schema import ReasoningGraph


@pytest.fixture
def graphs() -> list[ReasoningGraph]:
    return make_graphs(1, 12)
