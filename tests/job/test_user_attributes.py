"""What is known of a user beside the history: a changed ``.user`` file is noticed, once, and for those users alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrg.data.atomic_files import Dataset
from llmrg.data.snapshot import SNAPSHOT_FILE, load_snapshot
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.graph.arrays import load_arrays
from llmrg.graph.schema import NodeKind
from llmrg.graph.store import GraphStore
from llmrg.job.assembly import make_graphs, make_neighbours
from llmrg.job.reading import GraphJob, read_job

THEMES = planted_themes(num_users=12, num_items=24, num_themes=4, length=8, signal=1.0, seed=5)
USERS = sorted(THEMES.sequences)
SETTINGS = {"text": {"encoder": "hashing", "components": 8}, "generation": {"window": 3}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_atomic_files(tmp_path / "data", "toy", THEMES.sequences, catalog=THEMES.catalog)
    return tmp_path / "data"


def job_of(data: Path, gender: dict[str, str]) -> GraphJob:
    """A job on users whose genders these are, each with a name that tells the reasoner nothing."""
    rows = [f"{user}\t{word}\tname of {user}, {word}" for user, word in gender.items()]
    table = "\n".join(["user_id:token\tgender:token\tname:token", *rows]) + "\n"
    (data / "toy" / "toy.user").write_text(table, encoding="utf-8")
    overrides = {"data_path": str(data), "llmrg": SETTINGS}
    return read_job("toy", overrides=overrides, folder=data.parent / "graphs")


def attributes(dataset: Dataset) -> list[dict[str, tuple[str, ...]]]:
    return [dict(history.attributes) for history in dataset.histories]


def shown(job: GraphJob) -> dict[str, list[str]]:
    with GraphStore.open(job.store_path) as store:
        return {g.user_id: [n.label for n in g.nodes if n.kind is NodeKind.ATTRIBUTE] for g in store}


def test_a_changed_attribute_is_thought_about_again_and_reaches_arrays_and_snapshot(data: Path) -> None:
    gender = {user: "FM"[number % 2] for number, user in enumerate(USERS)}
    before = job_of(data, gender)
    assert make_graphs(before).done == len(USERS)
    arrays = load_arrays(before.arrays_path)
    assert make_graphs(before).done == 0

    after = job_of(data, {**gender, USERS[0]: "M"})
    assert after.dataset.fingerprint == before.dataset.fingerprint  # what arrays are checked with
    assert make_graphs(after).done == 1
    assert shown(after)[USERS[0]] == ["gender=M"]
    assert shown(after)[USERS[1]] == ["gender=M"]
    assert load_arrays(after.arrays_path).fingerprint != arrays.fingerprint
    assert load_arrays(after.arrays_path).history.tolist() == arrays.history.tolist()
    assert attributes(load_snapshot(after.folder / SNAPSHOT_FILE)) == attributes(after.dataset)
    assert make_graphs(after).done == 0


def test_a_value_that_no_graph_shows_costs_no_thought_and_reaches_the_snapshot(data: Path) -> None:
    gender = dict.fromkeys(USERS, "F")
    make_graphs(job_of(data, gender))
    path = data / "toy" / "toy.user"
    job = job_of(data, gender)
    path.write_text(path.read_text(encoding="utf-8").replace("name of", "renamed"), encoding="utf-8")
    renamed = read_job("toy", overrides={"data_path": str(data), "llmrg": SETTINGS}, folder=job.folder)
    assert attributes(renamed.dataset) != attributes(job.dataset)
    assert make_graphs(renamed).done == 0
    assert attributes(load_snapshot(job.folder / SNAPSHOT_FILE)) == attributes(renamed.dataset)


def test_graphs_of_a_store_that_did_not_keep_attributes_yet_stay_where_they_still_agree(data: Path) -> None:
    gender = {user: "FM"[number % 2] for number, user in enumerate(USERS)}
    job = job_of(data, gender)
    make_graphs(job)
    with GraphStore.open(job.store_path) as store:
        store._connection.execute("UPDATE graphs SET attributes = NULL")
    assert make_graphs(job).done == 0
    with GraphStore.open(job.store_path) as store:
        store._connection.execute("UPDATE graphs SET attributes = NULL")
    assert make_graphs(job_of(data, {**gender, USERS[3]: "F"})).done == 1


def test_the_control_reads_the_attributes_there_are(data: Path) -> None:
    gender = {user: "FM"[number % 2] for number, user in enumerate(USERS)}
    before = load_arrays(make_neighbours(job_of(data, gender)))
    again = load_arrays(make_neighbours(job_of(data, gender)))
    after = load_arrays(make_neighbours(job_of(data, {**gender, USERS[0]: "M"})))
    assert before.fingerprint == again.fingerprint != after.fingerprint
