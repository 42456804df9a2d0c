"""A global-time split from the atomic file to the rank: the same cut on both sides, and nothing from behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrg.data.atomic_files import read_dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cutoff import GlobalTime, LeaveOneOut, TimeShares, cutoff_of, refuse_positions
from llmrg.data.synthetic import write_atomic_files
from llmrg.errors import DataError, SettingsError
from llmrg.experiment import compare
from llmrg.graph.arrays import load_arrays
from llmrg.job.assembly import make_graphs, make_neighbours
from llmrg.job.reading import read_job
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH
from llmrg.recbole_adapter.ranking import rank_targets
from llmrg.recbole_adapter.training import Prepared, fit, held_out, prepare

SPLIT = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "none", "mode": "full"}
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "epochs": 1, "train_batch_size": 256}
OURS = {"text": {"encoder": "hashing", "components": 4}, "embedded": {"folds": 4, "min_support": 1}}


def write_clocked(folder: Path, *, users: int = 40, items: int = 30, seed: int = 1) -> None:
    """Users who begin whenever they like; what comes after the last tenth of time is a canary of its own."""
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, 60_000, size=users)
    sequences, times = {}, {}
    for user in range(users):
        steps = rng.integers(0, 4_000, size=int(rng.integers(3, 16)))  # some users take two items at once
        times[f"u{user}"] = (1_000_000 + begins[user] + np.cumsum(steps)).tolist()
        sequences[f"u{user}"] = [f"i{item}" for item in rng.integers(0, items, size=len(steps))]
    every = sorted(time for own in times.values() for time in own)
    last = every[int(0.9 * len(every))]
    for user, own in times.items():
        sequences[user] = [
            f"canary{user}.{place}" if time >= last else item
            for place, (item, time) in enumerate(zip(sequences[user], own, strict=True))
        ]
    names = dict.fromkeys(item for own in sequences.values() for item in own)
    catalog = ItemCatalog([CatalogItem(item, f"Title of {item}") for item in names])
    write_atomic_files(folder, "clocked", sequences, catalog=catalog, times=times)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clocked")
    write_clocked(folder)
    return folder


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {**SMALL, "data_path": str(folder), "eval_args": SPLIT, "llmrg": OURS, **more}


def rows(prepared: Prepared, part: str) -> list[tuple[str, int]]:
    """(user, index of the target) of every row of a part."""
    loader = getattr(prepared, part)
    data = loader.dataset if part == "train" else loader._dataset
    tokens = data.field2id_token[data.uid_field]
    feat = data.inter_feat
    users = [str(tokens[user]) for user in feat[data.uid_field].numpy()]
    return list(zip(users, feat[PREFIX_LENGTH].tolist(), strict=True))


@pytest.mark.parametrize("max_users", [None, 120])
def test_ml_100k_is_cut_at_the_same_rows_as_in_recbole(max_users: int | None) -> None:
    ours = read_dataset(None, "ml-100k", cutoff=TimeShares(0.8, 0.1), max_users=max_users)
    limit = {"llmrg": {"training": {"max_users": max_users}}}
    prepared = prepare("SASRec", "ml-100k", overrides={"eval_args": SPLIT, **limit})
    theirs = {history.user_id: history for history in prepared.histories()}
    assert {user: history.fingerprint for user, history in theirs.items()} == {
        history.user_id: history.fingerprint for history in ours.histories
    }
    everyone = read_dataset(None, "ml-100k", cutoff=GlobalTime(np.inf, np.inf), max_users=max_users)
    cut = ours.cutoff
    assert isinstance(cut, GlobalTime)
    times = np.concatenate([history.timestamps for history in everyone.histories])
    assert abs((times < cut.valid_time).mean() - 0.8) < 0.01
    assert abs((times < cut.test_time).mean() - 0.9) < 0.01


def test_every_user_is_tested_on_the_first_item_after_the_cut_and_on_what_came_before(clocked: Path) -> None:
    ours = read_dataset(clocked, "clocked", cutoff=TimeShares(0.8, 0.1))
    whole = read_dataset(clocked, "clocked", cutoff=GlobalTime(np.inf, np.inf))
    prepared = prepare("SASRec", "clocked", overrides=settings(clocked))
    train, valid, test = (rows(prepared, part) for part in ("train", "valid", "test"))
    for part in (valid, test):
        assert len(dict(part)) == len(part)
    expected_test, expected_valid, expected_train = {}, {}, []
    for history in ours.histories:
        full = whole.by_user[history.user_id]
        known, trained = len(history), history.train_length
        if 1 <= known < len(full):
            expected_test[history.user_id] = known
        if 1 <= trained < known:
            expected_valid[history.user_id] = trained
        expected_train += [(history.user_id, prefix) for prefix in range(1, trained)]
    assert dict(test) == expected_test
    assert dict(valid) == expected_valid
    assert sorted(train) == sorted(expected_train)
    assert expected_test
    found = held_out(prepared, "test")
    cut = ours.cutoff
    assert isinstance(cut, GlobalTime)
    assert found.times.min() >= np.float32(cut.test_time)
    tokens = prepared.dataset.field2id_token[prepared.dataset.iid_field]
    for user, history in zip(found.user_ids, found.histories, strict=True):
        assert tuple(tokens[history]) == ours.by_user[user].item_ids


def test_a_canary_after_the_cut_reaches_no_graph_no_statistic_and_no_training_row(
    clocked: Path, tmp_path: Path
) -> None:
    job = read_job("clocked", overrides=settings(clocked), folder=tmp_path / "graphs")
    assert not any("canary" in item for history in job.dataset.histories for item in history.item_ids)
    report = make_graphs(job)
    assert report.done > 10
    for folder in (job.arrays_path, make_neighbours(job)):
        arrays = load_arrays(folder)
        assert arrays.cutoff == "global_time"
        assert not any("canary" in str(item) for item in arrays.item_ids)
    prepared = prepare("SASRec", "clocked", overrides=settings(clocked))
    tokens = np.asarray(prepared.dataset.field2id_token[prepared.dataset.iid_field]).astype(str)
    trained = np.concatenate(prepared.train_sequences())
    assert not any("canary" in item for item in tokens[trained])
    assert not any("canary" in item for item in tokens[prepared.train_events()[0]])
    assert any("canary" in item for item in tokens[held_out(prepared, "test").targets])
    feat = prepared.train.dataset.inter_feat
    assert not any("canary" in item for item in tokens[feat[prepared.dataset.iid_field].numpy()])


def test_it_is_compared_on_with_graphs_and_the_report_says_which_split(clocked: Path, tmp_path: Path) -> None:
    job = read_job("clocked", overrides=settings(clocked), folder=tmp_path / "graphs")
    make_graphs(job)
    report = compare(
        ["SASRec"],
        "clocked",
        job.arrays_path,
        arms=("base", "enhanced", "empty"),
        overrides=settings(clocked),
        processes=1,
        threads=1,
    )
    assert report.identities[0].users_differing == 0
    assert report.environment.protocol[0].startswith("Global time")
    assert {run.model for run in report.runs} == {"SASRec", "Popularity", "DecayedPopularity", "ItemKNN"}
    assert len({run.user_ids for run in report.runs}) == 1


def test_graphs_cut_leave_one_out_are_refused(clocked: Path, tmp_path: Path) -> None:
    from llmrg.errors import FingerprintError

    plain = {name: value for name, value in settings(clocked).items() if name != "eval_args"}
    job = read_job("clocked", overrides=plain, folder=tmp_path / "graphs")
    make_graphs(job)
    ours = {**OURS, "graphs": str(job.arrays_path)}
    with pytest.raises(FingerprintError, match="cut-off"):
        prepare("SASRecLLMRG", "clocked", overrides={**settings(clocked), "llmrg": ours}).new_model()


def test_both_training_paths_and_the_ranks_work(clocked: Path) -> None:
    prepared = prepare("SASRec", "clocked", overrides=settings(clocked))
    model = prepared.new_model()
    fit(prepared, model)
    users, ranks = rank_targets(model, prepared.test)
    assert len(users) == len(ranks.kept) == len(ranks.left_out) == len(rows(prepared, "test"))
    part = held_out(prepared, "test")
    row, item = prepared.test._dataset.seen_before(prepared.test._dataset.inter_feat)
    for number, history in enumerate(part.histories):
        assert item[row == number].tolist() == history.tolist()
    ours = {**OURS, "training": {"path": "expanded"}}
    expanded = prepare("SASRec", "clocked", overrides={**settings(clocked), "llmrg": ours})
    assert fit(expanded, expanded.new_model()).curve[0].loss > 0


def test_places_in_an_order_are_no_clock(tmp_path: Path) -> None:
    sequences = {f"u{user}": [f"i{(user + step) % 9}" for step in range(8)] for user in range(12)}
    write_atomic_files(tmp_path, "placed", sequences)
    with pytest.raises(DataError, match="not a clock"):
        read_job("placed", overrides=settings(tmp_path))
    with pytest.raises(DataError, match="not a clock"):
        prepare("SASRec", "placed", overrides=settings(tmp_path))
    refuse_positions([1.0, 5.0, 7.0])
    refuse_positions([1.0])
    refuse_positions([])


def test_a_split_that_is_neither_is_refused_with_both_named() -> None:
    assert cutoff_of(None) == cutoff_of({"split": {"LS": "valid_and_test"}}) == LeaveOneOut()
    assert cutoff_of(SPLIT) == TimeShares(0.8, 0.1)
    for wrong in (
        {**SPLIT, "order": "RO"},
        {**SPLIT, "group_by": "user"},
        {**SPLIT, "split": {"RS": [0.8, 0.2]}},
        {"split": {"LS": "test_only"}},
        {"split": 3},
    ):
        with pytest.raises(SettingsError, match=r"leave-one-out.*global time"):
            cutoff_of(wrong)


def test_shares_that_leave_a_part_empty_are_refused(clocked: Path) -> None:
    late = {**SPLIT, "split": {"RS": [0.9995, 0.0001, 0.0004]}}
    with pytest.raises(DataError, match="leaves no"):
        prepare("SASRec", "clocked", overrides=settings(clocked, eval_args=late))
