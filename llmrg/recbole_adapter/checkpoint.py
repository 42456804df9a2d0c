"""Checkpoints without pickle: safetensors for weights, JSON for everything else.

Promise: loading runs no code from the file, rebuilds the same model in one call, and refuses weights that belong
to another catalogue or another architecture with a message that says which.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llmrg.errors import FingerprintError, StoreError
from llmrg.fingerprint import fingerprint_text

FORMAT = 1


def save_checkpoint(folder: Path, model: Any, config: Any, dataset: Any) -> Path:
    """Write ``weights.safetensors`` and ``checkpoint.json`` into ``folder``.

    Args:
        folder: made if absent.
        model: a trained model, base or enhanced.
        config: the RecBole Config it was built from.
        dataset: the dataset whose ids its tables speak.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    settings = {key: value for key, value in config.external_config_dict.items() if _plain(value)}
    if settings["llmrg"]["graphs"] is not None:  # found again from any working directory
        settings["llmrg"] = {**settings["llmrg"], "graphs": str(Path(settings["llmrg"]["graphs"]).resolve())}
    document = {
        "format": FORMAT,
        "model": config["model"],
        "dataset": config["dataset"],
        "items": _items(dataset),
        "settings": settings,
    }
    (folder / "checkpoint.json").write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    return folder


def load_checkpoint(folder: Path) -> tuple[Any, Any, Any]:
    """Rebuild config, loaders and model.

    Returns:
        The RecBole Config, its (train, validation, test) loaders, and the model with its weights.

    Raises:
        StoreError: files missing, broken, or of a newer format.
        FingerprintError: the data set's items are not those the weights were trained on.
    """
    from llmrg.recbole_adapter.training import prepare

    try:
        document = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"checkpoint {folder} cannot be read: {error}") from error
    if document.get("format") != FORMAT:
        raise StoreError(f"checkpoint {folder}: expected format {FORMAT}, found {document.get('format')!r}")
    prepared = prepare(document["model"], document["dataset"], overrides=document["settings"])
    found = _items(prepared.train.dataset)
    if found != document["items"]:
        raise FingerprintError(
            f"checkpoint {folder} was trained on other items", expected=document["items"], found=found
        )
    model = prepared.new_model()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise StoreError(f"checkpoint {folder} does not fit {document['model']}: {error}") from error
    return prepared.config, (prepared.train, prepared.valid, prepared.test), model


def _items(dataset: Any) -> str:
    return fingerprint_text(map(str, dataset.field2id_token[dataset.iid_field]))


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict | type(None))
