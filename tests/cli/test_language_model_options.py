"""A language model from the command line: named by two options, looked at by the doctor, never leaving the house."""

import sqlite3
import sys
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, Command

sys.path.insert(0, str(Path(__file__).parent.parent / "reasoners"))
from fault_server import FaultServer

KEY = "sk-nobody-may-see-this-0123456789"
FEW = ("--max-users", "6")


def test_graphs_are_made_by_the_named_model_and_the_rungs_are_counted(
    llmrg: Command, data_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRG_API_KEY", KEY)
    faults = ("ok", "ok", "ok", "fenced", "dangling")  # two of them are the probe's
    with FaultServer((*faults, "ok", "refusal")) as server:
        options = (
            "--data-path",
            str(data_path),
            "--folder",
            "graphs",
            "--model",
            "toy",
            "--local-only",
            "--json",
        )
        made = llmrg("generate", NAME, *QUICK, *FEW, *options, "--base-url", server.base_url)
        again = llmrg("generate", NAME, *QUICK, *FEW, *options, "--base-url", server.base_url)
    assert made.code == 0, made.err
    # thinking went on without the refused answer
    assert (made.document["done"], made.document["failed"]) == (6, 0)
    assert sum(made.document["problems"].values()) > 0
    assert made.document["usage"]["calls"] == server.answered - 2
    assert made.document["rungs"]["failed"] == 1
    assert made.document["usage"]["calls"] > 6
    assert set(made.document["rungs"]) >= {"valid", "lenient", "repaired"}
    assert (again.document["done"], again.document["skipped"]) == (0, 6)
    assert again.document["usage"]["calls"] == 0
    kept = b"".join(path.read_bytes() for path in Path("graphs").rglob("*") if path.is_file())
    assert KEY.encode() not in kept
    assert server.base_url.encode() not in kept
    assert KEY not in made.out + made.err
    with sqlite3.connect("graphs/graphs.sqlite") as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_doctor_says_whether_an_endpoint_answers_and_what_it_keeps_to(llmrg: Command, room: Path) -> None:
    with FaultServer(keeps="json_object", served="served-name") as server:
        well = llmrg("doctor", "--json", "--model", "toy", "--base-url", server.base_url)
    found = next(one for one in well.document["findings"] if one["name"] == "language model")
    assert "json_object" in found["found"]
    assert "served-name" in found["found"]
    ill = llmrg("doctor", "--model", "toy", "--base-url", server.base_url)  # nobody listens any more
    assert ill.code == 1
    assert "missing: language model" in ill.out


@pytest.mark.parametrize("verb", [("doctor",), ("generate", NAME)])
@pytest.mark.parametrize("option", [("--base-url", "http://localhost:1/v1"), ("--local-only",)])
def test_an_address_without_a_model_is_refused(
    llmrg: Command, data_path: Path, room: Path, verb: tuple[str, ...], option: tuple[str, ...]
) -> None:
    given = ("--data-path", str(data_path)) if verb[0] == "generate" else ()
    refused = llmrg(*verb, *option, *given)
    assert refused.code == 1
    assert "--model" in refused.err


def test_local_only_refuses_another_host_before_anything_is_sent(
    llmrg: Command, data_path: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRG_API_KEY", KEY)
    options = (
        "--data-path",
        str(data_path),
        "--model",
        "toy",
        "--base-url",
        "http://8.8.8.8/v1",
        "--local-only",
    )
    refused = llmrg("generate", NAME, *QUICK, *FEW, *options)
    assert refused.code == 1
    assert "loopback or private" in refused.err
    assert KEY not in refused.err
