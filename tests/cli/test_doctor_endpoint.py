"""What the doctor says of a language model's server that does not do as it should."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_runs import NAME, Command, told_in_one_line

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


def test_a_model_that_takes_no_temperature_is_asked_without_one(llmrg: Command, room: Path) -> None:
    (room / "mine.yaml").write_text("llmrg: {language_model: {model: toy, temperature: null}}")
    line = ("--model", "toy", "--set", "llmrg.language_model.temperature=null")
    with FaultServer() as server:
        for named in (line, ("--config", "mine.yaml")):
            shown = llmrg("doctor", *named, "--base-url", server.base_url, "--json")
            assert "toy answers" in str(shown.document["findings"])
        asked = len(server.requests)
        probed = llmrg(
            "doctor", *line, "--base-url", server.base_url, "--probe-memory", NAME, "--questions", "2"
        )
        assert probed.code == 0
    assert 0 < asked < len(server.requests)
    assert not [one for one in server.requests if "temperature" in one.body]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--questions 4", ("--questions", "--probe-memory DATASET")),
        ("--model toy --set llmrg.language_model.temprature=1", ("did you mean 'temperature'?",)),
        ("--model toy --set epochs=1", ("epochs", "only these keys")),
    ],
)
def test_what_the_doctor_would_not_look_at_is_refused(
    llmrg: Command, line: str, words: tuple[str, ...]
) -> None:
    told_in_one_line(llmrg("doctor", *line.split()), *words)
