"""What a comparison is made of, before it runs: its parts checked, its graphs made, its plan said.

Promise: what cannot be trained is refused before anything slow starts, and nothing is trained before the plan with
its expected time is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrg.cli.generation_step import MadeGraphs, make_with_progress
from llmrg.cli.options import refuse_without_enhanced_form
from llmrg.cli.screen import Bars, Screen, duration
from llmrg.errors import SettingsError

if TYPE_CHECKING:
    from llmrg.experiment.archive import RunArchive
    from llmrg.experiment.comparison import Design, Source
    from llmrg.experiment.processes import Finished
    from llmrg.experiment.runs import RunProgress
    from llmrg.job.reading import GraphJob

ALL = "all"
SPLITS: dict[str, dict[str, Any]] = {
    "leave-one-out": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "global-time": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "TO", "group_by": "none", "mode": "full"},
}


@dataclass(frozen=True)
class Choice:
    """What is compared with what, in names."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    trials: int = 0

    @classmethod
    def of(
        cls,
        models: tuple[str, ...],
        datasets: tuple[str, ...],
        arms: tuple[str, ...],
        seeds: tuple[int, ...],
        trials: int,
    ) -> Choice:
        """The same with ``all`` spelled out.

        Raises:
            SettingsError: an arm that does not exist.
        """
        from llmrg.experiment import ARMS

        known = (*ARMS, ALL)
        for arm in arms:
            if arm not in known:
                raise SettingsError.unknown(arm, known, where="--arms")
        return cls(models, datasets, tuple(ARMS) if ALL in arms else arms, seeds, trials)

    @property
    def reads_graphs(self) -> bool:
        """Whether some arm does."""
        from llmrg.experiment import ARMS

        return any(ARMS[arm].reads for arm in self.arms)

    @property
    def runs(self) -> int:
        """Models to train, trials aside."""
        return len(self.models) * len(self.datasets) * len(self.arms) * len(self.seeds)

    def __str__(self) -> str:
        parts = (
            ("model", self.models),
            *((("data set", self.datasets),) if len(self.datasets) > 1 else ()),
            ("arm", self.arms),
            ("seed", self.seeds),
        )
        counts = " × ".join(f"{len(of)} {word}{'' if len(of) == 1 else 's'}" for word, of in parts)
        names = f"{', '.join(self.models)} on {', '.join(self.datasets)}: {', '.join(self.arms)}"
        trials = f", after {self.trials} trials each of base and enhanced" if self.trials else ""
        return f"{self.runs} run{'' if self.runs == 1 else 's'} ({counts}; {names}){trials}"

    def document(self) -> dict[str, Any]:
        """The choice as plain values."""
        return {
            "datasets": list(self.datasets),
            "models": list(self.models),
            "arms": list(self.arms),
            "seeds": list(self.seeds),
            "trials": self.trials,
        }

    def check(self, files: Sequence[Path], overrides: dict[str, Any]) -> int:
        """Refuse what cannot be trained; the most epochs a run may take."""
        from llmrg.experiment import ARMS
        from llmrg.experiment.runs import check_selection
        from llmrg.recbole_adapter.configuration import SUFFIX, build_config, settings_of
        from llmrg.recbole_adapter.training import enhanced_name

        if self.trials and not {"base", "enhanced"} <= set(self.arms):
            raise SettingsError("--trials searches for base and enhanced alike: name both in --arms")
        wrapped = self.reads_graphs or any(ARMS[arm].widened for arm in self.arms)
        most = 0
        for model in self.models:
            if model.endswith(SUFFIX):
                base = model.removesuffix(SUFFIX)
                raise SettingsError(f"compare takes base models: {model} is the arm 'enhanced' of {base}")
            if wrapped:
                refuse_without_enhanced_form(model)
            for dataset in self.datasets:
                for name in (model, enhanced_name(model)) if wrapped else (model,):
                    built = build_config(name, dataset, config_files=files, overrides=overrides)
                    check_selection(built)
                    ours = settings_of(built)
                    if ours.graphs is not None or ours.control != "none":
                        raise SettingsError(
                            "llmrg.graphs and llmrg.control are what the arms of a comparison set; leave them out, and "
                            "name arms (--arms) and the folder of graphs (--folder)"
                        )
                    most = max(most, int(built["epochs"]))
        return most


def read_jobs(
    choice: Choice, files: Sequence[Path], overrides: dict[str, Any], folder: Path | None
) -> dict[str, GraphJob]:
    """The data set of every graph that some arm reads; all are read before any is reasoned about, so that a missing
    file is told at once. Where no arm reads graphs, the files are checked and nothing is returned.

    Raises:
        SettingsError: one folder for several data sets, or for arms that read no graphs.
        DataError: a data set that cannot be read.
    """
    from llmrg.job.reading import check_data, read_job

    if not choice.reads_graphs:
        if folder is not None:
            raise SettingsError(f"--folder names graphs, and no arm of {', '.join(choice.arms)} reads any")
        for name in choice.datasets:
            check_data(name, config_files=files, overrides=overrides)
        return {}
    if folder is not None and len(choice.datasets) > 1:
        raise SettingsError("--folder holds the graphs of one data set; leave it out to compare on several")
    return {
        name: read_job(name, config_files=files, overrides=overrides, folder=folder)
        for name in choice.datasets
    }


def make_sources(
    screen: Screen, choice: Choice, jobs: dict[str, GraphJob], processes: int | None
) -> tuple[tuple[Source, ...], dict[str, MadeGraphs]]:
    """The graphs that some arm reads, for every data set, made in so many processes (default: one a core)."""
    from llmrg.experiment import NEIGHBOURS, UNVERIFIED
    from llmrg.experiment.comparison import Source
    from llmrg.job.assembly import make_neighbours, make_unverified

    if not jobs:
        return tuple(Source(dataset) for dataset in choice.datasets), {}
    made = {}
    for name, job in jobs.items():
        made[name] = make_with_progress(screen, job, processes=processes)
        for arm, make in ((NEIGHBOURS, make_neighbours), (UNVERIFIED, make_unverified)):
            if arm in choice.arms:
                _lay_out(screen, make, job)
    sources = tuple(
        Source(name, one.job.arrays_path, replace(one.cost, dataset=name)) for name, one in made.items()
    )
    return sources, made


def _lay_out(screen: Screen, make: Callable[..., Path], job: GraphJob) -> None:
    with screen.progress() as bars:
        make(job, notice=screen.note, texts=lambda done, total: bars.update("text vectors", done, total))


def say_plan(screen: Screen, choice: Choice, jobs: dict[str, GraphJob], most_epochs: int) -> None:
    """What will be done, before anything is reasoned about or paid for."""
    words = f"plan: {choice}; at most {most_epochs} epoch{'' if most_epochs == 1 else 's'} each"
    if jobs:
        model = next(iter(jobs.values())).settings.language_model.model
        words += f"; first the graphs that are missing, by {model or 'the embedded reasoner'}"
        if model:
            words += " (llmrg estimate, with the same settings, tells what that would cost)"
    screen.note(words)


def say_forecast(screen: Screen, choice: Choice, design: Design, archive: RunArchive) -> None:
    """What of the plan is left to train, and how long it should take."""
    from llmrg.experiment.forecast import forecast_plan

    screen.note(str(forecast_plan(design, choice.trials, archive)))


def show_epoch(bars: Bars, progress: RunProgress) -> None:
    """One finished epoch as a bar."""
    words = f"loss {progress.loss:.3f}, validation {progress.score:.4f}, {progress.seconds:.1f} s an epoch"
    bars.update(progress.run, progress.epoch, progress.epochs, words)


def show_end(bars: Bars, entry: Finished, epochs: int) -> None:
    """One finished run as a full bar."""
    from llmrg.evaluation.metrics import HEADLINE_METRIC, mean_of

    run, result = entry.run, entry.result
    score = mean_of(HEADLINE_METRIC, result.ranks)
    part = "validation" if run.part == "valid" else "test"
    took = f"{result.epochs} epochs (best {result.best_epoch}) in {duration(result.seconds)}"
    word = "finished earlier" if entry.reused else "done"
    bars.finish(run.name, epochs, f"{word}: {part} NDCG@10 {score:.4f}, {took}")


def split_overrides(split: str | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """The settings with the split that was asked for by name, if any was.

    Raises:
        SettingsError: no such split, or another one beside it.
    """
    if split is None:
        return overrides
    if split not in SPLITS:
        raise SettingsError.unknown(split, SPLITS, where="--split")
    if "eval_args" in overrides:
        raise SettingsError("--split and --set eval_args both name a split; leave one out", name="eval_args")
    return {**overrides, "eval_args": SPLITS[split]}
