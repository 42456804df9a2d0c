"""A plain random search with the same number of trials for the base and for the enhanced model.

Promise: trial 0 is the settings as given; trial k of both arms draws the same values for the settings they share, and
the enhanced arm, for the same number of trials, its own ones besides. Trials are ranked by validation NDCG@10 and
never see the test part. Each is a run like any other, so finished ones are found again in the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from llmrg.evaluation.metrics import HEADLINE_METRIC, mean_of
from llmrg.evaluation.results import Trial
from llmrg.evaluation.runs import RunResult
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.arms import merged
from llmrg.experiment.comparison import Design
from llmrg.experiment.processes import Finished, train_all
from llmrg.experiment.runs import Run, RunProgress
from llmrg.fingerprint import seed_from

SHARED: Mapping[str, tuple[Any, ...]] = {
    "learning_rate": (3e-4, 5e-4, 1e-3, 2e-3, 3e-3),
    "train_batch_size": (512, 1024, 2048),
    "weight_decay": (0.0, 1e-6, 1e-5),
    "n_layers": (1, 2),
    "num_layers": (1, 2),
    "hidden_dropout_prob": (0.2, 0.3, 0.5),
    "attn_dropout_prob": (0.2, 0.3, 0.5),
    "dropout_prob": (0.2, 0.3, 0.5),
}
"""Settings of RecBole that both arms draw, as far as the model has them."""
GRAPH_ONLY: Mapping[str, tuple[Any, ...]] = {
    "width": (32, 64),
    "horizon": (5, 10, 20),
    "fusion": ("gated", "concat"),
}
"""Settings under ``llmrg.encoder`` that the enhanced arm draws besides."""
SEARCHED = ("base", "enhanced")


def trial_settings(number: int, arm: str, known: Sequence[str], *, seed: int) -> dict[str, Any]:
    """What one trial changes.

    Args:
        number: 0 changes nothing.
        arm: ``base`` or ``enhanced``.
        known: keys the model's configuration has.
        seed: of the search.

    >>> trial_settings(0, "base", ["learning_rate"], seed=1)
    {}
    """
    if number == 0:
        return {}
    chosen: dict[str, Any] = {
        name: _draw(values, seed, number, name) for name, values in SHARED.items() if name in known
    }
    if arm == "enhanced":
        drawn = {name: _draw(values, seed, number, name) for name, values in GRAPH_ONLY.items()}
        chosen = merged(chosen, {"encoder": drawn})
    return chosen


def plan_trials(design: Design, trials: int) -> list[tuple[Run, dict[str, Any]]]:
    """The runs of a search, with what each changes; the first seed of the design trains them all."""
    planned = []
    for source in design.sources:
        for model in dict.fromkeys(design.models):
            known = _known_keys(design, model, source.dataset)
            for arm in (arm for arm in SEARCHED if arm in design.arms):
                for number in range(trials):
                    settings = trial_settings(number, arm, known, seed=design.seeds[0])
                    run = design.run(model, source, arm, design.seeds[0], settings)
                    planned.append((replace(run, part="valid", trial=number), settings))
    return planned


def search(
    design: Design,
    trials: int,
    *,
    archive: RunArchive | None = None,
    progress: Callable[[RunProgress], None] | None = None,
    finished: Callable[[Finished], None] | None = None,
) -> tuple[dict[tuple[str, str, str], dict[str, Any]], tuple[Trial, ...]]:
    """Run every trial.

    Args:
        design: what is compared.
        trials: for each of base and enhanced, the settings as given among them.
        archive: finished runs.
        progress: called after every epoch of every trial.
        finished: called after every trial.

    Returns:
        (data set, model, arm) → the settings that won, and every trial for the report.
    """
    planned = plan_trials(design, trials)
    results: dict[str, RunResult] = {}
    runs = [run for run, _ in planned]
    for entry in train_all(runs, processes=design.at_a_time, archive=archive, progress=progress):
        results[entry.run.name] = entry.result
        if finished is not None:
            finished(entry)
    scores = {run.name: mean_of(HEADLINE_METRIC, results[run.name].ranks) for run in runs}
    best: dict[tuple[str, str, str], tuple[Run, dict[str, Any]]] = {}
    for run, settings in planned:
        names = (run.dataset, run.model, run.arm)
        if names not in best or scores[run.name] > scores[best[names][0].name]:
            best[names] = (run, settings)
    log = tuple(
        Trial(
            dataset=run.dataset,
            model=run.model,
            arm=run.arm,
            number=run.trial or 0,
            settings=_in_words(settings),
            score=scores[run.name],
            epochs=results[run.name].epochs,
            chosen=best[run.dataset, run.model, run.arm][0] is run,
        )
        for run, settings in planned
    )
    return {names: settings for names, (_, settings) in best.items()}, log


def _draw(values: Sequence[Any], seed: int, number: int, name: str) -> Any:
    # by name: a setting that a model lacks changes no draw of the others
    return values[int(np.random.default_rng(seed_from("search", seed, number, name)).integers(len(values)))]


def _known_keys(design: Design, model: str, dataset: str) -> list[str]:
    from llmrg.recbole_adapter.configuration import build_config

    config = build_config(model, dataset, config_files=design.config_files, overrides=dict(design.overrides))
    return [str(name) for name, value in config.final_config_dict.items() if value is not None]


def _in_words(settings: Mapping[str, Any]) -> dict[str, str]:
    words = {name: str(value) for name, value in settings.items() if name != "llmrg"}
    for section, values in settings.get("llmrg", {}).items():
        words |= {f"llmrg.{section}.{name}": str(value) for name, value in values.items()}
    return words
