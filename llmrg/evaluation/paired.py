"""The arm under test against every other arm: paired differences per user, and what they are worth.

Promise: users are paired by id, and seeds averaged within a user before anything is tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llmrg.errors import DataError
from llmrg.evaluation.metrics import METRICS, Floats
from llmrg.evaluation.results import PairedComparison, Procedure, Verdict
from llmrg.evaluation.runs import RunResult
from llmrg.evaluation.sentences import NEUTRAL_ARM
from llmrg.evaluation.statistics import (
    bootstrap_means,
    cohens_d,
    holm,
    mean_over_seeds,
    percentile_interval,
    relative_gain,
    seed_p_value,
    sign_flip_p_values,
)
from llmrg.fingerprint import seed_from


@dataclass(frozen=True)
class ArmRuns:
    """The runs of one arm, as metric values in the group's order of users."""

    name: str
    values: dict[int, Floats]  # seed → [U, metrics]
    ranks: dict[int, Floats]  # seed → [U]


def arms_tested(runs: Sequence[RunResult], enhanced: str, reference: str) -> dict[tuple[str, str], list[str]]:
    """(Data set, model) → the arms that the one under test is tested against.

    The neutral arm is none of them: it has to rank as the reference does, so its tests would be the same ones again,
    and cost the others their significance.
    """
    arms: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        arms.setdefault((run.dataset, run.model), []).append(run.arm)
    tested: dict[tuple[str, str], list[str]] = {}
    for where, of in arms.items():
        untested = {enhanced, NEUTRAL_ARM} if reference in of else {enhanced}
        tested[where] = [arm for arm in dict.fromkeys(of) if enhanced in of and arm not in untested]
    return tested


def paired_comparisons(
    dataset: str,
    model: str,
    arms: dict[str, ArmRuns],
    enhanced: str,
    others: Sequence[str],
    procedure: Procedure,
) -> list[PairedComparison]:
    """The arm under test against ``others``, in every metric; not yet corrected for each other.

    Raises:
        DataError: two arms without a common seed.
    """
    found = []
    for other in others:
        ours, theirs = arms[enhanced], arms[other]
        seeds = tuple(sorted(set(ours.values) & set(theirs.values)))
        if not seeds:
            raise DataError(
                f"{model} on {dataset}: {enhanced} has seeds {sorted(ours.values)} and {other} has "
                f"{sorted(theirs.values)}; expected a common one, run both arms with the same seeds"
            )
        by_seed = {seed: ours.values[seed] - theirs.values[seed] for seed in seeds}
        differences = mean_over_seeds(by_seed)  # [U, M]
        base = mean_over_seeds({seed: theirs.values[seed] for seed in seeds})  # [U, M]
        # all pairs of a model see the same draws, and another arm changes none of them
        generator = np.random.default_rng(seed_from(procedure.seed, "pair", dataset, model))
        samples = bootstrap_means(
            np.concatenate([differences, base], axis=1), generator=generator, resamples=procedure.resamples
        )
        p_values = sign_flip_p_values(differences, generator=generator, permutations=procedure.permutations)
        for column, metric in enumerate(METRICS):
            drawn, drawn_base = samples[:, column], samples[:, len(METRICS) + column]
            difference = float(differences[:, column].mean())
            per_seed = tuple(float(by_seed[seed][:, column].mean()) for seed in seeds)
            gain = relative_gain(
                difference, float(base[:, column].mean()), (drawn, drawn_base), procedure.confidence
            )
            found.append(
                PairedComparison(
                    dataset=dataset,
                    model=model,
                    arm=enhanced,
                    other=other,
                    metric=metric,
                    users=len(differences),
                    seeds=seeds,
                    per_seed=per_seed,
                    difference=difference,
                    interval=percentile_interval(drawn, procedure.confidence),
                    gain=None if gain is None else gain[0],
                    gain_interval=None if gain is None else gain[1],
                    effect=cohens_d(differences[:, column]),
                    p=float(p_values[column]),
                    p_holm=1.0,
                    verdict="no difference shown",
                    seed_p=seed_p_value(per_seed),
                )
            )
    return found


def corrected(pairs: Sequence[PairedComparison], procedure: Procedure) -> list[PairedComparison]:
    """All pairs of a report with their p-values after Holm, and the verdicts that follow."""
    adjusted = holm([pair.p for pair in pairs])
    found = []
    for pair, p_holm in zip(pairs, adjusted.tolist(), strict=True):
        verdict: Verdict = "no difference shown"
        if p_holm < procedure.alpha:
            verdict = "wins" if pair.difference > 0 else "loses"
        found.append(replace(pair, p_holm=p_holm, verdict=verdict))
    return found
