"""A recipe whose reasoner is a language model: what was paid for is not asked again, what is new is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.errors import BudgetReached, StoreError
from llmrg.graph.arrays import load_arrays
from llmrg.graph.store import GraphStore
from llmrg.job.assembly import make_graphs
from llmrg.job.extension import extend_graphs, grown, known_histories, with_events
from llmrg.job.reading import GraphJob, read_job
from llmrg.job.standing_recipe import open_recipe
from llmrg.reasoners.budget import BudgetLimits

sys.path.insert(0, str(Path(__file__).parents[1] / "reasoners"))
from fault_server import FaultServer

THEMES = planted_themes(num_users=6, num_items=24, num_themes=3, length=11, signal=1.0, seed=2)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as started:
        yield started


@pytest.fixture
def made(server: FaultServer, tmp_path: Path) -> GraphJob:
    write_atomic_files(tmp_path / "data", "toy", THEMES.sequences, catalog=THEMES.catalog)
    model = {"model": "gpt-5-mini", "base_url": server.base_url, "structured_output": "json_schema"}
    ours = {
        "text": {"encoder": "hashing", "components": 8},
        "language_model": model,
        "generation": {"knowledge": False},
    }
    overrides = {"data_path": str(tmp_path / "data"), "llmrg": ours}
    job = read_job("toy", overrides=overrides, folder=tmp_path / "graphs")
    make_graphs(job)
    return job


def test_a_known_history_costs_nothing_and_an_event_only_its_window(
    made: GraphJob, server: FaultServer
) -> None:
    paid = len(server.requests)
    assert paid > 0
    with open_recipe(made.folder, made.settings) as recipe, GraphStore.open(made.store_path) as store:
        known = known_histories(store)
        again = recipe.think([recipe.history("u1", known["u1"])])[0]
        stored = store.get("u1")
        assert stored is not None
        assert [(n.key, n.label, round(n.score, 6)) for n in again.nodes] == [
            (n.key, n.label, round(n.score, 6)) for n in stored.nodes
        ]
        assert len(server.requests) == paid

        assert len(known["u1"]) == 10  # two full windows: the event begins a third
        growth = grown(recipe, known, with_events(recipe, known, [("u1", "i3")]))
        done = extend_graphs(recipe, store, growth)
        assert done.report.done == 1
        assert 0 < len(server.requests) - paid <= 2
        longer = store.get("u1")
        assert longer is not None
        assert [n.key for n in longer.before(10).nodes] == [n.key for n in stored.nodes]
    arrays = load_arrays(made.arrays_path)
    assert arrays.as_of[arrays.rows_of(["u1"])].tolist() == [11]


def test_a_limit_holds_for_graphs_made_now_too(made: GraphJob, server: FaultServer) -> None:
    paid = len(server.requests)
    limits = BudgetLimits(calls=paid)
    with open_recipe(made.folder, made.settings, limits=limits) as recipe, pytest.raises(BudgetReached):
        recipe.think([recipe.history("stranger", ["i1", "i2", "i3"])])
    assert len(server.requests) == paid


def test_one_process_at_a_time_may_have_a_language_model_make_graphs(made: GraphJob) -> None:
    with open_recipe(made.folder, made.settings):
        with pytest.raises(StoreError, match="another run"), open_recipe(made.folder, made.settings):
            pass
        assert len(load_arrays(made.arrays_path)) == 6  # what is there may be read meanwhile
    with open_recipe(made.folder, made.settings):
        pass
