"""A base model with as many parameters as its enhanced form: is the gain only size?

Promise: one width of the base model is raised, by the least that makes it as large as the enhanced model, and nothing
else changes. The width is the first of :data:`WIDTHS` that the model has: the inner width of feed-forward layers
where there are such layers (the item table and the states keep their size), else the width of the hidden layers, else
that of the item vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llmrg.errors import ModelError
from llmrg.recbole_adapter.configuration import build_config
from llmrg.recbole_adapter.training import Prepared, enhanced_name, num_parameters

WIDTHS = ("inner_size", "hidden_size", "embedding_size")
"""RecBole's names of widths, in the order they are tried."""
MOST_TIMES = 64  # a width that had to grow so often is not what holds the parameters


def widen(
    prepared: Prepared,
    model: str,
    dataset: str,
    *,
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    size_of: Mapping[str, Any] | None = None,
) -> Prepared:
    """The same data with a wider configuration.

    Args:
        prepared: of the base model.
        model: the base model's name.
        dataset: data set name.
        config_files: what ``prepared`` was made from.
        overrides: the same.
        size_of: overrides of the enhanced model whose size it gets; default: ``overrides``.

    Raises:
        ModelError: the model has none of the widths, or none of them adds parameters.
    """
    given = dict(overrides or {})

    def config_of(name: str, changes: Mapping[str, Any]) -> Any:
        config = build_config(name, dataset, config_files=config_files, overrides={**given, **changes})
        for key, value in prepared.config.final_config_dict.items():
            if key not in config.final_config_dict:
                config[key] = value  # what RecBole notes down while it reads the data, such as MASK_INDEX
        return config

    def count(config: Any) -> int:
        with torch.random.fork_rng():  # only counted, never trained
            return num_parameters(config.model_class(config, prepared.train.dataset))

    enhanced = dict(given if size_of is None else size_of)
    ours = {
        name: value for name, value in enhanced.get("llmrg", {}).items() if name not in ("graphs", "control")
    }
    target = count(config_of(enhanced_name(model), {**enhanced, "llmrg": ours}))
    before = count(prepared.config)
    for key in WIDTHS:
        width = prepared.config[key]
        if not isinstance(width, int):
            continue
        # attention splits the hidden width evenly between its heads
        step = int(prepared.config["n_heads"] or 1) if key == "hidden_size" else 1
        if count(config_of(model, {key: width + step})) <= before:
            continue
        found = _least(lambda n: count(config_of(model, {key: n})) >= target, width, step)  # noqa: B023
        if found is not None:
            return replace(prepared, config=config_of(model, {key: found}))
    raise ModelError(
        f"{model} cannot be made wider: it has none of {', '.join(WIDTHS)}, or none that adds parameters; leave "
        "the arm 'wider' out"
    )


def _least(enough: Callable[[int], bool], width: int, step: int) -> int | None:
    """The least width of ``width + k · step`` that is enough, by bisection; None if far too many were needed."""
    low, high = 0, 1
    while not enough(width + high * step):
        low, high = high, 2 * high
        if high * step > MOST_TIMES * width:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(width + middle * step) else (middle, high)
    return width + high * step
