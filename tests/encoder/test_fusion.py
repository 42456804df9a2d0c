"""How what was read joins the base state: shut, open, and for rows that see nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from llmrg.encoder.fusion import FUSIONS, NormMatchedFusion
from llmrg.settings import EncoderSettings

ROWS, STATE, READ = 5, 6, 8


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def opened(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        fusion = FUSIONS[name](STATE, READ)
        for value in fusion.parameters():
            nn.init.normal_(value)
    return fusion


def test_the_setting_names_all_fusions() -> None:
    assert set(FUSIONS) == set(EncoderSettings.model_fields["fusion"].annotation.__args__)


@pytest.mark.parametrize("name", FUSIONS)
def test_it_starts_shut_and_a_row_that_sees_nothing_stays_as_it_is(name: str) -> None:
    state, read = drawn(ROWS, STATE), drawn(ROWS, READ, seed=1)
    seen = torch.tensor([[True], [False], [True], [False], [True]])
    assert torch.equal(FUSIONS[name](STATE, READ)(state, read, seen), state)
    fused = opened(name)(state, read, seen)
    assert torch.equal(fused[1::2], state[1::2])
    assert (fused[::2] != state[::2]).all()


def test_norm_matched_adds_a_vector_as_long_as_the_state_times_its_gate() -> None:
    fusion = opened("norm_matched")
    assert isinstance(fusion, NormMatchedFusion)
    state, read, seen = drawn(ROWS, STATE), drawn(ROWS, READ, seed=1), torch.ones(ROWS, 1, dtype=torch.bool)
    added = fusion(state, read, seen) - state
    torch.testing.assert_close(added.norm(dim=-1), fusion.gate.abs() * state.norm(dim=-1))
    torch.testing.assert_close(fusion(state, 100 * read, seen) - state, added)
    torch.testing.assert_close(fusion(7 * state, read, seen) - 7 * state, 7 * added)


def test_norm_matched_has_a_gradient_where_nothing_was_read_and_where_the_state_is_zero() -> None:
    fusion = opened("norm_matched")
    state, read = torch.zeros(2, STATE, requires_grad=True), torch.zeros(2, READ, requires_grad=True)
    fusion(state, read, torch.ones(2, 1, dtype=torch.bool)).sum().backward()
    for value in (state, read, *fusion.parameters()):
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
