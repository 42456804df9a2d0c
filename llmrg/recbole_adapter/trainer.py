"""RecBole's Trainer with an epoch that visits every prefix in one pass, and a validation without most of the padding.

Promise: early stopping, optimiser, clipping and metrics are RecBole's; what a seed deals, base and enhanced models get
alike.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.clip_grad import clip_grad_norm_

from llmrg.errors import ModelError, SettingsError
from llmrg.recbole_adapter.base_models import check_causal, traits_of
from llmrg.recbole_adapter.compatibility import host_ready, trusting_pickles, without_tensorboard
from llmrg.recbole_adapter.configuration import refuse_half, refuse_samples, settings_of
from llmrg.recbole_adapter.prefix_training import PrefixBatch, PrefixWindows, prefix_loss
from llmrg.recbole_adapter.ranking import scores_of_all
from llmrg.recbole_adapter.sampled_softmax import SETTING, CandidateSampler, check_sampled

host_ready()

from recbole.trainer import Trainer  # noqa: E402


class PrefixTrainer(Trainer):  # type: ignore[misc]
    """RecBole's Trainer (early stopping, validation, optimiser) with a prefix-parallel epoch.

    ``train_batch_size`` counts targets on both paths; here a step takes whole users until it is reached.

    With ``llmrg.training.path: expanded``, or ``auto`` and a base model that is not causal, an epoch is RecBole's own,
    row by row.

    Raises:
        ModelError: ``path: prefix`` for a model that is not causal, or in one of several processes.
        SettingsError: ``sampled_softmax`` where it does not apply; ``keep_seen: False`` with a sample of items to rank;
            ``enable_amp`` for an enhanced model.
    """

    def __init__(self, config: Any, model: Any) -> None:
        refuse_half(type(model).__name__, config["enable_amp"])
        with without_tensorboard():
            super().__init__(config, model)
        self.settings = settings_of(config).training
        self.keep_seen = settings_of(config).evaluation.keep_seen
        self.generator = torch.Generator().manual_seed(int(config["seed"]))
        self._deck: tuple[PrefixWindows, CandidateSampler | None] | None = None
        self.epoch_seconds = 0.0
        self._evaluated: Any = None
        if not self.keep_seen:
            refuse_samples(config["eval_args"])
        together = bool(config["single_spec"])  # RecBole hands a process its share of rows, not of histories
        if self.settings.path == "prefix":
            check_causal(model)
            if not together:
                raise ModelError(
                    "several processes train RecBole's rows, not all prefixes in one pass; set llmrg.training.path: "
                    "expanded (or auto)"
                )
        self.expanded = self.settings.path == "expanded" or not traits_of(model).causal or not together
        if not self.expanded:
            _refuse_unread(config)
        if self.settings.sampled_softmax is not None:
            if self.expanded:
                raise SettingsError(
                    f"{SETTING} is for models and settings that train all prefixes in one pass; "
                    f"{type(model).__name__} trains RecBole's rows here (llmrg.training.path)",
                    name=SETTING,
                )
            check_sampled(model)

    def evaluate(
        self, eval_data: Any, load_best_model: bool = True, model_file: Any = None, **kwargs: Any
    ) -> Any:
        """RecBole's evaluation; the checkpoint this trainer wrote itself is loaded on any torch."""
        if eval_data:  # else RecBole's returns nothing
            self._evaluated = eval_data._dataset
        own = load_best_model and model_file is None
        with trusting_pickles() if own else contextlib.nullcontext():
            return super().evaluate(
                eval_data, load_best_model=load_best_model, model_file=model_file, **kwargs
            )

    def _full_sort_batch_eval(self, batched_data: Any) -> tuple[Any, Tensor, Any, Any]:
        """RecBole's, with the scores computed without most of the padding, and seen items left out where asked."""
        interaction, history, positive_user, positive_item = batched_data
        scores = scores_of_all(self.model, interaction.to(self.device))
        scores[:, 0] = -torch.inf
        if history is not None:
            scores[history] = -torch.inf
        if not self.keep_seen:
            scores[self._evaluated.seen_before(interaction)] = -torch.inf
        return interaction, scores, positive_user, positive_item

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> float:
        started = time.perf_counter()
        # importing RecBole's models switches autograd's anomaly detection on (sine.py), a third of a step's time
        with torch.autograd.set_detect_anomaly(False):
            if self.expanded:
                loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress) / len(train_data)
            else:
                loss = self._prefix_epoch(train_data)
        self.epoch_seconds = time.perf_counter() - started
        return float(loss)

    def _prefix_epoch(self, train_data: Any) -> float:
        self.model.train()
        total = torch.zeros((), device=self.device)
        targets = 0
        for batch in self.prefix_batches(train_data):
            self.optimizer.zero_grad()
            loss = self.batch_loss(train_data, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.clip_grad_norm:
                clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
            self.optimizer.step()
            total += loss.detach() * len(batch)
            targets += len(batch)
        mean = total / targets
        self._check_nan(mean)
        return float(mean)

    def prefix_batches(self, train_data: Any) -> Iterator[PrefixBatch]:
        """One epoch of the prefix path."""
        return self._dealt(train_data)[0].batches(self.generator)

    def batch_loss(self, train_data: Any, batch: PrefixBatch) -> Tensor:
        """The loss over one batch of the prefix path."""
        sampler = self._dealt(train_data)[1]
        candidates = (
            None
            if sampler is None
            else sampler.draw(batch.target, batch.user, self.generator).to(self.device)
        )
        moved = PrefixBatch(*(part.to(self.device) for part in vars(batch).values()))
        negatives = self._negatives(train_data, moved)
        return prefix_loss(self.model, moved, negatives=negatives, candidates=candidates)

    def _dealt(self, train_data: Any) -> tuple[PrefixWindows, CandidateSampler | None]:
        if self._deck is None:
            windows = PrefixWindows.from_config(self.config, train_data.dataset)
            drawn = self.settings.sampled_softmax
            sampler = None if drawn is None else CandidateSampler(windows.target_counts(), drawn)
            self._deck = windows, sampler
        return self._deck

    def _negatives(self, train_data: Any, batch: PrefixBatch) -> Tensor | None:
        """Uniform negatives for pairwise losses, as RecBole's sampler draws them: never the target itself."""
        if self.config["loss_type"] != "BPR":
            return None
        num_items = train_data.dataset.item_num
        drawn = torch.randint(1, num_items - 1, batch.target.shape, generator=self.generator).to(self.device)
        return drawn + (drawn >= batch.target).long()


def _refuse_unread(config: Any) -> None:
    """Settings of RecBole's own epoch that one pass over all prefixes does not follow."""
    drawn = config["train_neg_sample_args"] or {}
    uniform = {"distribution": "uniform", "sample_num": 1, "dynamic": False}
    for name, asked in (("enable_amp", config["enable_amp"]), ("enable_scaler", config["enable_scaler"])):
        if asked:
            raise SettingsError(
                f"{name}: one pass over all prefixes does not; set llmrg.training.path: expanded", name=name
            )
    if config["loss_type"] == "BPR" and any(
        drawn.get(name, value) != value for name, value in uniform.items()
    ):
        raise SettingsError(
            f"train_neg_sample_args: one pass over all prefixes draws one even negative a target, found {drawn}; set "
            "llmrg.training.path: expanded",
            name="train_neg_sample_args",
        )
