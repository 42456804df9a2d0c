"""What a run is, as one content hash: the key under which a finished run is found again.

Promise: the key changes with everything that affects the result (settings, data, graphs, seed, threads, versions of
the packages that compute, the code of a model of one's own, and our own code, its comments and docstrings aside) and
with nothing else: neither paths nor the number of processes nor what a person sees on the way.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import marshal
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

from llmrg.experiment.arms import ARMS
from llmrg.experiment.runs import Run
from llmrg.fingerprint import ALGORITHM, fingerprint
from llmrg.graph.arrays import load_arrays

PACKAGES = ("torch", "recbole", "numpy", "pandas", "scipy")
_GRAPH_PACKAGES = ("torch-geometric",)
NOT_RESULTS = frozenset(
    {
        *("data_path", "checkpoint_dir", "gpu_id", "show_progress", "state", "log_wandb", "wandb_project"),
        *("dataloaders_save_path", "dataset_save_path", "save_dataset", "save_dataloaders", "local_rank"),
        *("topk", "metrics", "loss_decimal_place"),
    }
)
"""Keys of RecBole that change what is kept or shown, not what is computed (``metric_decimal_place`` is none: validation
is rounded with it; nor is ``worker``: loader processes draw random numbers of their own)."""

# Rooms whose code a run executes; a base model runs the first part of the second only.
_WRAPPER = ("encoder", "graph/arrays.py", "graph/controls.py", "graph/rewiring.py", "graph/schema.py")
_TRAINING = ("recbole_adapter", "data/cutoff.py", "evaluation/metrics.py", "experiment/runs.py")
_ONLY_WRAPPED = frozenset({"enhanced.py", "graph_table.py", "masked_positions.py"})
_NEITHER = frozenset({"checkpoint.py", "quick_start.py", "scoring.py", "vocabulary.py"})
_PARTS = ("inter", "item", "user", "net", "kg", "link")  # what RecBole loads where load_col names nothing
# their code is known by its version, or hashed by room
_NOT_OWN = frozenset({"builtins", "llmrg", "recbole", "torch"})


def run_key(run: Run) -> str:
    """The key of a run.

    Raises:
        StoreError: its graphs are not where they should be.
        SettingsError, DataError, ModelError: it could not be configured.
    """
    arm = {"arm": run.arm, "control": ARMS[run.arm].control}
    return fingerprint({**family(run), **arm, "seed": run.seed, "part": run.part})


def family(run: Run) -> dict[str, Any]:
    """What a run has in common with those of other seeds and of arms that take about as long."""
    from llmrg.recbole_adapter.configuration import build_config, settings_of

    config = build_config(
        run.recbole_model, run.dataset, config_files=run.config_files, overrides=run.settings
    )
    ours = settings_of(config)
    arm = ARMS[run.arm]
    reads = arm.control is not None or arm.widened  # the latter is built to the size of the enhanced model
    values = _results_only({name: v for name, v in config.final_config_dict.items() if name != "llmrg"})
    sections = {"training": ours.training, "evaluation": ours.evaluation}
    read: dict[str, Any] = {name: section.model_dump(mode="json") for name, section in sections.items()}
    if reads:
        read |= {"encoder": ours.encoder.model_dump(mode="json"), "components": ours.text.components}
    return {
        "config": {str(name): _plain(value) for name, value in values.items()},
        "llmrg": read,
        "widened": arm.widened,
        "size_of": None if run.size_of is None else _plain(_results_only(run.size_of)),
        "data": _data_hash(Path(config["data_path"]), run.dataset, tuple(config["load_col"] or _PARTS)),
        "graphs": None if run.graphs is None else load_arrays(Path(run.graphs)).fingerprint,
        "threads": run.threads,
        "versions": {name: version(name) for name in (*PACKAGES, *(_GRAPH_PACKAGES if reads else ()))},
        "code": code_fingerprint(wrapped=reads),
        "model": own_code(config.model_class),
    }


def _results_only(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in NOT_RESULTS and name != "seed"}


def own_code(model: type[Any]) -> dict[str, str]:
    """The code of a model's classes that are somebody's own, such as one given to ``llmrg.register``.

    Of a class in a file: the whole file, and in a package those beside it, where its layers may be; of any class: its
    methods. Comments and docstrings of files count for nothing.
    """
    found: dict[str, str] = {}
    for part in model.__mro__:
        if part.__module__.partition(".")[0] in _NOT_OWN:
            continue
        module = sys.modules.get(part.__module__)
        file = getattr(module, "__file__", None)
        if module is not None and file is not None:
            place = Path(file)
            for path in sorted(place.parent.glob("*.py")) if module.__package__ else [place]:
                found[path.name] = _code(path)
        for name, value in vars(part).items():
            if isinstance(value, FunctionType):
                try:
                    found[f"{part.__qualname__}.{name}"] = inspect.getsource(value)
                except (OSError, TypeError):  # made by exec: its bytecode, which also knows its place
                    found[f"{part.__qualname__}.{name}"] = marshal.dumps(value.__code__).hex()
    return found


@functools.cache
def code_fingerprint(*, wrapped: bool) -> str:
    """Content hash of our own code that a run executes, docstrings, comments and layout left out."""
    rooms = (*_WRAPPER, *_TRAINING) if wrapped else _TRAINING
    root = Path(__file__).parents[1]
    found: dict[str, str] = {}
    for room in rooms:
        for path in _sources(root / room):
            name = path.relative_to(root).as_posix()
            if path.name not in _NEITHER and (wrapped or path.name not in _ONLY_WRAPPED):
                found[name] = _code(path)
    return fingerprint(found)


def _code(path: Path) -> str:
    return ast.dump(without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree without strings that stand as statements."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                line
                for line in body
                if not (
                    isinstance(line, ast.Expr)
                    and isinstance(line.value, ast.Constant)
                    and isinstance(line.value.value, str)
                )
            ]
    return tree


def _sources(place: Path) -> Iterable[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _data_hash(folder: Path, dataset: str, parts: tuple[str, ...]) -> dict[str, str]:
    """One hash per atomic file; RecBole's data_path is the data set's own folder."""
    found = {}
    for part in parts:
        path = folder / f"{dataset}.{part}"
        if path.is_file():
            facts = path.stat()
            found[part] = _file_hash(path, facts.st_size, facts.st_mtime_ns)
    return found


@functools.lru_cache(maxsize=64)
def _file_hash(path: Path, size: int, modified: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return f"{ALGORITHM}:{digest.hexdigest()}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
