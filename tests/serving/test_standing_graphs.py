"""Graphs made apart from the model that reads them: by settings of their own, and with items that came later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trained_toy import LLMRG, SMALL

import llmrg
from llmrg.cli.app import run
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.errors import DataError, FingerprintError, SettingsError
from llmrg.job.assembly import make_graphs
from llmrg.job.reading import read_job
from llmrg.recbole_adapter.checkpoint import save_checkpoint
from llmrg.recbole_adapter.training import prepare
from llmrg.serving.recommender import open_recommender

THEMES = planted_themes(num_users=16, num_items=20, num_themes=4, length=9, signal=1.0, seed=7)
WINDOW = {"generation": {"window": 3}}
SET_WINDOW = ("--set", "llmrg.generation.window=3")
LATE = "late"  # in the catalogue, but nobody had it in training
NEW = ["i3", "i1", "i2", "i4"]


@dataclass(frozen=True)
class Served:
    """A checkpoint, and its graphs of another window."""

    checkpoint: Path
    graphs: Path
    data_path: Path

    def extended(self, *events: tuple[str, str]) -> None:
        """Take events into the graphs."""
        file = self.graphs / "events.jsonl"
        file.write_text("".join(json.dumps({"user_id": u, "item_id": i}) + "\n" for u, i in events))
        line = ["extend", "toy", "--data-path", self.data_path, "--folder", self.graphs, "--events", file]
        quick = ["--set", "llmrg.text.encoder=hashing", "--set", "llmrg.text.components=8"]
        assert run([*map(str, line), *quick, *SET_WINDOW]) == 0


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Weights as they were drawn: what is served matters here, not how well."""
    catalog = ItemCatalog([*THEMES.catalog.values(), CatalogItem(LATE, "Late item")])
    write_atomic_files(tmp_path / "data", "toy", THEMES.sequences, catalog=catalog)
    data: dict[str, Any] = {"data_path": str(tmp_path / "data")}
    overrides = {**data, "llmrg": {**LLMRG, **WINDOW}}
    job = read_job("toy", overrides=overrides, folder=tmp_path / "graphs")
    make_graphs(job)
    settings = {**data, **SMALL, "llmrg": {**LLMRG, "graphs": str(job.arrays_path)}}
    prepared = prepare("SASRecLLMRG", "toy", overrides=settings)
    model = prepared.new_model()
    folder = save_checkpoint(tmp_path / "checkpoint", model, prepared.config, prepared.train.dataset)
    return Served(folder, job.folder, tmp_path / "data")


def test_the_settings_of_graphs_that_a_model_was_only_pointed_to_can_be_named(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["recommend", str(served.checkpoint), "--history", ",".join(NEW), "-k", "2", "--json"]
    assert run(line) == 1
    assert "(--config, --set; in Python: settings)" in capsys.readouterr().err
    assert run([*line, *SET_WINDOW]) == 0
    found = json.loads(capsys.readouterr().out)["histories"][0]
    assert found["graph"] == "made"
    (tmp_path / "graphs.yaml").write_text("epochs: 3\nllmrg: {generation: {window: 3}}\n")
    assert run([*line, "--config", str(tmp_path / "graphs.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)["histories"][0] == found
    items = llmrg.recommend(served.checkpoint, NEW, 2, settings=WINDOW)
    assert [item.item_id for item in items] == [item["item_id"] for item in found["items"]]
    with pytest.raises(FingerprintError, match="another recipe"):
        llmrg.recommend(served.checkpoint, NEW, 2)

    line = ["explain", str(served.checkpoint), "u1", items[0].item_id, "--history", ",".join(NEW), "--json"]
    assert run(line) == 1
    assert run([*line, *SET_WINDOW]) == 0
    told = llmrg.explain(served.checkpoint, "u1", items[0].item_id, history=NEW, settings=WINDOW)
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(told.score)


def test_settings_that_make_no_graph_are_refused(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["recommend", str(served.checkpoint), "--history", "i1"]
    for setting, told in (
        ("llmrg.generation.windw=3", "window"),
        ("learning_rate=1", "llmrg"),
        ("llmrg.generation=3", "generation"),
    ):
        assert run([*line, "--set", setting]) == 1
        assert told in capsys.readouterr().err
    unknown = {"generaton": {"window": 3}}
    with (
        pytest.raises(SettingsError, match="generation"),
        open_recommender(served.checkpoint, settings=unknown),
    ):
        pass


def test_a_user_who_took_an_item_the_model_was_not_trained_with_is_served_without_it(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    known = THEMES.sequences["u1"][:-1]
    served.extended(("u1", LATE), ("u1", "i3"), ("u2", LATE), ("newcomer", LATE))
    capsys.readouterr()
    line = ["recommend", str(served.checkpoint), "--user", "u1", *SET_WINDOW, "--json"]
    assert run(line) == 0
    shown = capsys.readouterr()
    assert f"left out ('{LATE}'); train again" in shown.err
    found = json.loads(shown.out)["histories"][0]
    assert (found["history"], found["graph"]) == ([*known, "i3"], "made")
    items = llmrg.recommend(served.checkpoint, [*known, "i3"], user_id="u1", settings=WINDOW)
    assert [item["item_id"] for item in found["items"]] == [item.item_id for item in items]
    assert run(["explain", str(served.checkpoint), "u1", items[0].item_id, *SET_WINDOW]) == 0

    with open_recommender(served.checkpoint) as recommender:
        before = recommender.known_history("u2")  # without its newest item: the beginning of the stored graph
        assert before == THEMES.sequences["u2"][:-1]
        assert recommender.recommend(before, 2, user_id="u2").graph == "stored"
        with pytest.raises(DataError, match=f"'{LATE}'"):
            recommender.recommend([*before, LATE], 2, user_id="u2")
        with pytest.raises(DataError, match="none of the items"):
            recommender.known_history("newcomer")
