"""RecBole's Config, built strictly: known keys only, shipped defaults, no side effects.

Promise: an unknown key is refused with the nearest known one instead of being accepted in silence; a base model
and its enhanced form read the same files (everything of ours lies under the one nested key ``llmrg:``); an
enhanced name keeps the defaults of its base, although RecBole looks them up by class name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmrg.config_files import MergedConfig, merge_configs, read_yaml, shipped_configs
from llmrg.data.atomic_files import data_folder, find_dataset
from llmrg.data.cutoff import cutoff_of
from llmrg.errors import DataError, ModelError, SettingsError
from llmrg.recbole_adapter.base_models import check_trainable
from llmrg.recbole_adapter.compatibility import argv_hidden, host_ready, visible_gpus
from llmrg.settings import LlmrgSettings

SUFFIX = "LLMRG"  # SASRec → SASRecLLMRG

OWN_DEFAULTS: dict[str, dict[str, Any]] = {}
"""Settings of models that their authors registered (``llmrg.register(MyModel, defaults=…)``)."""

# Read by a model although its shipped yaml does not name them.
_UNLISTED_OF_MODEL = {"FEARec": frozenset({"contrast", "tau", "sim", "use_filter"})}

# Read by RecBole (or set by its own Config) although no shipped yaml or argument list names them.
_UNLISTED_KEYS = frozenset(
    {"model", "dataset", "llmrg", "additional_feat_suffix", "alias_of_user_id", "alias_of_item_id"}
    | {
        "numerical_features",
        "discretization",
        "kg_reverse_r",
        "wandb_project",
        "log_wandb",
        "benchmark_filename",
    }
    | {
        "single_spec",
        "local_rank",
        "nproc",
        "world_size",
        "offset",
        "ip",
        "port",
        "callback_fn",
        "val_interval",
    }
)

_WHOLE = ("train_batch_size", "eval_batch_size", "epochs", "eval_step", "stopping_step", "seed")
_NUMBERS = ("learning_rate", "weight_decay", *_WHOLE)


def build_config(
    model: str,
    dataset: str,
    *,
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    needs_data: bool = True,
) -> Any:
    """A ``recbole.config.Config`` for a base or enhanced model.

    Files are merged in this order, later wins: RecBole's own defaults of the base model, the shipped
    ``<Base>.yaml``, ``sequential.yaml`` (one protocol for all data sets), ``<dataset>.yaml`` and ``graph.yaml``
    (where they exist), ``config_files``, ``overrides``. Item columns that ``selected_features`` names are loaded.

    Args:
        model: a RecBole name (``SASRec``) or its enhanced form (``SASRecLLMRG``).
        dataset: a dataset name; atomic files are looked for in ``data_path`` (or ``$LLMRG_DATA``).
        config_files: RecBole yaml files, ours under the nested key ``llmrg:``.
        overrides: single keys; ``llmrg`` may be a nested mapping, merged section by section.
        needs_data: whether the data set must lie where the settings say.

    Raises:
        SettingsError: an unknown key, an unreadable file, an impossible setting of ours, sampled evaluation, or half
            precision for an enhanced model.
        ModelError: a model RecBole does not know, or that cannot be trained here.
        DataError: no atomic files for ``dataset``.
    """
    host_ready()
    from recbole.config import Config

    base = model.removesuffix(SUFFIX)
    files = [*default_files(base, dataset), *config_files]
    merged = merge_configs(files, overrides)
    _check_keys(merged, base, dataset)
    _check_numbers(merged.values)
    cutoff_of(merged.values.get("eval_args"))
    refuse_samples(merged.values.get("eval_args"))
    refuse_half(model, merged.values.get("enable_amp"))
    values = {**OWN_DEFAULTS.get(base, {}), **merged.values, "llmrg": merged.settings.model_dump(mode="json")}
    found = _model_class(model)
    check_trainable(model)
    if _is_pairwise(found, values) and not values.get("train_neg_sample_args"):
        values["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 1}  # RecBole's default
    folder = None
    if needs_data:
        values.setdefault("data_path", str(data_folder()))
        folder = find_dataset(Path(str(values["data_path"])), dataset)
        _load_features(values, folder / f"{dataset}.item")
    with argv_hidden():
        try:
            config = Config(model=found, dataset=dataset, config_dict=visible_gpus() | values)
        except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
            raise SettingsError(
                f"RecBole refuses the configuration of {model} on {dataset}: {error}"
            ) from error
    _check_metrics(config)
    if folder is not None:
        config["data_path"] = str(folder)  # else RecBole reads the ml-100k of its wheel, whatever is there
    return config


def default_files(base: str, dataset: str) -> list[Path]:
    """RecBole's defaults of ``base`` and ours, in the order in which they are merged."""
    return [*_host_defaults(base), *shipped_configs(base, "sequential", dataset, "graph")]


def settings_of(config: Any) -> LlmrgSettings:
    """Our settings as carried by a RecBole Config.

    Raises:
        SettingsError: the ``llmrg:`` key holds an unknown name.
    """
    return LlmrgSettings.parse(config["llmrg"])


def refuse_samples(eval_args: Mapping[str, Any] | None) -> None:
    """Refuse an evaluation over a sample of items.

    Raises:
        SettingsError: a ``mode`` other than ``full``.
    """
    mode = (eval_args or {}).get("mode", "full")
    for asked in mode.values() if isinstance(mode, Mapping) else [mode]:
        if asked != "full":
            raise SettingsError(
                f"eval_args: mode {asked!r} ranks a sample of items, which orders models differently than all items do "
                "(Krichene and Rendle, KDD 2020); set mode: full",
                name="eval_args",
            )


def refuse_half(model: str, asked: Any) -> None:
    """Refuse half precision for an enhanced model.

    Raises:
        SettingsError: ``enable_amp`` is set.
    """
    if asked and model.endswith(SUFFIX):
        raise SettingsError(
            f"enable_amp: {model} reads its graphs in single precision only; leave enable_amp out",
            name="enable_amp",
        )


def _model_class(name: str) -> Any:
    from recbole.utils import ModelType, get_model

    from llmrg.recbole_adapter.registration import register

    register()
    try:
        found = get_model(name)
    except (ValueError, AttributeError, ModuleNotFoundError) as error:
        raise ModelError(
            f"RecBole knows no model {name!r}; expected a RecBole sequential model such as SASRec or GRU4Rec, "
            f"or its enhanced form, such as SASRec{SUFFIX}"
        ) from error
    if found.type != ModelType.SEQUENTIAL:
        raise ModelError(
            f"{name} is no sequential recommender: it does not read a user's items in their order"
        )
    return found


def _is_pairwise(model: Any, values: Mapping[str, Any]) -> bool:
    """Whether a model learns from negatives; the shipped protocol draws none, for cross-entropy."""
    from recbole.utils import InputType

    always = getattr(model, "input_type", None) == InputType.PAIRWISE  # unless its loss can be chosen
    return bool(values.get("loss_type", "BPR" if always else None) == "BPR")


def _properties() -> Path:
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("recbole is not installed; run: pip install recbole==1.2.1")
    return Path(next(iter(spec.submodule_search_locations))) / "properties"


def _host_defaults(base: str) -> list[Path]:
    path = _properties() / "model" / f"{base}.yaml"
    return [path] if path.is_file() else []


def _known_keys(base: str, dataset: str) -> set[str]:
    from recbole.utils.argument_list import (
        dataset_arguments,
        evaluation_arguments,
        general_arguments,
        training_arguments,
    )

    known = {
        *general_arguments,
        *training_arguments,
        *evaluation_arguments,
        *dataset_arguments,
        *_UNLISTED_KEYS,
        *_UNLISTED_OF_MODEL.get(base, ()),
        *OWN_DEFAULTS.get(base, ()),
    }
    for path in shipped_configs(base):
        known |= set(read_yaml(path))
    properties = _properties()
    for relative in ("overall", "dataset/sample", f"dataset/{dataset}", f"model/{base}"):
        path = properties / f"{relative}.yaml"
        if path.is_file():
            known |= set(read_yaml(path))
    return known


def _check_keys(merged: MergedConfig, base: str, dataset: str) -> None:
    known = _known_keys(base, dataset)
    for name, source in merged.sources.items():
        if name not in known:
            raise SettingsError.unknown(name, known, where=source)


def _check_numbers(values: Mapping[str, Any]) -> None:
    """RecBole takes anything here, and stumbles over it when it trains."""
    for name in _NUMBERS:
        value = values.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**32:
            raise SettingsError(f"{name}: expected a number from 0 up to 2**32, found {value!r}", name=name)
        if name in _WHOLE and value != int(value):
            raise SettingsError(f"{name}: expected a whole number, found {value!r}", name=name)
    longest = values.get("MAX_ITEM_LIST_LENGTH", 1)
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise SettingsError(
            f"MAX_ITEM_LIST_LENGTH: expected 1 or more, found {longest!r}", name="MAX_ITEM_LIST_LENGTH"
        )


def _check_metrics(config: Any) -> None:
    """RecBole computes ``metrics`` at ``topk``, and looks ``valid_metric`` up among them after the first epoch."""
    cutoffs, metrics = (
        one if isinstance(one, list) else [one] for one in (config["topk"], config["metrics"])
    )
    if not cutoffs or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in cutoffs):
        raise SettingsError(f"topk: expected whole numbers from 1 on, found {config['topk']!r}", name="topk")
    known = [f"{metric}@{k}".lower() for metric in metrics for k in cutoffs]
    chosen = str(config["valid_metric"])
    if not config["valid_metric_bigger"]:
        raise SettingsError(
            f"valid_metric: expected one of which more is better, found {chosen}", name="valid_metric"
        )
    if chosen.lower() not in known:
        raise SettingsError(
            f"valid_metric: expected one of metrics at one of topk ({', '.join(known)}), found {chosen}",
            name="valid_metric",
        )


def _load_features(values: dict[str, Any], path: Path) -> None:
    """Item columns that a model selects are loaded, whatever ``load_col`` says of the others."""
    features, columns = values.get("selected_features"), values.get("load_col")
    if not features or not isinstance(columns, dict):
        return
    item_id = str(values.get("ITEM_ID_FIELD", "item_id"))
    item = list(columns.get("item") or [item_id])
    values["load_col"] = {**columns, "item": [*item, *(name for name in features if name not in item)]}
    header = path.open(encoding="utf-8", errors="replace").readline().split("\t") if path.is_file() else []
    known = [name.split(":")[0].strip() for name in header]
    if missing := [name for name in features if name not in known]:
        raise DataError(
            f"selected_features names {missing}, which {path} does not have; it has "
            f"{[name for name in known if name != item_id]}: set selected_features to some of them, or choose a model "
            "without item features"
        )
