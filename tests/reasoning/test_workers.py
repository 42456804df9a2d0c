"""Worker processes that think: as many as there is work for, and nothing about the result tells how many."""

import multiprocessing
import os
from dataclasses import replace

import pytest
from toy_reasoning import toy_catalog, toy_histories, toy_reasoner

from llmrg.data.interactions import UserHistory
from llmrg.errors import ReasonerError, SettingsError
from llmrg.graph.store import GraphStore
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoning import waves
from llmrg.reasoning.generate import generate
from llmrg.settings import GenerationSettings


class Deadly(EmbeddedReasoner):
    """Ends the process that asks it on behalf of one fold."""

    def answer(self, request):
        if request.scope == "3":
            os._exit(1)
        return super().answer(request)


class Misspelt(EmbeddedReasoner):
    """Finds out late what concerns everybody."""

    def answer(self, request):
        raise SettingsError("no such text encoder", name="llmrg.text.encoder")


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch):
    monkeypatch.setattr(waves, "WORTH_A_WORKER", 1)


def run(path, *, processes, kind=EmbeddedReasoner, knowledge=False, **more):
    histories = [*toy_histories(), UserHistory("nobody", (), 0)]
    reasoner = toy_reasoner(histories)
    reasoner.__class__ = kind
    settings = GenerationSettings(wave=6, knowledge=knowledge, knowledge_min_support=1)
    with GraphStore.open(path) as store:
        report = generate(
            histories, toy_catalog(), reasoner, store, settings=settings, processes=processes, **more
        )
        return replace(report, seconds=0.0), store.content_hash(), store.failures(), store.last_wave


@pytest.mark.parametrize("knowledge", [False, True])
def test_the_number_of_workers_changes_no_graph_no_failure_and_no_count(tmp_path, knowledge):
    alone = run(tmp_path / "1", processes=1, knowledge=knowledge)
    seen = []
    assert run(tmp_path / "3", processes=3, knowledge=knowledge, progress=seen.append) == alone
    report, _, failures, _ = alone
    assert [failure.user_id for failure in failures] == ["nobody"]
    assert [progress.done for progress in seen] == list(range(1, report.users + 1))
    assert seen[-1].requests == report.requests.total() > 0


def test_a_worker_that_is_killed_ends_the_run_and_another_run_ends_it_as_if_nothing_had_been(tmp_path):
    with pytest.raises(ReasonerError, match="--processes 1"):
        run(tmp_path / "a", processes=2, kind=Deadly)
    assert run(tmp_path / "a", processes=2)[1:] == run(tmp_path / "b", processes=1)[1:]


def test_an_interruption_leaves_no_worker_and_another_run_ends_it_as_if_nothing_had_been(tmp_path):
    def interrupt(progress):
        if progress.done == 9:
            raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", processes=2, progress=interrupt)
    assert set(multiprocessing.active_children()) <= before
    assert run(tmp_path / "a", processes=2)[1:] == run(tmp_path / "b", processes=1)[1:]


def test_what_would_fail_for_everybody_ends_the_run_with_its_own_error(tmp_path):
    with pytest.raises(SettingsError, match="no such text encoder") as caught:
        run(tmp_path / "s", processes=2, kind=Misspelt)
    assert caught.value.name == "llmrg.text.encoder"


def test_no_more_processes_are_started_than_there_is_work_for(tmp_path, monkeypatch):
    monkeypatch.setattr(waves, "WORTH_A_WORKER", 10**6)
    monkeypatch.setattr(waves, "Workers", None)  # whoever starts one finds out
    assert run(tmp_path / "s", processes=8)[0].done == 40
