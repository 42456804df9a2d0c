"""The key of a run: what affects the result is in it, and nothing else."""

from __future__ import annotations

import ast
import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from study_data import NAME, Study, make_study

from llmrg.experiment.archive import RunArchive
from llmrg.experiment.comparison import Design, Source
from llmrg.experiment.identity import code_fingerprint, own_code, run_key, without_docstrings
from llmrg.experiment.runs import Run


def run_of(study: Study, arm: str = "enhanced", **more: object) -> Run:
    design = Design(
        ("SASRec",), (Source(NAME, study.arrays),), (arm,), overrides=study.overrides(), threads=1
    )
    return replace(design.runs()[0], **more)


def test_what_affects_a_result_changes_its_key(study: Study, tmp_path: Path) -> None:
    run = run_of(study)
    other = make_study(tmp_path / "other", seed=5)
    changed = {
        "as it is": run,
        "seed": replace(run, seed=7),
        "arm": run_of(study, "shuffled"),
        "graphs": run_of(study, "unverified"),
        "setting of ours": run_of(study, "no-pointer"),
        "base": run_of(study, "base"),
        "wider": run_of(study, "wider"),
        "setting of RecBole": replace(run, overrides=study.overrides(epochs=3)),
        "protocol": replace(
            run,
            overrides={
                **run.overrides,
                "llmrg": {**run.overrides["llmrg"], "evaluation": {"keep_seen": False}},
            },
        ),
        "threads": replace(run, threads=2),
        "digits that validation is rounded to": replace(
            run, overrides={**run.overrides, "metric_decimal_place": 8}
        ),
        "validation": replace(run, part="valid"),
        "data": replace(run, overrides={**run.overrides, "data_path": str(other.data_path)}),
        "graphs again": replace(run, graphs=str(other.arrays)),
    }
    changed["loader processes, which draw masks and negatives"] = replace(
        run, overrides={**run.overrides, "worker": 2}
    )
    keys = {name: run_key(one) for name, one in changed.items()}
    assert len(set(keys.values())) == len(keys), keys


def test_what_does_not_affect_a_result_does_not(study: Study, tmp_path: Path) -> None:
    run = run_of(study)
    moved = tmp_path / "elsewhere"
    shutil.copytree(study.data_path, moved)
    folder = tmp_path / "graphs"
    shutil.copytree(study.arrays, folder)
    same = [
        replace(run, trial=3),
        replace(run, graphs=str(folder)),
        replace(run, overrides={**run.overrides, "data_path": str(moved)}),
        replace(run, overrides={**run.overrides, "show_progress": False, "topk": [10], "gpu_id": "1"}),
    ]
    assert {run_key(one) for one in same} == {run_key(run)}


def test_settings_of_graphs_do_not_touch_a_base_model(study: Study) -> None:
    base = run_of(study, "base")
    ours = {
        "text": {"components": 8, "encoder": "hashing"},
        "encoder": {"width": 64},
        "generation": {"window": 1},
    }
    assert run_key(replace(base, overrides={**base.overrides, "llmrg": ours})) == run_key(base)
    for arm in ("enhanced", "wider"):  # the latter is made as large as the former
        run = run_of(study, arm)
        assert run_key(replace(run, overrides={**run.overrides, "llmrg": ours})) != run_key(run)
    wider = run_of(study, "wider")
    assert run_key(replace(wider, size_of={"llmrg": ours})) != run_key(wider)
    here, there = ({"llmrg": ours, "data_path": place, "topk": [10]} for place in ("data", "/elsewhere/data"))
    assert run_key(replace(wider, size_of=here)) == run_key(replace(wider, size_of=there))


def test_the_code_of_a_model_of_ones_own_counts_and_recboles_does_not() -> None:
    from recbole.model.sequential_recommender import SASRec

    class First(SASRec):
        def forward(self, item_seq, item_seq_len):
            return super().forward(item_seq, item_seq_len)

    class Second(SASRec):
        def forward(self, item_seq, item_seq_len):
            return 2 * super().forward(item_seq, item_seq_len)

    class Third(First):
        pass

    assert own_code(SASRec) == {}
    assert len({str(list(own_code(model).values())) for model in (First, Second)}) == 2
    assert own_code(Third) == own_code(First)
    spaces: list[dict[str, type]] = []
    for body in ("return 1", "return 2"):
        space: dict[str, type] = {}
        exec(f"class Made:\n    def forward(self):\n        {body}\n", {"__name__": "__main__"}, space)
        spaces.append(space)
    first, second = (own_code(space["Made"]) for space in spaces)
    assert set(first) == set(second)
    assert first["Made.forward"] != second["Made.forward"]


@pytest.mark.parametrize("packaged", [False, True])
def test_whatever_lies_in_the_file_of_a_model_of_ones_own_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged: bool
) -> None:
    from recbole.model.sequential_recommender import SASRec

    folder = tmp_path / "my_models" if packaged else tmp_path
    folder.mkdir(exist_ok=True)
    if packaged:
        (folder / "__init__.py").touch()
    name = "my_models.mine" if packaged else "mine"
    monkeypatch.syspath_prepend(tmp_path)

    def code(helper: str, beside: str = "") -> dict[str, str]:
        (folder / "mine.py").write_text(
            f"from {SASRec.__module__} import SASRec\n{helper}\nclass Mine(SASRec):\n    pass\n"
        )
        (folder / "layers.py").write_text(beside)
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return own_code(importlib.import_module(name).Mine)

    as_it_was = code("SCALE = 1")
    assert code("SCALE = 1  # one") == as_it_was != code("SCALE = 2")
    assert (code("SCALE = 1", "DEPTH = 3") != as_it_was) == packaged


def test_code_counts_without_its_comments_and_docstrings() -> None:
    one = '"""Says this."""\ndef f(x):\n    """And that."""\n    return x + 1  # why\n'
    same = "def f(x):\n\n    return x + 1\n"
    other = "def f(x):\n    return x + 2\n"

    def read(source: str) -> str:
        return ast.dump(without_docstrings(ast.parse(source)))

    assert read(one) == read(same) != read(other)
    assert code_fingerprint(wrapped=True) != code_fingerprint(wrapped=False)


def test_a_key_without_its_graphs_is_an_error(study: Study, tmp_path: Path) -> None:
    from llmrg.errors import StoreError

    with pytest.raises(StoreError):
        run_key(run_of(study, graphs=str(tmp_path / "absent")))


def test_a_key_in_no_archive_finds_nothing(tmp_path: Path) -> None:
    archive = RunArchive(tmp_path / "absent")
    assert archive.find("b2:0") is None
    assert list(archive.all()) == []
    (tmp_path / "x-0.npz").write_bytes(b"no archive")
    assert list(RunArchive(tmp_path).all()) == []
