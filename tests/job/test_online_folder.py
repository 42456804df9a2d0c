"""One run at a time in a folder, which a glance keeps nobody out of; and what is remembered of which server."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from llmrg.errors import StoreError
from llmrg.graph.store import GraphStore
from llmrg.job import online
from llmrg.job.online import hold, is_held, open_online_job, settled_offline
from llmrg.reasoners.endpoint import Completion, CompletionRequest
from llmrg.settings import LlmrgSettings


def test_a_run_waits_for_whoever_only_looks(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    with lock.open("a") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        timer = threading.Timer(0.2, fcntl.flock, (looker, fcntl.LOCK_UN))
        timer.start()
        with hold(lock):
            assert is_held(lock)
        timer.join()
    assert not is_held(lock)


def test_who_looks_while_somebody_else_looks_sees_no_run(tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    assert not is_held(lock)
    assert not lock.exists()
    with lock.open("a") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        assert not is_held(lock)


def test_a_second_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "PATIENCE", 0.05)
    with (
        hold(tmp_path / "job.lock"),
        pytest.raises(StoreError, match="another run works on this folder"),
        hold(tmp_path / "job.lock"),
    ):
        pass


def test_what_is_remembered_of_a_server_is_not_taken_for_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain:
        async def complete(self, request: CompletionRequest) -> Completion:
            return Completion("no JSON here")

    settings = LlmrgSettings.parse({"language_model": {"model": "toy"}})
    with GraphStore.open(tmp_path / "graphs.sqlite") as store:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
        with open_online_job(tmp_path, store, settings, endpoint=Plain()):
            pass
        here, is_guess = settled_offline(store, settings.language_model)
        assert (here.structured_output, is_guess) == ("prompt_only", False)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:2/v1")
        there, is_guess = settled_offline(store, settings.language_model)
        assert (there.structured_output, is_guess) == ("json_schema", True)
