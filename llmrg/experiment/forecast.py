"""How long a comparison will take: from earlier runs where there are any, else from a few batches of an epoch.

Promise: a forecast is said to be one, it says what it rests on, and making it takes seconds; nothing that it trains
is kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmrg.experiment.archive import RunArchive
from llmrg.experiment.arms import ARMS
from llmrg.experiment.comparison import Design
from llmrg.experiment.identity import family, run_key
from llmrg.experiment.runs import Run
from llmrg.experiment.search import plan_trials, search
from llmrg.fingerprint import fingerprint

CALIBRATION_SECONDS = 3.0
GUESSED_EPOCHS = 30
"""Epochs until early stopping, where no earlier run says; never more than the settings allow."""


@dataclass(frozen=True)
class Forecast:
    """What is left to do.

    Args:
        finished: runs found in the archive.
        waiting: runs still to train.
        seconds: of all processes together, as a guess.
        at_a_time: processes.
        threads: of each.
        measured: waiting runs whose guess rests on finished ones; the others rest on a calibration.
    """

    finished: int
    waiting: int
    seconds: float
    at_a_time: int
    threads: int
    measured: int

    @property
    def minutes(self) -> float:
        """Expected minutes on the clock."""
        return self.seconds / max(1, min(self.at_a_time, self.waiting)) / 60

    def __str__(self) -> str:
        if not self.waiting:
            return "everything is trained already"
        done = f"{self.finished} finished earlier, " if self.finished else ""
        batches = f"a few batches and at most {GUESSED_EPOCHS} epochs"
        if self.measured == self.waiting:
            basis = "earlier runs"
        else:
            basis = (
                f"earlier runs for {self.measured}, for the others {batches}" if self.measured else batches
            )
        about = f"{self.minutes:.0f} min" if self.minutes >= 1.5 else f"{60 * self.minutes:.0f} s"
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        each = f"{self.at_a_time} at a time with {threads} each"
        return f"{done}{self.waiting} to train, {each}: about {about} (guessed from {basis})"


@dataclass
class _Known:
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def of(self, family_key: str, arm: str) -> float | None:
        found = self.seconds.get((family_key, arm)) or self.seconds.get((family_key, ""))
        return sum(found) / len(found) if found else None


def forecast_plan(design: Design, trials: int = 0, archive: RunArchive | None = None) -> Forecast:
    """Guess how long a comparison will take, its search included.

    Args:
        design: what is compared.
        trials: of the search, for each of base and enhanced.
        archive: finished runs: those of the plan need no time, others of a family tell how long it takes.
    """
    runs: list[Run] = design.runs()
    unsettled: list[Run] = []
    if trials:
        searched = [run for run, _ in plan_trials(design, trials)]
        if archive is not None and all(archive.find(run_key(run)) is not None for run in searched):
            winners, _ = search(design, trials, archive=archive)  # reads them, and trains nothing
            runs = [*searched, *design.runs(winners)]
        else:
            runs, unsettled = searched, runs
    return forecast(
        runs, at_a_time=design.at_a_time, threads=design.threads, archive=archive, unsettled=unsettled
    )


def forecast(
    runs: Sequence[Run],
    *,
    at_a_time: int,
    threads: int = 1,
    archive: RunArchive | None = None,
    unsettled: Sequence[Run] = (),
) -> Forecast:
    """Guess how long runs will take.

    Args:
        runs: what is to be trained.
        at_a_time: processes that share them.
        threads: of each.
        archive: finished runs: those of the plan need no time, others of a family tell how long it takes.
        unsettled: runs whose settings a search has still to choose; counted as not yet trained.
    """
    known = _Known()
    for kept in archive.all() if archive is not None else ():
        for arm in (kept.result.arm, ""):
            known.seconds.setdefault((kept.family, arm), []).append(kept.result.seconds)
    waiting = [run for run in runs if archive is None or archive.find(run_key(run)) is None]
    finished = len(runs) - len(waiting)
    waiting += unsettled
    calibrated: dict[tuple[str, str, bool], float] = {}
    seconds, measured = 0.0, 0
    for run in waiting:
        earlier = known.of(fingerprint(family(run)), run.arm)
        if earlier is not None:
            measured += 1
            seconds += earlier
            continue
        kind = (run.dataset, run.model, ARMS[run.arm].control is not None)
        if kind not in calibrated:
            calibrated[kind] = _calibrate(run)
        seconds += calibrated[kind]
    return Forecast(finished, len(waiting), seconds, at_a_time, threads, measured)


def _calibrate(run: Run) -> float:
    import torch

    from llmrg.recbole_adapter.training import epoch_seconds, prepare

    if run.threads is not None:
        torch.set_num_threads(run.threads)
    started = time.perf_counter()
    prepared = prepare(run.recbole_model, run.dataset, config_files=run.config_files, overrides=run.settings)
    model = prepared.new_model()
    reading = time.perf_counter() - started
    each = epoch_seconds(prepared, model, budget=CALIBRATION_SECONDS)
    return reading + each * min(GUESSED_EPOCHS, int(prepared.config["epochs"]))
