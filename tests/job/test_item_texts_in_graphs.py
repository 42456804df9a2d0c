"""Item texts from the setting to the arrays: other texts are other graphs; a recipe outlives the file it is from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.errors import FingerprintError, SettingsError
from llmrg.graph.arrays import load_arrays, load_text_space
from llmrg.graph.controls import neighbours_folder
from llmrg.job.assembly import make_graphs, make_neighbours, make_unverified
from llmrg.job.dry_run import write_dry_run
from llmrg.job.estimate import estimate
from llmrg.job.reading import GraphJob, read_job
from llmrg.job.standing_recipe import open_recipe
from llmrg.settings import LanguageModelSettings
from llmrg.text import kept_vectors
from llmrg.text.encoder import HashingEncoder, Vectors

THEMES = planted_themes(num_users=16, num_items=24, num_themes=4, length=10, signal=1.0, seed=5)
FIRST, *OTHERS = THEMES.catalog
TEXTS = {item_id: f"A long account of item {item_id}." for item_id in OTHERS}


@pytest.fixture
def said() -> list[str]:
    return []


def job_of(folder: Path, texts: dict[str, str] | None) -> GraphJob:
    if not (folder / "data").exists():
        write_atomic_files(folder / "data", "toy", THEMES.sequences, catalog=THEMES.catalog)
    ours: dict[str, Any] = {"text": {"encoder": "hashing", "components": 8}}
    if texts is not None:
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        ours["text"]["item_texts"] = str(folder / "texts.json")
    return read_job(
        "toy", overrides={"data_path": str(folder / "data"), "llmrg": ours}, folder=folder / "graphs"
    )


def prints(job: GraphJob) -> list[str]:
    return [load_arrays(path).fingerprint for path in (job.arrays_path, neighbours_folder(job.arrays_path))]


def make_all(job: GraphJob, said: list[str]) -> int:
    report = make_graphs(job, notice=said.append)
    make_neighbours(job, notice=said.append)
    make_unverified(job, notice=said.append)
    return report.done


def test_other_texts_are_other_graphs_and_the_same_are_up_to_date(tmp_path: Path, said: list[str]) -> None:
    bare = job_of(tmp_path, None)
    assert make_all(bare, said) == 16
    without = prints(bare)
    texts = job_of(tmp_path, TEXTS | {"nobody": "?"})
    assert make_all(texts, said) == 16
    assert [words for words in said if "texts.json" in words] == [
        f"{tmp_path / 'texts.json'}: texts of 23 of 24 items (1 have none); "
        "1 ids in the file are no item of this data set"
    ]
    with_texts = prints(texts)
    said.clear()
    assert make_all(job_of(tmp_path, TEXTS), said) == 0  # one unknown id fewer is no difference
    assert sum("up to date" in words for words in said) == 3
    other = job_of(tmp_path, TEXTS | {OTHERS[0]: "Something else."})
    assert make_all(other, said) == 16
    assert all(len(set(three)) == 3 for three in zip(without, with_texts, prints(other), strict=True))


class Model:
    """Stands for a model, whose vectors are kept: notes what it is asked for."""

    name, fingerprint = "model", "b2:model"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return HashingEncoder()(texts)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    found = Model()
    monkeypatch.setattr(kept_vectors, "load_text_encoder", lambda settings: found)
    return found


@pytest.mark.parametrize("texts", [None, TEXTS])
def test_a_text_is_encoded_once_for_graphs_controls_and_recipe(
    tmp_path: Path, said: list[str], model: Model, texts: dict[str, str] | None
) -> None:
    job, counted = job_of(tmp_path, texts), []
    make_graphs(job, texts=lambda done, total: counted.append((done, total)))
    assert sum("A long account" in text for text in model.asked) == len(texts or ())
    assert counted[-1] == (len(load_arrays(job.arrays_path).text_vectors),) * 2
    make_neighbours(job, notice=said.append)
    make_unverified(job, notice=said.append)
    with open_recipe(job.folder, job.settings) as recipe:
        recipe.encoder([recipe.world.grounding.label(item_id) for item_id in THEMES.catalog])
    assert {item.title for item in THEMES.catalog.values()} <= set(model.asked)
    assert len(model.asked) == len(set(model.asked))


def test_an_estimate_and_a_dry_run_read_what_is_kept_and_write_nothing(tmp_path: Path, model: Model) -> None:
    job = job_of(tmp_path, TEXTS)
    asking = replace(
        job, settings=job.settings.model_copy(update={"language_model": LanguageModelSettings(model="any")})
    )
    estimate(asking, sample=2)
    write_dry_run(asking, tmp_path / "requests.jsonl")
    assert model.asked
    assert not job.folder.exists()
    make_graphs(job)
    kept = {path: path.read_bytes() for path in (job.folder / kept_vectors.FOLDER).iterdir()}
    model.asked.clear()
    write_dry_run(asking, tmp_path / "requests.jsonl")
    assert not {item.title for item in THEMES.catalog.values()} & set(model.asked)
    assert {path: path.read_bytes() for path in (job.folder / kept_vectors.FOLDER).iterdir()} == kept


def test_the_nodes_of_an_item_are_what_is_known_of_it(tmp_path: Path) -> None:
    job = job_of(tmp_path, TEXTS)
    make_graphs(job)
    with open_recipe(job.folder, job.settings) as recipe:
        labels = [recipe.world.grounding.label(item_id) for item_id in (FIRST, OTHERS[0])]
        raw = recipe.encoder(labels)
        space, vectors = load_text_space(job.arrays_path), load_arrays(job.arrays_path).text_vectors
        rows = space.rows_of(labels)
        assert (rows >= 0).all()
        assert np.allclose(vectors[rows], space.whitening(raw), atol=2e-3)
        titles = HashingEncoder()(labels)
        assert raw[0] @ titles[0] > raw[1] @ titles[1] + 0.1  # only the second has a text


def test_a_recipe_outlives_its_file_and_refuses_other_texts(tmp_path: Path) -> None:
    job = job_of(tmp_path, TEXTS)
    make_graphs(job)
    (tmp_path / "texts.json").unlink()
    with open_recipe(job.folder, job.settings) as recipe:
        assert recipe.think([recipe.history("new", OTHERS[:5])])[0].nodes
    with pytest.raises(FingerprintError), open_recipe(job.folder, job_of(tmp_path, None).settings):
        pass
    with pytest.raises(SettingsError, match=r"llmrg\.text\.item_texts"):
        make_graphs(job)
