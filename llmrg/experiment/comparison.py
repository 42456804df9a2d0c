"""Comparisons: models × data sets × arms × seeds, trained under one protocol and reported together.

Promise: every arm of a model shares settings, data, seeds, batches and stopping rule; what differs is what
:data:`~llmrg.experiment.arms.ARMS` says and nothing else. Runs are independent of each other: how many processes
share them, and how often the comparison was interrupted, changes no figure.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmrg.errors import SettingsError
from llmrg.evaluation.comparison import build_report
from llmrg.evaluation.protocol import protocol_in_words
from llmrg.evaluation.results import ComparisonReport, Environment, GenerationCost, Trial
from llmrg.evaluation.runs import RunResult
from llmrg.experiment.archive import RunArchive
from llmrg.experiment.arms import ARMS, folder_of, merged
from llmrg.experiment.processes import Finished, train_all
from llmrg.experiment.runs import Run, RunProgress
from llmrg.experiment.untrained import DataFacts, data_facts
from llmrg.graph.arrays import load_arrays
from llmrg.processes import usable_cores
from llmrg.reasoners.offline import VERSION, EmbeddedReasoner

DEFAULT_ARMS = ("base", "enhanced", "empty", "shuffled")

Winners = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""(data set, model, ``base`` or ``enhanced``) → what the search chose for it."""


@dataclass(frozen=True)
class Source:
    """One data set of a comparison.

    Args:
        dataset: its name.
        graphs: folder of graph arrays (:func:`llmrg.job.assembly.make_graphs`); None where no arm reads any. The arms
            ``neighbours`` and ``unverified`` read the folders beside it.
        cost: what the graphs cost.
    """

    dataset: str
    graphs: Path | None = None
    cost: GenerationCost | None = None


@dataclass(frozen=True)
class Design:
    """What is compared with what.

    Args:
        models: RecBole base models, such as ``SASRec``.
        sources: data sets.
        arms: see :data:`~llmrg.experiment.arms.ARMS`.
        seeds: one run each.
        config_files: RecBole yaml files, shared by all arms.
        overrides: single keys, shared by all arms.
        processes: runs at a time; default: one a core.
        threads: torch threads of every run.
    """

    models: Sequence[str]
    sources: Sequence[Source]
    arms: Sequence[str] = DEFAULT_ARMS
    seeds: Sequence[int] = (2020,)
    config_files: Sequence[str | Path] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    processes: int | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.models or not self.arms or not self.seeds or not self.sources:
            raise SettingsError("a comparison needs at least one model, one data set, one arm and one seed")
        for arm in self.arms:
            if arm not in ARMS:
                raise SettingsError.unknown(arm, ARMS, where="arms")
            if ARMS[arm].reads and any(source.graphs is None for source in self.sources):
                raise SettingsError(f"arm {arm!r} reads graphs, but none were given", name="arms")

    @property
    def cores(self) -> int:
        """Processor cores that this process may use."""
        return usable_cores()

    @property
    def at_a_time(self) -> int:
        """Runs at a time, were none of the plan finished."""
        size = len(self.models) * len(self.sources) * len(dict.fromkeys(self.arms)) * len(self.seeds)
        return max(1, min(self.processes or self.cores, size))

    def runs(self, winners: Winners | None = None) -> list[Run]:
        """The plan: seeds outside, so that an interrupted comparison has whole seeds.

        Args:
            winners: settings that a search chose.
        """
        won = winners or {}
        return [
            self.run(
                model,
                source,
                arm,
                seed,
                won.get((source.dataset, model, ARMS[arm].tuned_as), {}),
                size_of=won.get((source.dataset, model, "enhanced")) if ARMS[arm].widened else None,
            )
            for source in self.sources
            for model in dict.fromkeys(self.models)
            for seed in dict.fromkeys(self.seeds)
            for arm in dict.fromkeys(self.arms)
        ]

    def run(
        self,
        model: str,
        source: Source,
        arm: str,
        seed: int,
        chosen: Mapping[str, Any],
        *,
        size_of: Mapping[str, Any] | None = None,
    ) -> Run:
        """One run with ``chosen`` on top of the shared settings; a widened one of the size that ``size_of`` gives."""
        return Run(
            model,
            arm,
            source.dataset,
            seed,
            tuple(map(str, self.config_files)),
            self._with(chosen),
            folder_of(arm, source.graphs),
            self.threads,
            size_of=None if size_of is None else self._with(size_of),
        )

    def _with(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        flat = {name: value for name, value in chosen.items() if name != "llmrg"}
        return merged({**self.overrides, **flat}, chosen.get("llmrg", {}))


def compare(
    models: Sequence[str],
    dataset: str,
    graphs: Path | None,
    *,
    arms: Sequence[str] = DEFAULT_ARMS,
    seeds: Sequence[int] = (2020,),
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    processes: int | None = None,
    threads: int = 1,
    archive: Path | None = None,
    baselines: bool = True,
    cost: GenerationCost | None = None,
    command: str = "",
    progress: Callable[[RunProgress], None] | None = None,
    finished: Callable[[Finished], None] | None = None,
) -> ComparisonReport:
    """Train every model × arm × seed on one data set and report on them together.

    Args:
        models: RecBole base models, such as ``SASRec``.
        dataset: data set name.
        graphs: folder of graph arrays (:func:`llmrg.job.assembly.make_graphs`); may be None for ``base`` and ``wider``.
        arms: see :data:`~llmrg.experiment.arms.ARMS`.
        seeds: one run each.
        config_files: RecBole yaml files, shared by all arms.
        overrides: single keys, shared by all arms.
        processes: runs at a time; default: one a core.
        threads: torch threads of every run. They change the last bits of sums; the number of processes changes none.
        archive: folder of finished runs, looked into first and added to; None: neither.
        baselines: add the rows that need no training.
        cost: what the graphs cost, for the report.
        command: the command line that repeats the comparison.
        progress: called after every epoch of every run.
        finished: called after every run.

    Raises:
        SettingsError: an unknown arm, no model, or an arm that needs graphs without any.
        StoreError: the graphs of an arm are not in their folder.
    """
    sources = (Source(dataset, graphs, cost),)
    design = Design(models, sources, arms, seeds, config_files, overrides or {}, processes, threads)
    return carry_out(
        design,
        archive=None if archive is None else RunArchive(archive),
        baselines=baselines,
        command=command,
        progress=progress,
        finished=finished,
    )


def carry_out(
    design: Design,
    *,
    winners: Winners | None = None,
    trials: Sequence[Trial] = (),
    archive: RunArchive | None = None,
    baselines: bool = True,
    command: str = "",
    progress: Callable[[RunProgress], None] | None = None,
    finished: Callable[[Finished], None] | None = None,
) -> ComparisonReport:
    """Train what is not in the archive and report on everything.

    Args:
        design: what is compared.
        winners: settings that a search chose.
        trials: what it tried, for the report.
        archive: finished runs.
        baselines: add the rows that need no training, and figures by group of users.
        command: the command line that repeats the comparison.
        progress: called after every epoch of every run.
        finished: called after every run.

    Raises:
        StoreError: the graphs of an arm are not in their folder.
    """
    runs = design.runs(winners)
    fingerprints = _fingerprints(runs)  # first of all: a folder may be missing
    facts = [
        data_facts(next(run for run in runs if run.dataset == source.dataset), baselines=baselines)
        for source in design.sources
    ]  # before any training, of which none is to be lost where this fails
    results: list[RunResult] = []
    for entry in train_all(runs, processes=design.at_a_time, archive=archive, progress=progress):
        results.append(entry.result)
        if finished is not None:
            finished(entry)
    return build_report(
        [*results, *(row for fact in facts for row in fact.rows)],
        environment=_environment(
            design, facts, fingerprints, command, searched=bool(trials), keep_seen=results[0].keep_seen
        ),
        costs=[source.cost for source in design.sources if source.cost is not None],
        groups=[group for fact in facts for group in fact.groups],
        trials=trials,
    )


def _environment(
    design: Design,
    facts: Sequence[DataFacts],
    fingerprints: Mapping[str, str],
    command: str,
    *,
    searched: bool,
    keep_seen: bool,
) -> Environment:
    embedded = any(
        source.cost is not None and source.cost.reasoner == EmbeddedReasoner.name for source in design.sources
    )
    return Environment(
        versions=_versions() | ({"embedded reasoner": str(VERSION)} if embedded else {}),
        cores=design.cores,
        device=facts[0].device,
        datasets={fact.dataset: fact.sizes for fact in facts},
        protocol=protocol_in_words(
            global_time=any(fact.global_time for fact in facts),
            keep_seen=keep_seen,
            searched=searched,
        ),
        command=command,
        fingerprints=fingerprints,
        notes=tuple(dict.fromkeys(note for fact in facts for note in fact.notes)),
    )


def _versions() -> dict[str, str]:
    names = ("llmrg", "torch", "torch-geometric", "recbole", "numpy", "pandas", "sentence-transformers")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _fingerprints(runs: Sequence[Run]) -> dict[str, str]:
    several = len({run.dataset for run in runs}) > 1
    named = {
        f"{ARMS[run.arm].reads}{f' of {run.dataset}' if several else ''}": run.graphs
        for run in runs
        if run.graphs
    }
    return {name: load_arrays(Path(folder)).fingerprint for name, folder in named.items()}
