"""RecBole's ``run_recbole`` and ``load_data_and_model``, with the names and defaults that llmrg adds.

RecBole's own functions work after ``llmrg.register()`` too, where the environment lets them: they import ray, they
find a model's defaults by its class name (which an enhanced name changes), and from torch 2.6 on their checkpoints,
which are pickles, are refused. These two hand over to them and see to all three.

Promise: what the environment lacks is said in one sentence, with what to install; no pickle is run that was not
written in the same call, unless the caller says that it is trusted.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrg.errors import ModelError, StoreError
from llmrg.recbole_adapter.compatibility import argv_hidden, host_ready, trusting_pickles
from llmrg.recbole_adapter.configuration import SUFFIX, default_files
from llmrg.recbole_adapter.registration import register


def run_recbole(
    model: str,
    dataset: str,
    config_file_list: Sequence[str | Path] = (),
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """RecBole's ``run_recbole``: train and test one model, with RecBole's log, checkpoint and rounded metrics.

    Args:
        model: a RecBole name, ``CL4SRec``, ``DuoRec``, or an enhanced name such as ``SASRecLLMRG``.
        dataset: its name.
        config_file_list: yaml files, read after the shipped defaults.
        config_dict: single settings, read last; ``llmrg`` whole, not merged (RecBole merges flat keys alone).
        saved: write a checkpoint, and test its best epoch.

    Raises:
        ModelError: RecBole's quick start cannot be imported; says what to install.
    """
    host = _host()
    files = [*default_files(model.removesuffix(SUFFIX), dataset), *config_file_list]
    with argv_hidden(), trusting_pickles():  # it loads nothing but the checkpoint it wrote
        result: dict[str, Any] = host.run_recbole(
            model=model,
            dataset=dataset,
            config_file_list=[str(path) for path in files],
            config_dict=dict(config_dict or {}),
            saved=saved,
        )
    return result


def load_data_and_model(model_file: str | Path, *, trusted: bool = False) -> tuple[Any, ...]:
    """RecBole's ``load_data_and_model``: config, model, dataset and the three loaders of a RecBole checkpoint.

    Args:
        model_file: a ``.pth`` file that RecBole wrote. It is a pickle, which can run anything.
        trusted: you know who wrote it.

    Raises:
        ModelError: RecBole's quick start cannot be imported; says what to install.
        StoreError: no such file, or a pickle that torch refuses because it is not ``trusted``.
    """
    host = _host()
    if not Path(model_file).is_file():
        raise StoreError(f"checkpoint {model_file} does not exist")
    try:
        if not trusted:
            loaded: tuple[Any, ...] = host.load_data_and_model(str(model_file))
            return loaded
        with trusting_pickles():
            loaded = host.load_data_and_model(str(model_file))
            return loaded
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"checkpoint {model_file} is a pickle, which torch 2.6 and newer refuse to run; if you trust who wrote it, "
            "pass trusted=True (or: pip install 'torch<2.6'); llmrg.save_checkpoint writes files without pickle"
        ) from error


def _host() -> Any:
    """``recbole.quick_start``, which imports ray."""
    host_ready()
    register()
    try:
        import recbole.quick_start as host
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"recbole.quick_start cannot be imported ({error}); it needs ray, and that pkg_resources: "
            "pip install 'ray==2.6.3' 'setuptools<81' (Python 3.12: pip install recbole==1.2.0, which needs no ray). "
            "llmrg.compare and `llmrg train` need neither"
        ) from error
    return host
