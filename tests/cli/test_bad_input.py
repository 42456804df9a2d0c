"""What a user or a server may get wrong: one clear line and an exit code, never a traceback, nothing lost."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.cli import app
from llmrg.config_files import read_yaml
from llmrg.job.online import LOCK_FILE, hold

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as started:
        yield started


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("llmrg.graphs.x=3", "llmrg.graphs"),
        ("llmrg.generation.window=2024-99-99", "expected a yaml value"),
        ("llmrg.generation.window=true", "llmrg.generation.window: expected a number, found True"),
        ("llmrg.generation.max_history=true", "expected a number, found True"),
        ("llmrg.generation.tau=false", "llmrg.generation.tau: expected a number, found False"),
        ("llmrg.generation.knowledge_min_fit=.inf", "finite"),
        ("llmrg.job.input_price=1e308", "less than or equal to 1000000"),
        ("llmrg.job.tokens_per_minute=1", "job.tokens_per_minute must be at least"),
        ("llmrg.job.requests_per_minute=1e-300", "greater than or equal to 0.01"),
        ("llmrg.generation.verify=false", "generation.tau must be 0"),
        ("llmrg.language_model.model=''", "llmrg.language_model.model"),
        ("llmrg.language_model.base_url=''", "llmrg.language_model.base_url"),
        ("llmrg.text.encoder=/no/such/model", "llmrg.text.encoder"),
        ("data_path=[1]", "[1]"),
        ("TIME_FIELD=[a]", "['a']"),
        ("user_inter_num_interval=5", "expected an interval"),
        ("rm_dup_inter=maybe", "expected first, last or nothing"),
        ("eval_args=5", "eval_args: expected names and values"),
        ("eval_args={order: TO, split: {RS: [a, b, c]}}", "eval_args.split"),
        ("eval_args={order: TO, split: {RS: [0, 0, 0]}}", "eval_args.split"),
    ],
)
def test_an_impossible_setting_is_told_in_one_short_line(
    llmrg: Command, room: Path, setting: str, words: str
) -> None:
    refused = llmrg("generate", NAME, *QUICK, "--set", setting)
    told_in_one_line(refused, words)
    assert len(refused.err.splitlines()[-1]) < 500
    assert not (room / "llmrg-data").exists()


def test_a_config_file_with_an_impossible_date_is_told_in_one_line(llmrg: Command, room: Path) -> None:
    (room / "mine.yaml").write_text("llmrg: {generation: {window: 2024-99-99}}")
    told_in_one_line(llmrg("generate", NAME, "--config", "mine.yaml"), "mine.yaml", "cannot be read as yaml")


@pytest.mark.parametrize(
    "text",
    [
        "llmrg: {generation: {window: 2}}\ntopk: [5]\nllmrg: {text: {components: 8}}\n",
        "topk: [5]\na:\n- b: {llmrg: 1,\n    llmrg: 1}\n",
    ],
)
def test_a_config_file_that_names_a_key_twice_is_refused(llmrg: Command, room: Path, text: str) -> None:
    (room / "mine.yaml").write_text(text)
    refused = llmrg("generate", NAME, *QUICK, "--config", "mine.yaml")
    told_in_one_line(refused, "mine.yaml", "'llmrg' stands there twice")


def test_names_that_a_mapping_takes_from_another_may_be_given_anew(room: Path) -> None:
    text = "top: {inner: &a {<<: &b {x: 1, y: 2}, x: 3}}\nother: {<<: *a, y: 4}\n"
    (room / "mine.yaml").write_text(text)
    assert read_yaml(room / "mine.yaml") == {"top": {"inner": {"x": 3, "y": 2}}, "other": {"x": 3, "y": 4}}


@pytest.mark.parametrize("verb", [("train",), ("compare", "--arms", "base"), ("compare", "--arms", "wider")])
@pytest.mark.parametrize("row", ["u0\ti0", "u0\ti0\t9\tmore", "u0\ti0\tnan", "\ti0\t9"])
def test_data_that_recbole_would_mend_in_silence_is_refused_without_graphs_too(
    llmrg: Command, room: Path, data_path: Path, verb: tuple[str, ...], row: str
) -> None:
    damaged = room / "data" / NAME / f"{NAME}.inter"
    damaged.parent.mkdir(parents=True)
    lines = (data_path / NAME / damaged.name).read_text().splitlines()
    damaged.write_text("\n".join([*lines, row, ""]))
    refused = llmrg(verb[0], "SASRec", NAME, *verb[1:], "--epochs", "1", "--data-path", "data")
    told_in_one_line(refused, f"{damaged.name}:{len(lines) + 1}: ")
    assert not (room / "runs").exists()


def test_a_base_model_may_have_filters_that_graphs_do_not_know(llmrg: Command, room: Path) -> None:
    some = ("--epochs", "1", "--set", "val_interval={'timestamp':'[2,inf)'}")
    assert llmrg("train", "SASRec", NAME, *some).code == 0
    told_in_one_line(llmrg("train", "SASRecLLMRG", NAME, *QUICK, *some), "val_interval")


def test_other_separators_are_refused_by_name(llmrg: Command, room: Path) -> None:
    refused = llmrg("train", "SASRec", NAME, "--set", "field_separator=','")
    told_in_one_line(refused, "field_separator", "'\\t'", "','")


@pytest.mark.parametrize("verb", [("generate", NAME, *QUICK), ("doctor",)])
@pytest.mark.parametrize(
    "address",
    [
        "http://[::1",
        "http://x:port/v1",
        "http://name:secret-word@127.0.0.1:1/v1",
        "http://\x01/v1",
        f"http://{'a' * 300}.invalid/v1",
        "http://a b/v1",
    ],
)
def test_an_address_that_is_none_is_told_in_one_line(
    llmrg: Command, room: Path, verb: tuple[str, ...], address: str
) -> None:
    told = llmrg(*verb, "--model", "m", "--base-url", address)
    assert told.code == 1
    assert "language_model.base_url: expected" in told.out + told.err
    assert "secret-word" not in told.out + told.err


def test_an_empty_address_does_not_lead_to_openai(llmrg: Command, room: Path) -> None:
    told_in_one_line(llmrg("doctor", "--model", "m", "--base-url", ""), "llmrg.language_model.base_url")


@pytest.mark.parametrize("key", ["sk-hidden-ü", "sk-hidden\nx", "sk hidden"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(
    llmrg: Command, room: Path, server: FaultServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    refused = llmrg("generate", NAME, *QUICK, "--model", "m", "--base-url", server.base_url)
    told_in_one_line(refused, "the key in the environment")
    assert "hidden" not in refused.err
    assert server.requests == []


def test_a_name_that_is_no_text_is_told_in_one_line(llmrg: Command, room: Path, server: FaultServer) -> None:
    line = (*QUICK, "--model", "m\udcff", "--base-url", server.base_url)
    told_in_one_line(llmrg("generate", NAME, *line), "llmrg.language_model.model", "unicode")
    folder = (*QUICK, "--folder", "x\ud800")
    told_in_one_line(llmrg("generate", NAME, *folder), "utf-8", "ud800")


def test_a_full_disk_is_told_in_one_line(llmrg: Command, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app.typer.main, "get_command", lambda _: type("Command", (), {"main": full}))
    told_in_one_line(llmrg("status"), "No space left on device")


def test_two_runs_never_mix_their_graphs_in_one_folder(
    llmrg: Command, graphs: Path, server: FaultServer
) -> None:
    before = (graphs / "graphs.sqlite").read_bytes()
    with hold(graphs / LOCK_FILE):
        for other in ((), ("--model", "m", "--base-url", server.base_url)):
            again = llmrg("generate", NAME, *QUICK, "--set", "llmrg.generation.window=2", *other)
            told_in_one_line(again, "another run works on this folder")
    assert (graphs / "graphs.sqlite").read_bytes() == before


@pytest.mark.parametrize("verb", ["status", "generate", "verify"])
def test_a_store_whose_meta_is_no_json_is_told_in_one_line(llmrg: Command, graphs: Path, verb: str) -> None:
    with sqlite3.connect(graphs / "graphs.sqlite") as store:
        store.execute("UPDATE meta SET value = '{broken'")
    store.close()
    told = llmrg(verb, NAME, *(QUICK if verb == "generate" else ()))
    if verb == "verify":
        assert told.code == 3
        assert "table meta is corrupt" in told.out
    else:
        told_in_one_line(told, "table meta is corrupt")


def test_a_dry_run_over_a_file_that_is_no_store_says_so(
    llmrg: Command, room: Path, server: FaultServer
) -> None:
    (room / "odd#folder?x").mkdir()
    (room / "odd#folder?x" / "graphs.sqlite").write_bytes(b"no database" * 200)
    line = ("--folder", "odd#folder?x", "--model", "m", "--base-url", server.base_url, "--dry-run")
    told_in_one_line(llmrg("generate", NAME, *QUICK, *line), "corrupt or foreign file")


def test_a_byte_order_mark_is_named(llmrg: Command, room: Path) -> None:
    (room / "marked").mkdir()
    rows = "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1\n"
    (room / "marked" / "marked.inter").write_text(rows, encoding="utf-8-sig")
    told_in_one_line(llmrg("generate", "marked", *QUICK, "--data-path", "."), "byte order mark")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--seeds", "-1"), "--seeds: expected whole numbers"),
        (("--seeds", str(2**32)), "--seeds: expected whole numbers"),
        (("--set", "learning_rate=abc"), "learning_rate: expected a number"),
        (("--set", "train_batch_size=[1]"), "train_batch_size: expected a number"),
        (("--set", "seed=-5"), "seed: expected a number"),
    ],
)
def test_numbers_of_training_are_checked_before_anything_is_made(
    llmrg: Command, room: Path, option: tuple[str, str], words: str
) -> None:
    told_in_one_line(llmrg("compare", "SASRec", NAME, *QUICK, "--arms", "base", *option), words)
    assert not (room / "llmrg-data").exists()


def test_a_memory_probe_that_nobody_answers_reassures_nobody(llmrg: Command, room: Path) -> None:
    line = ("doctor", "--probe-memory", NAME, "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    told_in_one_line(llmrg(*line), "no connection to 127.0.0.1")
