"""One run of a comparison: one arm of one model on one data set with one seed.

Promise: a run depends on its :class:`Run` and on the files it names, and on nothing else; which process trains it
changes no bit. A trial of the search ranks validation targets only and never looks at the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from llmrg.errors import DivergedError, SettingsError
from llmrg.evaluation.metrics import HEADLINE_METRIC
from llmrg.evaluation.runs import CurvePoint, RunResult
from llmrg.experiment.arms import ARMS, merged


@dataclass(frozen=True)
class Run:
    """One model to train.

    Args:
        model: base model.
        arm: see :data:`~llmrg.experiment.arms.ARMS`.
        dataset: data set name.
        seed: of initialisation, batches and dropout.
        config_files: RecBole yaml files.
        overrides: single keys, ``llmrg`` nested.
        graphs: folder of graph arrays; None for arms that read none.
        threads: torch threads; they change the last bits of sums, so they belong to the run.
        part: whose targets are ranked; ``valid`` for trials of a search.
        trial: number of the trial, for its name.
        size_of: for a widened model, the overrides of the enhanced one whose size it gets; None: its own overrides.
    """

    model: str
    arm: str
    dataset: str
    seed: int
    config_files: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    graphs: str | None = None
    threads: int | None = None
    part: Literal["test", "valid"] = "test"
    trial: int | None = None
    size_of: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """For logs: ``SASRec/enhanced on ml-100k, seed 2020``."""
        trial = "" if self.trial is None else f", trial {self.trial}"
        return f"{self.model}/{self.arm} on {self.dataset}, seed {self.seed}{trial}"

    @property
    def recbole_model(self) -> str:
        """The class it trains, such as ``SASRecLLMRG``."""
        from llmrg.recbole_adapter.training import enhanced_name

        return self.model if ARMS[self.arm].control is None else enhanced_name(self.model)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything it overrides, its seed and arm included."""
        arm = ARMS[self.arm]
        ours: dict[str, Any] = dict(arm.settings)
        if arm.control is not None:
            ours |= {"graphs": self.graphs, "control": arm.control}
        return merged({**self.overrides, "seed": self.seed}, ours)


@dataclass(frozen=True)
class RunProgress:
    """One finished epoch of one run: 1-based epoch, seconds it trained, loss, validation score."""

    run: str
    epoch: int
    epochs: int
    seconds: float
    loss: float
    score: float


def check_selection(config: Any) -> None:
    """Refuse settings by which an epoch is chosen otherwise than every report says: by NDCG@10 on validation.

    Args:
        config: of RecBole.

    Raises:
        SettingsError: another ``valid_metric``, or no validation (``eval_step: 0``).
    """
    metric = str(config["valid_metric"])
    if metric.lower() != HEADLINE_METRIC:
        raise SettingsError(
            f"valid_metric: a comparison chooses epochs by NDCG@10, found {metric}", name="valid_metric"
        )
    if int(config["eval_step"]) < 1:
        raise SettingsError(
            "eval_step: 0 never validates, and a comparison chooses epochs on validation", name="eval_step"
        )


def run_one(run: Run, progress: Callable[[RunProgress], None] | None = None) -> RunResult:
    """Train and rank one arm.

    Args:
        run: what to train.
        progress: called after every epoch.

    Raises:
        SettingsError: see :func:`check_selection`.
        DivergedError: training diverged; a trial of a search ranks all its targets last instead.
    """
    import torch

    from llmrg.recbole_adapter.configuration import settings_of
    from llmrg.recbole_adapter.ranking import rank_targets
    from llmrg.recbole_adapter.training import fit, held_out, num_parameters, prepare
    from llmrg.recbole_adapter.widening import widen

    if run.threads is not None:
        torch.set_num_threads(run.threads)
    settings = run.settings
    prepared = prepare(run.recbole_model, run.dataset, config_files=run.config_files, overrides=settings)
    check_selection(prepared.config)
    if ARMS[run.arm].widened:
        prepared = widen(
            prepared,
            run.model,
            run.dataset,
            config_files=run.config_files,
            overrides=settings,
            size_of=run.size_of,
        )
    model = prepared.new_model()
    epochs = int(prepared.config["epochs"])
    keep_seen = settings_of(prepared.config).evaluation.keep_seen
    result = partial(
        RunResult, arm=run.arm, model=run.model, dataset=run.dataset, seed=run.seed, keep_seen=keep_seen
    )
    try:
        trained = fit(
            prepared,
            model,
            progress=None
            if progress is None
            else lambda e: progress(RunProgress(run.name, e.epoch + 1, epochs, e.seconds, e.loss, e.score)),
        )
        users, ranks = rank_targets(model, prepared.valid if run.part == "valid" else prepared.test)
    except DivergedError:
        if run.trial is None:
            raise
        users = held_out(prepared, run.part).user_ids
        return result(user_ids=tuple(users), ranks=np.full(len(users), prepared.dataset.item_num - 1.0))
    elapsed = 0.0
    curve = []
    for entry in trained.curve:
        elapsed += entry.seconds
        curve.append(CurvePoint(entry.epoch + 1, elapsed, entry.loss, entry.score))
    return result(
        user_ids=tuple(users),
        ranks=ranks.of(keep_seen),
        other_ranks=ranks.of(not keep_seen),
        curve=tuple(curve),
        seconds=trained.seconds,
        parameters=num_parameters(model),
        epochs=trained.epochs,
        cut_off=trained.epochs >= epochs,
        best_epoch=trained.best_epoch + 1,
        graphs=ARMS[run.arm].reads,
    )
