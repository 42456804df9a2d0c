"""From the ranks of many runs to one report: table, paired differences, checks, costs.

Promise: the order of the runs, and of the users within a run, changes no figure; adding a model, an arm or a
data set changes no other figure but p-values: the corrected ones, whose family it enlarges, and the last digits of the
others where so many tests need more sign flips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmrg.errors import DataError
from llmrg.evaluation.groups import Draws, UserGroup, group_rows
from llmrg.evaluation.metrics import METRICS, per_user
from llmrg.evaluation.paired import ArmRuns, arms_tested, corrected, paired_comparisons
from llmrg.evaluation.protocol import protocol_in_words
from llmrg.evaluation.results import (
    ComparisonReport,
    Environment,
    GenerationCost,
    IdentityCheck,
    MetricRow,
    PairedComparison,
    Procedure,
    TrainingCost,
    Trial,
)
from llmrg.evaluation.runs import CurvePoint, RunResult
from llmrg.evaluation.sentences import NEUTRAL_ARM, PROCESSOR, headline_sentences
from llmrg.evaluation.statistics import (
    Interval,
    align_users,
    bootstrap_means,
    mean_over_seeds,
    percentile_interval,
)
from llmrg.fingerprint import seed_from

__all__ = [
    "ARM_ORDER",
    "ComparisonReport",
    "CurvePoint",
    "Environment",
    "GenerationCost",
    "IdentityCheck",
    "Interval",
    "MetricRow",
    "PairedComparison",
    "Procedure",
    "RunResult",
    "TrainingCost",
    "build_report",
]

ARM_ORDER = (
    "base",
    "enhanced",
    "empty",
    "wider",
    "shuffled",
    "rewired",
    "sequence",
    "text",
    "neighbours",
    "unverified",
    "no-divergent",
    "no-pointer",
)
"""Arms in the order of tables; others follow by name."""


def build_report(
    runs: Sequence[RunResult],
    *,
    environment: Environment | None = None,
    costs: Sequence[GenerationCost] = (),
    groups: Sequence[UserGroup] = (),
    trials: Sequence[Trial] = (),
    procedure: Procedure | None = None,
    enhanced: str = "enhanced",
    reference: str = "base",
) -> ComparisonReport:
    """Compare the enhanced arm of every model with each of its other arms.

    Args:
        runs: one per data set × model × arm × seed; arms of one model share their users.
        environment: versions, sizes, protocol; the default states the protocol only.
        costs: what the graphs of each data set cost, where graphs were made.
        groups: users to look at by themselves.
        trials: how the settings were chosen.
        procedure: seed and sizes of the tests.
        enhanced: the arm under test.
        reference: the arm its gain is stated over.

    Raises:
        DataError: no run, the same run twice, arms with other users or another protocol, or two arms without a
            common seed.
    """
    if not runs:
        raise DataError("expected at least one run to report on, found none")
    if len({run.keep_seen for run in runs}) > 1:
        raise DataError("seen items are in the ranking of some runs and not of others; expected one protocol")
    ordered = sorted(runs, key=_run_order)
    tested = arms_tested(ordered, enhanced, reference)
    tests = sum(map(len, tested.values()))
    procedure = (procedure or Procedure()).enough_for(len(METRICS) * tests)
    rows: list[MetricRow] = []
    pairs: list[PairedComparison] = []
    checks: list[IdentityCheck] = []
    training: list[TrainingCost] = []
    for dataset, model in dict.fromkeys((run.dataset, run.model) for run in ordered):
        group = [run for run in ordered if (run.dataset, run.model) == (dataset, model)]
        arms = _arms(group)
        generator = np.random.default_rng(seed_from(procedure.seed, "bootstrap", dataset, model))
        rows += _metric_rows(dataset, model, arms, procedure, generator)
        pairs += paired_comparisons(dataset, model, arms, enhanced, tested[dataset, model], procedure)
        if NEUTRAL_ARM in arms and reference in arms:
            checks.append(_identity(dataset, model, arms[NEUTRAL_ARM], arms[reference]))
        training += [_training_cost([run for run in group if run.arm == arm]) for arm in arms]
    pairs = corrected(pairs, procedure)
    draws = Draws(procedure.seed, procedure.resamples, procedure.confidence)
    looks = group_rows(ordered, groups, reference=reference, draws=draws)
    environment = environment or Environment(protocol=protocol_in_words(keep_seen=runs[0].keep_seen))
    said = headline_sentences(
        pairs,
        checks,
        training,
        procedure=procedure,
        reference=reference,
        costs=costs,
        groups=looks,
        device=environment.device or PROCESSOR,
    )
    return ComparisonReport(
        runs=tuple(ordered),
        rows=tuple(rows),
        comparisons=tuple(pairs),
        identities=tuple(checks),
        training=tuple(cost for cost in training if cost.epochs),
        sentences=said,
        costs=tuple(costs),
        environment=environment,
        procedure=procedure,
        enhanced=enhanced,
        reference=reference,
        groups=looks,
        trials=tuple(trials),
    )


def _run_order(run: RunResult) -> tuple[str, bool, str, int, str, int]:
    # trained models first, untrained rows after them
    place = ARM_ORDER.index(run.arm) if run.arm in ARM_ORDER else len(ARM_ORDER)
    return (run.dataset, not run.epochs, run.model, place, run.arm, run.seed)


def _arms(group: Sequence[RunResult]) -> dict[str, ArmRuns]:
    order = sorted(group[0].user_ids)
    if not order:
        raise DataError(f"{group[0]}: expected at least one user, found none")
    arms: dict[str, ArmRuns] = {}
    for run in group:
        arm = arms.setdefault(run.arm, ArmRuns(run.arm, {}, {}))
        if run.seed in arm.ranks:
            raise DataError(f"expected every run once, found {run} twice")
        ranks = align_users(run.user_ids, run.ranks, order=order, what=repr(run))
        arm.ranks[run.seed] = ranks
        arm.values[run.seed] = np.stack([per_user(metric, ranks) for metric in METRICS], axis=1)  # [U, M]
    return arms


def _metric_rows(
    dataset: str, model: str, arms: dict[str, ArmRuns], procedure: Procedure, generator: np.random.Generator
) -> list[MetricRow]:
    per_arm = {name: mean_over_seeds(arm.values) for name, arm in arms.items()}
    samples = bootstrap_means(
        np.concatenate(list(per_arm.values()), axis=1), generator=generator, resamples=procedure.resamples
    )  # [R, arms * M]
    rows = []
    for place, (name, values) in enumerate(per_arm.items()):
        seeds = tuple(sorted(arms[name].values))
        means = np.stack([arms[name].values[seed].mean(axis=0) for seed in seeds])  # [seeds, M]
        for column, metric in enumerate(METRICS):
            drawn = samples[:, place * len(METRICS) + column]
            rows.append(
                MetricRow(
                    dataset=dataset,
                    model=model,
                    arm=name,
                    metric=metric,
                    seeds=seeds,
                    per_seed=tuple(means[:, column].tolist()),
                    users=len(values),
                    mean=float(values[:, column].mean()),
                    sd=float(means[:, column].std(ddof=1)) if len(seeds) > 1 else None,
                    interval=percentile_interval(drawn, procedure.confidence),
                )
            )
    return rows


def _identity(dataset: str, model: str, arm: ArmRuns, other: ArmRuns) -> IdentityCheck:
    seeds = tuple(sorted(set(arm.ranks) & set(other.ranks)))
    differing = np.zeros(len(next(iter(arm.ranks.values()))), dtype=bool)
    for seed in seeds:
        differing |= arm.ranks[seed] != other.ranks[seed]
    return IdentityCheck(dataset, model, arm.name, other.name, seeds, len(differing), int(differing.sum()))


def _training_cost(runs: Sequence[RunResult]) -> TrainingCost:
    epochs = sum(run.epochs for run in runs)
    seconds = sum(run.seconds for run in runs)
    return TrainingCost(
        dataset=runs[0].dataset,
        model=runs[0].model,
        arm=runs[0].arm,
        runs=len(runs),
        seconds=seconds / len(runs),
        seconds_per_epoch=seconds / epochs if epochs else 0.0,
        epochs=epochs / len(runs),
        best_epoch=sum(run.best_epoch for run in runs) / len(runs),
        parameters=max(run.parameters for run in runs),
        graphs=runs[0].graphs,
        cut_off=sum(run.cut_off for run in runs),
    )
