"""What grew equals what would have been made of it at once; what did not grow is not touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llmrg.cli.app import run
from llmrg.data.interactions import UserHistory
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.errors import DataError, FingerprintError, StoreError
from llmrg.graph.arrays import load_arrays, load_text_space, verify_arrays
from llmrg.graph.growth import graph_of_one
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.job.assembly import make_graphs
from llmrg.job.extension import extend_graphs, grown, known_histories, read_events, with_events
from llmrg.job.reading import GraphJob, read_job
from llmrg.job.standing_recipe import StandingRecipe, open_recipe
from llmrg.reasoning.generate import Progress

SETTINGS = {"text": {"encoder": "hashing", "components": 8}, "generation": {"window": 3}}
THEMES = planted_themes(num_users=24, num_items=24, num_themes=4, length=14, signal=1.0, seed=5)
NEW, LONGER = "u3", ("u5", "u11", "u17")  # of the users: who comes later, who does more


def sequences(*, later: bool) -> dict[str, tuple[str, ...]]:
    """Nine items each at first; later some have up to five more, and one user is new."""
    first = {user: tuple(items[:9]) for user, items in THEMES.sequences.items() if later or user != NEW}
    if later:
        first |= {user: tuple(THEMES.sequences[user][: 10 + 2 * i]) for i, user in enumerate(LONGER)}
    return first


def job_of(data_path: Path, folder: Path) -> GraphJob:
    overrides = {"data_path": str(data_path), "llmrg": SETTINGS}
    return read_job("toy", overrides=overrides, folder=folder)


@pytest.fixture
def made(tmp_path: Path) -> GraphJob:
    write_atomic_files(tmp_path / "data", "toy", sequences(later=False), catalog=THEMES.catalog)
    job = job_of(tmp_path / "data", tmp_path / "graphs")
    make_graphs(job)
    write_atomic_files(tmp_path / "data", "toy", sequences(later=True), catalog=THEMES.catalog)
    return job


@pytest.fixture
def recipe(made: GraphJob) -> Iterator[StandingRecipe]:
    with open_recipe(made.folder, made.settings) as recipe:
        yield recipe


@pytest.fixture
def store(made: GraphJob) -> Iterator[GraphStore]:
    with GraphStore.open(made.store_path) as store:
        yield store


def told(graph: ReasoningGraph | None) -> ReasoningGraph:
    """Without the number of the wave that made each node, which is bookkeeping."""
    assert graph is not None
    nodes = tuple(
        replace(n, score=round(n.score, 6), provenance=n.provenance and replace(n.provenance, wave=0))
        for n in graph.nodes
    )
    nodes = tuple(
        replace(n, similarity=None if n.similarity is None else round(n.similarity, 6)) for n in nodes
    )
    return replace(graph, nodes=nodes)


def test_a_grown_file_gives_what_a_rebuild_gives_and_leaves_the_others_alone(
    made: GraphJob, recipe: StandingRecipe, store: GraphStore, tmp_path: Path
) -> None:
    before, graphs_before = load_arrays(made.arrays_path), {g.user_id: g for g in store}
    unchanged = {user: graph_of_one(before, int(before.rows_of([user])[0])) for user in graphs_before}
    later = job_of(tmp_path / "data", made.folder)
    growth = grown(recipe, known_histories(store), later.dataset.histories)
    assert {history.user_id for history in growth.histories} == {NEW, *LONGER}
    assert (growth.new_users, growth.held_back) == (1, 0)
    done = extend_graphs(recipe, store, growth)
    assert (done.report.done, done.report.failed) == (4, 0)

    rebuilt = recipe.think(later.dataset.histories)  # all of it at once, with the same statistics
    for graph, history in zip(rebuilt, later.dataset.histories, strict=True):
        assert told(store.get(history.user_id)) == told(graph)
    after = load_arrays(made.arrays_path)
    assert after.user_ids.tolist() == sorted(history.user_id for history in later.dataset.histories)
    assert verify_arrays(made.arrays_path) == []
    for user, was in unchanged.items():
        now = graph_of_one(after, int(after.rows_of([user])[0]))
        if user in LONGER:
            assert now.as_of[0] > was.as_of[0]
            continue
        for name, value in vars(was).items():
            if name not in ("fingerprint", "origin"):
                assert np.array_equal(getattr(now, name), value), name


def test_full_windows_stay_and_the_short_one_is_made_again(
    recipe: StandingRecipe, store: GraphStore, tmp_path: Path
) -> None:
    before = {graph.user_id: graph for graph in store}
    later = job_of(tmp_path / "data", tmp_path / "graphs").dataset.histories
    extend_graphs(recipe, store, grown(recipe, known_histories(store), later))
    for user in LONGER:
        was, now = told(before[user]), told(store.get(user))
        assert was.as_of == 8  # windows of three: two full ones, and a short one of two items
        assert now.before(6).nodes == was.before(6).nodes
        assert now.before(6).edges == was.before(6).edges
        assert now.before(8).nodes != was.before(8).nodes


def test_an_extension_that_was_interrupted_ends_the_same(
    made: GraphJob, recipe: StandingRecipe, store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = job_of(tmp_path / "data", made.folder).dataset.histories

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    growth = grown(recipe, known_histories(store), later)
    with monkeypatch.context() as patch:
        patch.setattr("llmrg.job.extension.extend_arrays", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extend_graphs(recipe, store, growth)
    growth = grown(recipe, known_histories(store), later)
    assert growth.histories == ()
    extend_graphs(recipe, store, growth)
    after = load_arrays(made.arrays_path)
    assert after.as_of[after.rows_of([LONGER[2]])].tolist() == [13]


def test_events_are_known_at_once_and_may_come_in_several_files(
    made: GraphJob, recipe: StandingRecipe, store: GraphStore, tmp_path: Path
) -> None:
    lines = [{"user_id": "u5", "item_id": "i1", "rating": 5}, {"user_id": "stranger", "item_id": "i2"}]
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    (tmp_path / "two.csv").write_text("item_id,user_id\ni3,stranger\nunheard-of,stranger\ni4,stranger\n")
    known = known_histories(store)
    growth = grown(recipe, known, with_events(recipe, known, read_events(tmp_path / "one.jsonl")))
    extend_graphs(recipe, store, growth)
    known = known_histories(store)
    assert known["u5"] == (*sequences(later=False)["u5"][:8], "i1")
    growth = grown(recipe, known, with_events(recipe, known, read_events(tmp_path / "two.csv")))
    assert (growth.new_users, growth.interactions, growth.held_back) == (0, 1, 2)
    extend_graphs(recipe, store, growth)
    assert known_histories(store)["stranger"] == ("i2", "i3")
    arrays = load_arrays(made.arrays_path)
    assert arrays.as_of[arrays.rows_of(["stranger", "u5"])].tolist() == [2, 9]


def test_an_interrupted_extension_takes_each_event_once_when_it_is_begun_again(tmp_path: Path) -> None:
    settings = {**SETTINGS, "generation": {"window": 3, "wave": 2}}
    write_atomic_files(tmp_path / "data", "toy", sequences(later=False), catalog=THEMES.catalog)
    overrides = {"data_path": str(tmp_path / "data"), "llmrg": settings}
    job = read_job("toy", overrides=overrides, folder=tmp_path / "graphs")
    make_graphs(job)
    users = [f"u{number}" for number in (5, 6, 7, 8, 9, 10)]
    events = [(user, item) for item in ("i1", "i2") for user in users]

    def interrupt(progress: Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    for watched in (interrupt, None):
        with open_recipe(job.folder, job.settings) as recipe, GraphStore.open(job.store_path) as store:
            known = known_histories(store)
            growth = grown(recipe, known, with_events(recipe, known, events))
            if watched is None:
                assert 0 < len(growth.histories) < len(users)
                extend_graphs(recipe, store, growth)
            else:
                with pytest.raises(KeyboardInterrupt):
                    extend_graphs(recipe, store, growth, progress=watched)
    arrays = load_arrays(job.arrays_path)
    before = len(sequences(later=False)["u5"]) - 1  # without the test item
    assert arrays.as_of[arrays.rows_of(users)].tolist() == [before + 2] * len(users)


def test_a_failed_extension_loses_nothing_and_may_be_tried_again(
    made: GraphJob, recipe: StandingRecipe, store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, events = known_histories(store), [("u5", "i1"), ("u6", "i2")]

    def broken(history: UserHistory, *_: object) -> None:
        raise ValueError(f"no thought about {history.user_id}")

    with monkeypatch.context() as patch:
        patch.setattr("llmrg.reasoning.thinker.reason_about", broken)
        growth = grown(recipe, before, with_events(recipe, before, events))
        assert extend_graphs(recipe, store, growth).report.failed == 2
    assert known_histories(store) == before
    assert [failure.user_id for failure in store.failures()] == ["u5", "u6"]
    store.remove(["u6"])  # as where a graph could not be made in the first place
    known = known_histories(store)
    growth = grown(recipe, known, with_events(recipe, known, events))
    assert extend_graphs(recipe, store, growth).report.done == 2
    assert known_histories(store) == before | {"u5": (*before["u5"], "i1"), "u6": (*before["u6"], "i2")}
    assert store.failures() == []


def test_histories_that_changed_instead_of_growing_are_refused(
    recipe: StandingRecipe, store: GraphStore
) -> None:
    known = known_histories(store)
    other = recipe.history("u5", ["i0", *known["u5"][1:], "i1"])
    with pytest.raises(DataError, match=r"1 users' histories do not begin .*'u5'.*llmrg generate"):
        grown(recipe, known, [other])


@pytest.mark.parametrize(
    "line", ["{", '{"user_id": "u1"}', '["u1", "i1"]', '{"user_id": "", "item_id": "i1"}']
)
def test_an_event_that_is_none_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "e.jsonl").write_text('{"user_id": 1, "item_id": 2}\n' + line)
    with pytest.raises(DataError, match=r"e\.jsonl:2"):
        list(read_events(tmp_path / "e.jsonl"))


def test_another_recipe_and_a_missing_snapshot_are_refused(made: GraphJob) -> None:
    other = made.settings.model_copy(
        update={"generation": made.settings.generation.model_copy(update={"window": 4})}
    )
    with pytest.raises(FingerprintError, match="another recipe"), open_recipe(made.folder, other):
        pass
    (made.folder / "data.jsonl.gz").unlink()
    with pytest.raises(StoreError, match="llmrg generate"), open_recipe(made.folder, made.settings):
        pass


def test_arrays_of_an_earlier_version_are_laid_out_again_with_their_text_space(made: GraphJob) -> None:
    manifest = made.arrays_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"text_key"', '"other_key"'))
    with pytest.raises(StoreError):
        load_text_space(made.arrays_path)
    write_atomic_files(made.folder.parent / "data", "toy", sequences(later=False), catalog=THEMES.catalog)
    make_graphs(job_of(made.folder.parent / "data", made.folder))
    assert len(load_text_space(made.arrays_path).key) == len(load_arrays(made.arrays_path).text_vectors)


def test_the_verb_extends_and_a_second_time_finds_nothing(
    made: GraphJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = [f"llmrg.{name}" for name in ("text.encoder=hashing", "text.components=8", "generation.window=3")]
    line = ["extend", "toy", "--data-path", str(tmp_path / "data"), "--folder", str(made.folder), "--json"]
    line += [word for setting in quick for word in ("--set", setting)]
    assert run(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["users"], found["new_users"], found["done"]) == (4, 1, 4)
    assert run(line) == 0
    assert json.loads(capsys.readouterr().out)["users"] == 0


def test_two_extensions_sorted_out_at_once_do_not_lose_each_others_events(
    recipe: StandingRecipe, store: GraphStore
) -> None:
    known = known_histories(store)
    user = LONGER[0]
    items = list(dict.fromkeys(item for graph in known.values() for item in graph))
    one, two = (
        grown(recipe, known, with_events(recipe, known, [(user, item)])) for item in (items[0], items[1])
    )
    extend_graphs(recipe, store, one)
    with pytest.raises(StoreError, match="made longer by another run"):
        extend_graphs(recipe, store, two)
    assert known_histories(store)[user] == (*known[user], items[0])
