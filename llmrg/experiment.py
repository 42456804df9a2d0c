"""Comparison runs: the same model with and without graphs, and with the controls that could embarrass us.

Promise: every arm of a model shares settings, data, seeds, batches and stopping rule; what differs is what
:data:`ARMS` says and nothing else. Runs are independent of each other: how many processes share them changes no
figure.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from queue import Empty
from typing import Any

from llmrg.errors import SettingsError
from llmrg.evaluation.comparison import build_report
from llmrg.evaluation.results import ComparisonReport, Environment, GenerationCost
from llmrg.evaluation.runs import CurvePoint, RunResult
from llmrg.graph.arrays import load_arrays
from llmrg.graph.controls import neighbours_folder

ARMS: dict[str, str | None] = {
    "base": None,
    "enhanced": "none",
    "empty": "empty",
    "shuffled": "shuffled",
    "neighbours": "none",
    "text": "text",
    "sequence": "sequence",
}
"""Arm → what is done to the graphs; None: the base model, without our wrapper."""
NEIGHBOURS = "neighbours"  # reads graphs of its own, from the folder next to the others'

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One model to train.

    Args:
        model: base model.
        arm: see :data:`ARMS`.
        dataset: data set name.
        seed: of initialisation, batches and dropout.
        config_files: RecBole yaml files.
        overrides: single keys, ``llmrg`` nested.
        graphs: folder of graph arrays; None for arms that read none.
        threads: torch threads.
    """

    model: str
    arm: str
    dataset: str
    seed: int
    config_files: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    graphs: str | None = None
    threads: int | None = None

    @property
    def name(self) -> str:
        """For logs: ``SASRec/enhanced, seed 2020``."""
        return f"{self.model}/{self.arm}, seed {self.seed}"


@dataclass(frozen=True)
class RunProgress:
    """One finished epoch of one run: 1-based epoch, seconds it trained, loss, validation score."""

    run: str
    epoch: int
    epochs: int
    seconds: float
    loss: float
    score: float


def run_one(run: Run, progress: Callable[[RunProgress], None] | None = None) -> RunResult:
    """Train and rank one arm.

    Args:
        run: what to train.
        progress: called after every epoch.
    """
    import torch

    from llmrg.recbole_adapter.training import enhanced_name, fit, num_parameters, prepare, test_ranks

    if run.threads is not None:
        torch.set_num_threads(run.threads)
    control = ARMS[run.arm]
    overrides = {**run.overrides, "seed": run.seed}
    if control is not None:
        overrides["llmrg"] = {**overrides.get("llmrg", {}), "graphs": run.graphs, "control": control}
    prepared = prepare(
        run.model if control is None else enhanced_name(run.model),
        run.dataset,
        config_files=run.config_files,
        overrides=overrides,
    )
    model = prepared.new_model()
    epochs = int(prepared.config["epochs"])
    trained = fit(
        prepared,
        model,
        progress=None
        if progress is None
        else lambda e: progress(RunProgress(run.name, e.epoch + 1, epochs, e.seconds, e.loss, e.score)),
    )
    users, ranks = test_ranks(prepared, model)
    elapsed = 0.0
    curve = []
    for entry in trained.curve:
        elapsed += entry.seconds
        curve.append(CurvePoint(entry.epoch + 1, elapsed, entry.loss, entry.score))
    return RunResult(
        arm=run.arm,
        model=run.model,
        dataset=run.dataset,
        seed=run.seed,
        user_ids=tuple(users),
        ranks=ranks,
        curve=tuple(curve),
        seconds=trained.seconds,
        parameters=num_parameters(model),
        epochs=len(curve),
        best_epoch=trained.best_epoch + 1,
    )


def compare(
    models: Sequence[str],
    dataset: str,
    graphs: Path | None,
    *,
    arms: Sequence[str] = ("base", "enhanced", "empty", "shuffled"),
    seeds: Sequence[int] = (2020,),
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    workers: int | None = None,
    baselines: bool = True,
    costs: GenerationCost | None = None,
    command: str = "",
    progress: Callable[[RunProgress], None] | None = None,
    finished: Callable[[RunResult], None] | None = None,
) -> ComparisonReport:
    """Train every model × arm × seed and report on them together.

    Args:
        models: RecBole base models, such as ``SASRec``.
        dataset: data set name.
        graphs: folder of graph arrays (:func:`llmrg.assembly.make_graphs`); may be None for ``base`` only.
            ``neighbours`` reads the folder beside it (:func:`llmrg.assembly.make_neighbours`).
        arms: see :data:`ARMS`.
        seeds: one run each.
        config_files: RecBole yaml files, shared by all arms.
        overrides: single keys, shared by all arms.
        workers: processes; default: as many as cores, at most one a run.
        baselines: add the Popularity and ItemKNN rows.
        costs: what the graphs cost, for the report.
        command: the command line that repeats the comparison.
        progress: called after every epoch of every run.
        finished: called after every run.

    Raises:
        SettingsError: an unknown arm, no model, or an arm that needs graphs without any.
        StoreError: the graphs of an arm are not in their folder.
    """
    runs = _plan(models, dataset, graphs, arms, seeds, config_files, overrides or {})
    fingerprints = _fingerprints(runs)  # first of all: a folder may be missing
    cores = os.cpu_count() or 1
    processes = max(1, min(workers or cores, len(runs)))
    runs = [replace(run, threads=max(1, cores // processes)) for run in runs]
    results: list[RunResult] = []
    for result in _run_all(runs, processes, progress):
        results.append(result)
        if finished is not None:
            finished(result)
    sizes, extra = _data_rows(runs[0], baselines)
    environment = Environment(
        versions=_versions(),
        cores=cores,
        datasets={dataset: sizes},
        command=command,
        fingerprints=fingerprints,
    )
    return build_report([*results, *extra], environment=environment, costs=costs)


def _plan(
    models: Sequence[str],
    dataset: str,
    graphs: Path | None,
    arms: Sequence[str],
    seeds: Sequence[int],
    config_files: Sequence[str | Path],
    overrides: Mapping[str, Any],
) -> list[Run]:
    if not models or not arms or not seeds:
        raise SettingsError("a comparison needs at least one model, one arm and one seed")
    for arm in arms:
        if arm not in ARMS:
            raise SettingsError.unknown(arm, ARMS, where="arms")
        if ARMS[arm] is not None and graphs is None:
            raise SettingsError(f"arm {arm!r} reads graphs, but none were given", name="arms")
    files = tuple(map(str, config_files))
    return [
        Run(model, arm, dataset, seed, files, overrides, _folder(arm, graphs))
        for model in dict.fromkeys(models)
        for seed in dict.fromkeys(seeds)
        for arm in dict.fromkeys(arms)
    ]


def _run_all(
    runs: Sequence[Run], processes: int, progress: Callable[[RunProgress], None] | None
) -> Iterator[RunResult]:
    if processes == 1:
        for run in runs:
            yield run_one(run, progress)
        return
    context = multiprocessing.get_context("spawn")  # torch and fork do not mix
    with context.Manager() as manager:
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_ignore_interrupts) as pool:
            try:
                queue = manager.Queue()
                pending = {pool.submit(_run_reporting, run, queue) for run in runs}
                while pending:
                    try:
                        entry = queue.get(timeout=0.2)
                        if progress is not None:
                            progress(entry)
                        continue
                    except Empty:
                        pass
                    for future in [done for done in pending if done.done()]:
                        pending.discard(future)
                        yield future.result()
            except BaseException:
                # leaving the pool waits for its workers: hours, where one run failed or a person has had enough
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
                raise


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the one that started the workers ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_reporting(run: Run, queue: Any) -> RunResult:
    return run_one(run, queue.put)


def _data_rows(run: Run, baselines: bool) -> tuple[dict[str, int], list[RunResult]]:
    """Sizes of the data set, and the rows that need no training."""
    from llmrg.evaluation.baselines import baseline_runs
    from llmrg.recbole_adapter.training import prepare, test_histories

    prepared = prepare(run.model, run.dataset, config_files=run.config_files, overrides=run.overrides)
    data = prepared.dataset
    sizes = {
        "users": len(data.history_user),
        "items": data.item_num - 1,
        "interactions": len(data.history_item),
        "test users": len(prepared.test._dataset),
    }
    if not baselines:
        return sizes, []
    users, histories, targets = test_histories(prepared)
    train, items = prepared.train_sequences(), data.item_num
    rows = baseline_runs(train, histories, targets, user_ids=users, num_items=items, dataset=run.dataset)
    return sizes, list(rows)


def _versions() -> dict[str, str]:
    names = ("llmrg", "torch", "torch-geometric", "recbole", "numpy", "pandas", "sentence-transformers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _folder(arm: str, graphs: Path | None) -> str | None:
    if ARMS[arm] is None or graphs is None:
        return None
    return str(neighbours_folder(graphs) if arm == NEIGHBOURS else graphs)


def _fingerprints(runs: Sequence[Run]) -> dict[str, str]:
    named = {NEIGHBOURS if run.arm == NEIGHBOURS else "graphs": run.graphs for run in runs if run.graphs}
    return {name: load_arrays(Path(folder)).fingerprint for name, folder in named.items()}
