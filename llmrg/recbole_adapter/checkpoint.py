"""Checkpoints without pickle: safetensors for weights, JSON for everything else.

Promise: loading runs no code from the file, rebuilds the same model in one call (:func:`load_checkpoint` with its
data set, to go on training or evaluating; :func:`load_model` without it, to recommend), and refuses weights or graphs
that belong to another catalogue, another recipe or another architecture with a message that says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from llmrg.config_files import merge_sections
from llmrg.data.atomic_files import DatasetFields, read_titles
from llmrg.errors import DataError, FingerprintError, StoreError
from llmrg.fingerprint import fingerprint_bytes, fingerprint_text
from llmrg.graph.arrays import GraphArrays, load_arrays
from llmrg.recbole_adapter.configuration import SUFFIX, build_config
from llmrg.recbole_adapter.enhanced import Enhanced
from llmrg.recbole_adapter.vocabulary import Vocabulary, VocabularyDataset

FORMAT = 3
DOCUMENT, VOCABULARY = "checkpoint.json", "vocabulary.json"
WEIGHTS, COLUMNS = "weights.safetensors", "item_columns.safetensors"
_PARTS: dict[str, type | UnionType] = {
    **dict.fromkeys(("model", "dataset", "items", "users"), str),
    **dict.fromkeys(("settings", "files"), dict),
    "graphs": dict | None,
}  # of the document


@dataclass(frozen=True)
class LoadedModel:
    """A model for recommending, without its data.

    Args:
        model: in evaluation mode; an enhanced one has no graphs attached yet.
        config: its RecBole Config.
        vocabulary: the ids its tables speak, and titles.
        graphs: the folder of graph arrays it was trained with, if any.
        origin: of those arrays.
    """

    model: Any
    config: Any
    vocabulary: Vocabulary
    graphs: Path | None
    origin: str


def save_checkpoint(folder: Path, model: Any, config: Any, dataset: Any) -> Path:
    """Write weights, settings and vocabulary into ``folder``.

    The graphs that an enhanced model is bound to are referred to by folder and origin, whatever lies there by now.

    Args:
        folder: made if absent.
        model: a trained model, base or enhanced.
        config: the RecBole Config it was built from.
        dataset: the dataset whose ids its tables speak.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # copies, because some models use one tensor under several names, which safetensors refuses
    weights = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    tensors = {WEIGHTS: save(weights)}
    settings = {key: value for key, value in config.external_config_dict.items() if _plain(value)}
    named, bound = settings["llmrg"]["graphs"], model.graphs if isinstance(model, Enhanced) else None
    graphs: dict[str, str] | None = None
    where: str | None = None
    if named is not None and bound is not None:
        arrays = bound.reasoning.arrays
        graphs = {"fingerprint": arrays.fingerprint, "origin": arrays.origin}
        where = _absolute(named)
    settings["llmrg"] = {**settings["llmrg"], "graphs": where}
    if settings.get("data_path"):
        settings["data_path"] = _absolute(settings["data_path"])
    vocabulary = Vocabulary.of(dataset, _titles(settings, config["dataset"]))
    words = {"items": vocabulary.items, "titles": vocabulary.titles, "users": vocabulary.users}
    (folder / VOCABULARY).write_text(json.dumps({**words, "kinds": dict(vocabulary.kinds)}), encoding="utf-8")
    (folder / COLUMNS).unlink(missing_ok=True)
    if vocabulary.columns:
        tensors[COLUMNS] = save(dict(vocabulary.columns))
    for name, data in tensors.items():
        (folder / name).write_bytes(data)
    document = {
        "format": FORMAT,
        "model": config["model"],
        "dataset": config["dataset"],
        "items": vocabulary.fingerprint,
        "users": fingerprint_text(vocabulary.users),
        "graphs": graphs,
        "settings": settings,
        "files": {name: fingerprint_bytes(data) for name, data in tensors.items()},
    }
    (folder / DOCUMENT).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    return folder


def load_checkpoint(folder: Path, *, overrides: Mapping[str, Any] | None = None) -> tuple[Any, Any, Any]:
    """Rebuild config, loaders and model, reading the data set anew.

    Args:
        folder: written by :func:`save_checkpoint`.
        overrides: settings instead of the saved ones, such as ``data_path`` or, under ``llmrg``, ``graphs``. Data that
            lie no longer where they did are also looked for in ``$LLMRG_DATA``.

    Returns:
        The RecBole Config, its (train, validation, test) loaders, and the model with its weights.

    Raises:
        StoreError: files missing, broken, or of another format, or no graph arrays where they should be.
        FingerprintError: the data set's items or users, or the graphs, are not those the weights were trained on.
        SettingsError, DataError, ModelError: see :func:`~llmrg.recbole_adapter.training.prepare`.
    """
    from llmrg.recbole_adapter.training import prepare

    document, weights = _read(folder)
    saved, name = document["settings"], document["dataset"]
    data_path = saved.get("data_path")
    if data_path and not (Path(data_path) / name / f"{name}.inter").is_file():
        saved = {key: value for key, value in saved.items() if key != "data_path"}
    given = dict(overrides or {})
    ours = dict(saved["llmrg"])
    merge_sections(ours, given.pop("llmrg", {}), where="overrides")
    if not document["model"].endswith(SUFFIX):
        ours["graphs"] = None  # which a configuration shared with enhanced models may name
    elif ours.get("graphs") is not None and document["graphs"] is not None:
        origin = str(document["graphs"].get("origin"))
        check_origin(load_arrays(Path(ours["graphs"])), origin, where=f"checkpoint {folder}")
    prepared = prepare(document["model"], name, overrides={**saved, **given, "llmrg": ours})
    dataset = prepared.train.dataset
    for words, field in (("items", dataset.iid_field), ("users", dataset.uid_field)):
        found = fingerprint_text(map(str, dataset.field2id_token[field]))
        if found != document[words]:
            raise FingerprintError(
                f"checkpoint {folder} was trained on other {words}", expected=document[words], found=found
            )
    model = prepared.new_model()
    _fill(model, weights, folder, document)
    return prepared.config, (prepared.train, prepared.valid, prepared.test), model


def load_model(folder: Path) -> LoadedModel:
    """Rebuild the model alone: what it needs of its data is in the checkpoint.

    Raises:
        StoreError: files missing, broken, of another format, or of different checkpoints.
        ModelError: a model that reads more of its data than a checkpoint holds.
    """
    document, weights = _read(folder)
    try:
        words = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        columns = _tensors(folder, COLUMNS, document) if words["kinds"] else {}
        items, users, titles = (tuple(map(str, words[name])) for name in ("items", "users", "titles"))
        kinds = {name: (str(kind), int(count)) for name, (kind, count) in words["kinds"].items()}
        vocabulary = Vocabulary(items, users, titles, columns, kinds)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"checkpoint {folder} cannot be read: {VOCABULARY}: {error}") from error
    if (vocabulary.fingerprint, fingerprint_text(vocabulary.users)) != (document["items"], document["users"]):
        raise StoreError(
            f"checkpoint {folder}: {VOCABULARY} belongs to another checkpoint than {DOCUMENT}; save it again"
        )
    settings = document["settings"]
    graphs = settings["llmrg"].get("graphs")
    unbound = {**settings, "llmrg": {**settings["llmrg"], "graphs": None}}
    config = build_config(document["model"], document["dataset"], overrides=unbound, needs_data=False)
    with torch.random.fork_rng():  # every number drawn here is overwritten below
        model = config.model_class(config, VocabularyDataset(vocabulary, config)).to(config["device"])
    _fill(model, weights, folder, document)
    origin = str((document["graphs"] or {}).get("origin", ""))
    return LoadedModel(model.eval(), config, vocabulary, Path(graphs) if graphs else None, origin)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"checkpoint {folder} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise StoreError(
            f"checkpoint {folder}: expected format {FORMAT}, found {found!r}; train with --out once more"
        )
    for name, kind in _PARTS.items():
        if not isinstance(document.get(name, ...), kind):
            raise StoreError(
                f"checkpoint {folder}: {DOCUMENT} has no sound {name!r}; train with --out once more"
            )
    if not isinstance(document["settings"].get("llmrg"), dict):
        raise StoreError(
            f"checkpoint {folder}: {DOCUMENT} has no settings of llmrg; train with --out once more"
        )
    return document, _tensors(folder, WEIGHTS, document)


def _tensors(folder: Path, name: str, document: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    try:
        data = (folder / name).read_bytes()
        expected = document["files"][name]
        found: dict[str, torch.Tensor] = load(data)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreError(f"checkpoint {folder} cannot be read: {name}: {error}") from error
    if fingerprint_bytes(data) != expected:
        raise StoreError(
            f"checkpoint {folder}: {name} is damaged, or belongs to another checkpoint than {DOCUMENT}; save it again"
        )
    return found


def _fill(model: Any, weights: dict[str, torch.Tensor], folder: Path, document: Mapping[str, Any]) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StoreError(f"checkpoint {folder} does not fit {document['model']}: {error}") from error


def check_origin(arrays: GraphArrays, origin: str, *, where: str) -> None:
    """Refuse graph arrays that are neither those a model was trained with nor an extension of them.

    Raises:
        FingerprintError: others.
    """
    if arrays.origin != origin:
        raise FingerprintError(
            f"{where} was trained with other graphs than lie in its folder now: they were made again since, so their "
            "words have other vectors; train again, or name the folder of the graphs it was trained with",
            expected=origin,
            found=arrays.origin,
        )


def _titles(settings: Mapping[str, Any], dataset: str) -> dict[str, str]:
    fields = DatasetFields(item_id=settings.get("ITEM_ID_FIELD", "item_id"))
    try:
        data_path = settings.get("data_path")
        return read_titles(Path(data_path) if data_path else None, dataset, fields)
    except DataError:
        return {}  # the model is what matters; its items then go by their ids


def _absolute(place: str) -> str:
    """A path that is found again from any working directory."""
    return str(Path(place).resolve())


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict | type(None))
