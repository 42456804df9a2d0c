"""Prepare data once, train one model, and take its per-user ranks.

Promise: model selection looks at validation only; the best weights are kept in memory (no pickle, no checkpoint
folder, no ``log/``); base and enhanced models go through the same lines; a seed decides everything random.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from llmrg.data.interactions import UserHistory
from llmrg.errors import DataError, DivergedError, ModelError
from llmrg.recbole_adapter.compatibility import host_ready, keep_freed_memory
from llmrg.recbole_adapter.configuration import SUFFIX, build_config, settings_of
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH, PrefixDataset, histories_of, train_targets
from llmrg.recbole_adapter.ranking import rank_targets
from llmrg.recbole_adapter.trainer import PrefixTrainer

# how RecBole's models refuse a setting
_REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class EpochProgress:
    """One finished epoch: 0-based number, seconds it trained, mean training loss, validation score."""

    epoch: int
    seconds: float
    loss: float
    score: float


@dataclass(frozen=True)
class Trained:
    """A trained model with its best weights loaded.

    Args:
        model: the RecBole model.
        curve: one entry a validation, which is every epoch unless ``eval_step`` says otherwise.
        epochs: epochs trained.
        best_epoch: 0-based epoch the weights come from.
        best_score: its validation score (``valid_metric``).
        seconds: whole training, validation included.
    """

    model: Any
    curve: tuple[EpochProgress, ...]
    epochs: int
    best_epoch: int
    best_score: float
    seconds: float

    @property
    def seconds_per_epoch(self) -> float:
        """Median training seconds of an epoch, without validation; 0 where nothing was validated."""
        return float(np.median([epoch.seconds for epoch in self.curve])) if self.curve else 0.0


@dataclass(frozen=True)
class HeldOut:
    """Targets of one part, in the order of its rows.

    Args:
        user_ids: external ids.
        histories: internal item ids of everything before each target.
        targets: internal item ids.
        times: when each target was taken, as RecBole holds times.
    """

    user_ids: list[str]
    histories: list[NDArray[np.int64]]
    targets: NDArray[np.int64]
    times: NDArray[np.float64]


@dataclass(frozen=True)
class Prepared:
    """A config with its data set and RecBole's three loaders; models are made from it."""

    config: Any
    dataset: PrefixDataset
    train: Any
    valid: Any
    test: Any

    def new_model(self) -> Any:
        """A fresh model on the config's device, initialised from the config's seed.

        Raises:
            ModelError: settings that RecBole's model cannot be built with, or one that cannot be enhanced.
            FingerprintError: graphs made from other histories, or with text vectors of another width.
        """
        _seed(self.config)
        try:
            return self.config.model_class(self.config, self.train.dataset).to(self.config["device"])
        except _REFUSALS as error:
            name = self.config["model"]
            raise ModelError(
                f"RecBole cannot build {name} with these settings: {type(error).__name__}: {error}"
            ) from error

    def histories(self) -> list[UserHistory]:
        """The histories behind the rows, up to the cut-off."""
        return histories_of(self.dataset, train_targets(self.train.dataset))

    def train_events(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Internal item ids and times of all interactions of the training part."""
        data = self.dataset
        inside = data.within(train_targets(self.train.dataset))
        return data.history_item[inside], data.history_time[inside]

    def train_sequences(self) -> list[NDArray[np.int64]]:
        """Internal item ids of every user's training part, in the order of ``dataset.history_user``."""
        lengths = train_targets(self.train.dataset)
        return [self.dataset.items_of(index)[:length] for index, length in enumerate(lengths)]


def prepare(
    model: str,
    dataset: str,
    *,
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
) -> Prepared:
    """Build config, data set and loaders for a base or enhanced model.

    Raises:
        SettingsError, DataError, ModelError: see :func:`~llmrg.recbole_adapter.configuration.build_config`.
    """
    host_ready()
    from recbole.data import data_preparation

    config = build_config(model, dataset, config_files=config_files, overrides=overrides)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # RecBole fills missing values in the old pandas way
            data = PrefixDataset(config)
            train, valid, test = data_preparation(config, data)
    except (ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise DataError(f"RecBole cannot read data set {dataset!r}: {error}") from error
    for part, rows in (("training", train), ("validation", valid), ("test", test)):
        if not len(rows._dataset):
            raise DataError(
                f"{dataset}: the split leaves no {part} row; histories are too short for it, or filtered away"
            )
    if max(config["topk"]) >= data.item_num:
        raise DataError(
            f"{dataset}: {data.item_num - 1} items are too few for topk {list(config['topk'])}; set a smaller one"
        )
    return Prepared(config, data, train, valid, test)


def fit(
    prepared: Prepared, model: Any, *, progress: Callable[[EpochProgress], None] | None = None
) -> Trained:
    """Train ``model`` until its validation score stops improving, and load its best weights.

    Args:
        prepared: config and loaders.
        model: made by :meth:`Prepared.new_model`.
        progress: called after every validation.

    Raises:
        DivergedError: the loss is no number.
    """
    keep_freed_memory()
    curve: list[EpochProgress] = []
    best: dict[str, Any] = {"score": -np.inf, "epoch": -1, "weights": None}
    with tempfile.TemporaryDirectory(prefix="llmrg-") as scratch:
        prepared.config["checkpoint_dir"] = scratch  # RecBole's Trainer insists on making one
        trainer = PrefixTrainer(prepared.config, model)

        def after_epoch(epoch: int, score: float) -> None:
            if score > best["score"]:
                weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
                best.update(score=score, epoch=epoch, weights=weights)
            entry = EpochProgress(
                epoch, trainer.epoch_seconds, float(trainer.train_loss_dict[epoch]), float(score)
            )
            curve.append(entry)
            if progress is not None:
                progress(entry)

        started = time.perf_counter()
        try:
            trainer.fit(prepared.train, prepared.valid, saved=False, verbose=False, callback_fn=after_epoch)
        except ValueError as error:
            if "nan" not in str(error):
                raise
            raise DivergedError(f"training diverged ({error}); lower the learning rate") from error
        seconds = time.perf_counter() - started
    if best["weights"] is not None:
        model.load_state_dict(best["weights"])
    epochs = len(trainer.train_loss_dict)
    return Trained(model, tuple(curve), epochs, int(best["epoch"]), float(best["score"]), seconds)


def epoch_seconds(prepared: Prepared, model: Any, *, budget: float) -> float:
    """Seconds that an epoch of training takes, from its first batches; the model is trained a little.

    Args:
        prepared: config and loaders.
        model: made by :meth:`Prepared.new_model`.
        budget: seconds to spend at most (one batch more).
    """
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="llmrg-") as scratch:
        prepared.config["checkpoint_dir"] = scratch
        trainer = PrefixTrainer(prepared.config, model)
    batches: Any = prepared.train if trainer.expanded else trainer.prefix_batches(prepared.train)
    model.train()
    steps: list[tuple[float, int]] = []  # seconds, targets
    with torch.autograd.set_detect_anomaly(False):
        for batch in batches:
            started = time.perf_counter()
            trainer.optimizer.zero_grad()
            if trainer.expanded:
                loss = model.calculate_loss(batch.to(model.device))
            else:
                loss = trainer.batch_loss(prepared.train, batch)
            loss.backward()
            trainer.optimizer.step()
            float(loss.detach())  # waits for the device
            steps.append((time.perf_counter() - started, len(batch)))
            if sum(seconds for seconds, _ in steps) > budget:
                break
    counted = steps[1:] or steps  # the first also pays for what is loaded once
    return (
        len(prepared.train.dataset)
        * sum(seconds for seconds, _ in counted)
        / sum(size for _, size in counted)
    )


def test_ranks(prepared: Prepared, model: Any) -> tuple[list[str], NDArray[np.float64]]:
    """External user ids and 1-based ranks [users] of the test targets, as ``llmrg.evaluation.keep_seen`` says."""
    users, ranks = rank_targets(model, prepared.test)
    return users, ranks.of(settings_of(prepared.config).evaluation.keep_seen)


def held_out(prepared: Prepared, part: Literal["valid", "test"]) -> HeldOut:
    """The targets of one part, and everything before each of them."""
    data = prepared.dataset
    rows = getattr(prepared, part)._dataset.inter_feat
    tokens = data.field2id_token[data.uid_field]
    place = {int(user): index for index, user in enumerate(data.history_user)}
    users = [place[int(user)] for user in rows[data.uid_field].numpy()]
    prefixes = rows[PREFIX_LENGTH].numpy()
    return HeldOut(
        user_ids=[str(tokens[data.history_user[user]]) for user in users],
        histories=[data.items_of(user)[:prefix] for user, prefix in zip(users, prefixes, strict=True)],
        targets=rows[data.iid_field].numpy(),
        times=data.history_time[data.history_offset[users] + prefixes],
    )


def device_name(config: Any) -> str:
    """What a config trains on: ``CPU``, or the name of the accelerator."""
    device = torch.device(config["device"])
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def num_parameters(model: Any) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def enhanced_name(base: str) -> str:
    """``SASRec`` → ``SASRecLLMRG``."""
    return base if base.endswith(SUFFIX) else base + SUFFIX


def _seed(config: Any) -> None:
    """RecBole initialises models from the global generators: seed them where a model is made, nowhere else."""
    from recbole.utils import init_seed

    init_seed(config["seed"], config["reproducibility"])
