"""Recommendations: those of the evaluation for whom it knows, and something sensible for everybody else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trained_toy import TrainedToy

import llmrg
from llmrg.cli.app import run
from llmrg.errors import DataError, FingerprintError, ReplyError, SettingsError, StoreError
from llmrg.graph.arrays import load_arrays
from llmrg.graph.store import GraphStore
from llmrg.reasoners.endpoint import EndpointError, FaultKind
from llmrg.recbole_adapter.checkpoint import save_checkpoint
from llmrg.recbole_adapter.training import prepare
from llmrg.serving.history_files import GivenHistory, read_histories
from llmrg.serving.recommender import Recommended, Recommender, open_recommender


@pytest.fixture(scope="module")
def recommender(toy: TrainedToy) -> Iterator[Recommender]:
    with open_recommender(toy.checkpoint) as found:
        yield found


def test_a_known_user_gets_the_ranking_of_the_evaluation(toy: TrainedToy, recommender: Recommender) -> None:
    rows = toy.prepared.test._dataset.inter_feat
    with torch.no_grad():
        ranked = toy.model.full_sort_predict(rows.to(toy.model.device)).view(len(rows), -1).numpy()
    tokens = toy.prepared.dataset.field2id_token
    for row in range(0, len(rows), 5):
        user = str(tokens["user_id"][int(rows["user_id"][row])])
        answer = recommender.recommend(toy.known(user), 30, user_id=user, keep_seen=True)
        assert answer.graph == "stored"
        numbers = [list(tokens["item_id"]).index(item.item_id) for item in answer.items]
        np.testing.assert_allclose([i.score for i in answer.items], ranked[row, numbers], atol=1e-4)
        assert sorted(numbers) == list(range(1, 31))
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
        assert [item.rank for item in answer.items] == list(range(1, 31))
        assert all(item.title == toy.themes.catalog[item.item_id].title for item in answer.items)


def test_seen_items_stay_out_unless_they_are_asked_for(toy: TrainedToy, recommender: Recommender) -> None:
    history = toy.known("u1")
    best = {item.item_id for item in recommender.recommend(history, 100, user_id="u1").items}
    assert best == set(toy.themes.catalog) - set(history)


def test_a_graph_made_now_is_the_one_that_was_stored(toy: TrainedToy, recommender: Recommender) -> None:
    with GraphStore.open(toy.job.store_path) as store:
        stored = store.get("u7")
    assert stored is not None
    made = recommender.think(toy.known("u7"), "u7")
    assert [(n.key, n.label, n.position) for n in made.nodes] == [
        (n.key, n.label, n.position) for n in stored.nodes
    ]
    assert made.edges == stored.edges


def test_strangers_and_longer_histories_get_graphs_made_now(
    toy: TrainedToy, recommender: Recommender
) -> None:
    history = toy.known("u3")
    before = recommender.recommend(history, 5, user_id="u3")
    longer = recommender.recommend([*history, before.items[0].item_id], 5, user_id="u3")
    stranger = recommender.recommend(history[:6], 5)
    other = recommender.recommend(["i1", *history[1:]], 5, user_id="u3")
    assert [a.graph for a in (before, longer, stranger, other)] == ["stored", "made", "made", "made"]
    with open_recommender(toy.checkpoint, graphs="stored") as only_stored:
        answer = only_stored.recommend(history[:6], 5)
        assert answer.graph == "none"
        assert answer.items != stranger.items
        assert only_stored.recommend(history, 5, user_id="u3") == before


def test_a_shorter_history_sees_nothing_past_its_end(toy: TrainedToy, recommender: Recommender) -> None:
    history = toy.known("u9")[
        :5
    ]  # a whole window: a graph of five items made now is the stored one's beginning
    assert recommender.recommend(history, 5, user_id="u9").graph == "stored"
    stored = recommender.scorer.scores("u9", history, recommender.graph_of(history, "u9")[0])
    made = recommender.think(history, "u9")
    with GraphStore.open(toy.job.store_path) as store:
        whole = store.get("u9")
    assert whole is not None
    assert [n.key for n in whole.before(5).nodes] == [n.key for n in made.nodes]
    masked = recommender.scorer.scores("u9", history)
    assert not np.allclose(stored[1:], masked[1:], atol=1e-4)


def test_one_call_does_it_all(toy: TrainedToy, recommender: Recommender) -> None:
    history = toy.known("u2")
    found = llmrg.recommend(toy.checkpoint, history, 3, user_id="u2")
    assert found == list(recommender.recommend(history, 3, user_id="u2").items)
    masked = llmrg.recommend(toy.checkpoint, history, 3, graphs="none")
    assert [item.score for item in masked] != [item.score for item in found]


@pytest.mark.parametrize("user", ["u2", None])
def test_a_history_that_cannot_be_served_is_one_error(recommender: Recommender, user: str | None) -> None:
    with pytest.raises(DataError, match="empty"):
        recommender.recommend([], 3, user_id=user)
    with pytest.raises(DataError, match=r"'nonsense'"):
        recommender.recommend(["i1", "nonsense"], 3, user_id=user)
    with pytest.raises(SettingsError, match="k=0"):
        recommender.recommend(["i1"], 0, user_id=user)


def test_a_history_longer_than_the_window_is_served(recommender: Recommender) -> None:
    assert len(recommender.recommend([f"i{k % 30}" for k in range(60)], 3, keep_seen=True).items) == 3


def test_a_base_model_recommends_too(toy: TrainedToy, tmp_path: Path) -> None:
    prepared = prepare("GRU4Rec", "toy", overrides={"data_path": str(toy.data_path), "hidden_size": 8})
    folder = save_checkpoint(tmp_path / "base", prepared.new_model(), prepared.config, prepared.train.dataset)
    with open_recommender(folder) as recommender:
        assert recommender.recommend(["i1", "i2"], 4).graph == "none"
        with pytest.raises(DataError, match="give a history"):
            recommender.known_history("u1")


def test_graphs_that_moved_grew_or_were_made_again_are_told_apart(toy: TrainedToy, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(toy.job.folder, tmp_path / "moved"))
    with open_recommender(toy.checkpoint, folder=moved) as recommender:
        assert recommender.recommend(toy.known("u1"), 2, user_id="u1").graph == "stored"
    line = ["extend", "toy", "--data-path", str(toy.data_path), "--folder", str(moved)]
    line += ["--set", "llmrg.text.encoder=hashing", "--set", "llmrg.text.components=8"]
    (tmp_path / "new.jsonl").write_text('{"user_id": "u1", "item_id": "i3"}\n')
    assert run([*line, "--events", str(tmp_path / "new.jsonl")]) == 0
    with open_recommender(toy.checkpoint, folder=moved) as recommender:
        assert recommender.known_history("u1") == (*toy.known("u1"), "i3")
        assert recommender.recommend([*toy.known("u1"), "i3"], 2, user_id="u1").graph == "stored"
        assert recommender.recommend(["i3", "i4"], 2).graph == "made"
    manifest = moved / "arrays" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(load_arrays(moved / "arrays").origin, "b2:again"))
    with pytest.raises(FingerprintError, match="made again"), open_recommender(toy.checkpoint, folder=moved):
        pass
    with pytest.raises(StoreError, match="found no"), open_recommender(toy.checkpoint, folder=tmp_path):
        pass
    with pytest.raises(SettingsError, match="stored"), open_recommender(toy.checkpoint, graphs="stord"):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.jsonl", '{"user_id": 7, "history": ["a", 2]}\n\n["b"]\n'),
        ("h.csv", "user_id,item_id,rating\n7,a,1\n,b,3\n7,2,5\n"),
        ("h.txt", "a, 2\n\nb\n"),
    ],
)
def test_files_of_histories_are_read_in_three_ways(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text if name != "h.csv" else text.replace(",b,3", "8,b,3"))
    found = list(read_histories(path))
    assert [one.item_ids for one in found] == [("a", "2"), ("b",)]
    users = {"h.jsonl": ["7", None], "h.csv": ["7", "8"], "h.txt": [None, None]}[name]
    assert [one.user_id for one in found] == users
    assert found[1] == GivenHistory(("b",), users[1], 3)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("h.jsonl", '["a"]\n{"history": "a,b"}\n', "2"),
        ("h.jsonl", "a,b\n", "1"),
        ("h.csv", "user,item\n1,2\n", "1"),
        ("h.csv", "user_id,item_id\n1,2\n1,\n", "3"),
        ("h.txt", "\n", None),
    ],
)
def test_a_line_that_is_no_history_is_named(tmp_path: Path, name: str, text: str, where: str | None) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=f"{name}:{where}" if where else "found none"):
        list(read_histories(path))


def test_the_verb_recommends_with_titles(toy: TrainedToy, capsys: pytest.CaptureFixture[str]) -> None:
    history = toy.known("u1")
    assert (
        run(["recommend", str(toy.checkpoint), "--history", ",".join(history), "--user", "u1", "-k", "2"])
        == 0
    )
    shown = capsys.readouterr().out
    best = llmrg.recommend(toy.checkpoint, history, 2, user_id="u1")
    assert "its stored graph" in shown
    assert all(item.title in shown and item.item_id in shown for item in best)
    assert run(["recommend", str(toy.checkpoint), "--user", "u1", "-k", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["histories"][0]
    assert document["history"] == list(history)
    assert [item["item_id"] for item in document["items"]] == [item.item_id for item in best]


def test_the_verb_names_the_line_it_cannot_serve_and_serves_the_others(
    toy: TrainedToy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('["i1", "i2"]\n{"user_id": 7, "history": ["i1", "zz"]}\n\n[]\n["i3"]\n')
    line = ["recommend", str(toy.checkpoint), "--file", str(path), "-k", "1"]
    assert run(line) == 1
    told = capsys.readouterr()
    assert "h.jsonl:2: not served: the model does not know 1 of the items: 'zz'" in told.err
    assert "h.jsonl:4: not served: expected a history of one item" in told.err
    assert told.err.splitlines()[-1] == "error: 2 of 4 histories were not served"
    assert [line.split(" (")[0] for line in told.out.splitlines() if "for " in line] == [
        "for line 1",
        "for line 5",
    ]
    assert run([*line, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(one["line"], one["graph"]) for one in document["histories"]] == [(1, "made"), (5, "made")]
    assert [(one["line"], one["user_id"]) for one in document["failed"]] == [(2, "7"), (4, None)]
    assert "'zz'" in document["failed"][0]["reason"]
    assert run(["recommend", str(toy.checkpoint)]) == 1
    assert "--history" in capsys.readouterr().err
    path.write_text('["i1", "i2"]\n["i3"]\n')
    assert run([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["graph"] for one in document["histories"]] == ["made", "made"]
    assert document["failed"] == []


def test_the_verb_shows_each_answer_at_once_and_keeps_them_when_it_has_to_end(
    toy: TrainedToy, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.txt"
    path.write_text("i1\ni2\ni3\ni4\n")
    recommend = Recommender.recommend
    shown: list[str] = []
    ends = [
        ReplyError("no reply was of use"),
        EndpointError("refused", kind=FaultKind.REJECTED),
        EndpointError("the server is gone", kind=FaultKind.STOP),
    ]

    def failing(self: Recommender, history: Sequence[str], k: int, **named: Any) -> Recommended:
        if history != ("i1",):
            shown.append(capsys.readouterr().out)
            raise ends[len(shown) - 1]
        return recommend(self, history, k, **named)

    monkeypatch.setattr(Recommender, "recommend", failing)
    line = ["recommend", str(toy.checkpoint), "--file", str(path), "-k", "1"]
    assert run(line) == 1
    assert "for line 1" in shown[0]
    assert capsys.readouterr().err == "error: the server is gone\n"
    shown.clear()
    assert run([*line, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [one["line"] for one in document["histories"]] == [1]
    assert [one["reason"] for one in document["failed"]] == ["no reply was of use", "refused"]
    shown.clear()
    assert run(["recommend", str(toy.checkpoint), "--history", "i2", "--json"]) == 1
    assert capsys.readouterr() == ("", "error: no reply was of use\n")
