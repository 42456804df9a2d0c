"""What the doctor says of a language model's server that does not do as it should."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_runs import Command

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FaultServer


@pytest.mark.parametrize(
    ("faults", "found", "fix"),
    [
        (("truncated", "truncated"), "cannot be told", "do what it says"),
        (("bad_key",), "set OPENAI_API_KEY", "do what it says"),
        (("error_503",), "503", "start the server"),
    ],
)
def test_the_way_to_mend_it_fits_what_the_server_said(
    llmrg: Command, faults: tuple[str, ...], found: str, fix: str
) -> None:
    with FaultServer(faults) as server:
        shown = llmrg("doctor", "--model", "toy", "--base-url", server.base_url, "--json")
    (told,) = [one for one in shown.document["findings"] if one["name"] == "language model"]
    assert found in told["found"]
    assert told["fix"].startswith(fix)
