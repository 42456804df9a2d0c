"""The arm ``neighbours``: graphs of its own next to the others', made once, trained through the same wrapper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted_data import PlantedData, plant

from llmrg.errors import StoreError
from llmrg.experiment import compare
from llmrg.graph.arrays import load_arrays
from llmrg.graph.schema import NodeKind
from llmrg.job.assembly import make_neighbours
from llmrg.job.reading import GraphJob, read_job


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PlantedData:
    return plant(tmp_path_factory.mktemp("planted"), num_users=60)


def settings(data: PlantedData, **llmrg: Any) -> dict[str, Any]:
    overrides = data.overrides("SASRec", graphs=False, embedded={"folds": 4, "min_support": 1}, **llmrg)
    return {**overrides, "epochs": 2}


def job_of(data: PlantedData, **llmrg: Any) -> GraphJob:
    return read_job("planted", overrides=settings(data, **llmrg), folder=data.arrays.parent)


def test_without_its_graphs_the_arm_is_refused_before_anything_is_trained(
    data: PlantedData, tmp_path: Path
) -> None:
    lonely = tmp_path / "arrays"
    lonely.symlink_to(data.arrays)
    with pytest.raises(StoreError, match="arrays-neighbours"):
        compare(
            ["SASRec"], "planted", lonely, arms=("base", "neighbours"), overrides=settings(data), processes=1
        )


def test_the_arm_is_trained_and_reported_beside_the_others(data: PlantedData) -> None:
    folder = make_neighbours(job_of(data))
    assert folder == data.arrays.parent / "arrays-neighbours"
    arms = ("base", "enhanced", "neighbours")
    report = compare(
        ["SASRec"], "planted", data.arrays, arms=arms, overrides=settings(data), processes=1, baselines=False
    )
    assert {row.arm for row in report.rows} == set(arms)
    assert report.environment.fingerprints == {
        "graphs": "planted",
        "neighbours": load_arrays(folder).fingerprint,
    }
    means = {row.arm: row.mean for row in report.rows if row.metric == "ndcg@10"}
    assert means["neighbours"] != means["base"]


def test_its_graphs_are_made_again_only_where_something_they_read_changed(data: PlantedData) -> None:
    said: list[str] = []
    folder = make_neighbours(job_of(data))
    before = load_arrays(folder).fingerprint
    make_neighbours(job_of(data, generation={"tau": 0.7}), notice=said.append)
    assert "up to date" in said[-1]
    make_neighbours(job_of(data, generation={"imagined_per_chain": 2}), notice=said.append)
    assert "laying" in said[-1]
    arrays = load_arrays(folder)
    assert arrays.fingerprint != before
    imagined = arrays.node_kind == list(NodeKind).index(NodeKind.IMAGINED_ITEM)
    _, counts = _per_window(arrays, imagined)
    assert set(counts) == {6}


def _per_window(arrays: Any, chosen: Any) -> Any:
    import numpy as np

    owner = np.repeat(np.arange(len(arrays)), np.diff(arrays.node_offset))
    return np.unique(np.stack([owner[chosen], arrays.node_position[chosen]]), axis=1, return_counts=True)
