"""What is estimated is about what is paid, and nothing is sent for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FaultServer


def test_an_estimate_sends_nothing_writes_nothing_and_is_about_right(llmrg: Command, room: Path) -> None:
    with FaultServer() as server:
        line = [
            NAME,
            *QUICK,
            "--model",
            "gpt-5-mini",
            "--set",
            f"llmrg.language_model.base_url={server.base_url}",
        ]
        found = llmrg("estimate", *line, "--json")
        assert found.code == 0
        assert server.requests == []
        assert not (room / "llmrg-data").exists()
        estimate = found.document
        paid = llmrg("generate", *line, "--json").document
        after = llmrg("estimate", *line, "--json").document
    assert estimate["users"] == estimate["sampled"] == 30
    assert 0.7 * paid["usage"]["calls"] < estimate["calls"]["p50"] < 1.5 * paid["usage"]["calls"]
    assert 0.5 * paid["usage"]["prompt_tokens"] < estimate["tokens_in"]["p50"] < estimate["tokens_in"]["p95"]
    assert estimate["tokens_in"]["p50"] < 2.5 * paid["usage"]["prompt_tokens"]
    standard, flex, batch = (estimate["usd"][mode] for mode in ("standard", "flex", "batch"))
    assert 0 < standard["p50"] < standard["p95"]
    assert flex == batch
    assert batch["p95"] == pytest.approx(standard["p95"] / 2)
    assert (estimate["measured"], after["measured"]) == (False, True)
    assert (
        after["tokens_in"]["p95"] - after["tokens_in"]["p50"]
        < estimate["tokens_in"]["p95"] - estimate["tokens_in"]["p50"]
    )


def test_an_estimate_names_its_assumptions_and_a_model_without_a_price(llmrg: Command, room: Path) -> None:
    shown = llmrg("estimate", NAME, *QUICK, "--model", "my-own", "--sample", "5")
    assert shown.code == 0
    assert "no price" in shown.out
    assert "assumed per byte; a pilot tells" in shown.out
    prices = ("--set", "llmrg.job.input_price=1", "--set", "llmrg.job.output_price=2")
    priced = llmrg("estimate", NAME, *QUICK, "--model", "my-own", "--sample", "5", *prices, "--json").document
    assert priced["as_of"] is None
    assert priced["usd"]["standard"]["p50"] == pytest.approx(
        (priced["tokens_in"]["p50"] + 2 * priced["tokens_out"]["p50"]) / 1e6, rel=0.1
    )
    told_in_one_line(llmrg("estimate", NAME, *QUICK), "--model NAME")
