"""Where a gain comes from: the same users in groups, by how common their target is and by how long their history.

Above the groups stands everyone under the other protocol: seen items left out of the ranking where the report keeps
them, and the other way round. A model that learnt nothing but not to repeat gains under one of the two only.

Promise: groups are made from the training part and from what is known of a user, never from a model; each kind of
group covers every user once; figures of groups are for looking, not for testing, and carry intervals but no p-values.

Letters: U users, V items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmrg.errors import DataError
from llmrg.evaluation.metrics import HEADLINE_METRIC, Floats, per_user
from llmrg.evaluation.runs import RunResult
from llmrg.evaluation.statistics import Interval, bootstrap_means, percentile_interval
from llmrg.fingerprint import seed_from

COLD_UNDER = 5
"""A target with fewer users in the training part is cold."""
HEAD_SHARE = 0.2
"""The most popular fifth of all items is the head, the rest of those that are not cold the tail."""
EVERYONE = "everyone"
"""The group of all users, whose rows are of the other protocol."""


@dataclass(frozen=True)
class UserGroup:
    """Users of one data set.

    Args:
        dataset: name of the data set.
        name: such as ``tail items``.
        words: what makes a user belong to it.
        user_ids: external ids.
    """

    dataset: str
    name: str
    words: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True)
class GroupRow:
    """NDCG@10 of one arm over the users of one group.

    Args:
        words: what makes a user belong to the group.
        difference: to the reference arm, over the seeds that both have; None for the reference itself, for untrained
            rows and where no seed is common.
        interval: bootstrap interval of ``difference`` over users.
    """

    dataset: str
    group: str
    words: str
    users: int
    model: str
    arm: str
    mean: float
    difference: float | None = None
    interval: Interval | None = None


def other_protocol(rows: Sequence[GroupRow]) -> dict[tuple[str, str, str], GroupRow]:
    """Data set, model and arm to its row over everyone, where seen items are treated the other way."""
    return {(row.dataset, row.model, row.arm): row for row in rows if row.group == EVERYONE}


class Draws(NamedTuple):
    """How intervals are drawn: the seed, how many draws, and the share of them inside."""

    seed: int
    resamples: int
    confidence: float


def user_groups(
    dataset: str,
    user_ids: Sequence[str],
    *,
    target_count: ArrayLike,
    item_count: ArrayLike,
    history_length: ArrayLike,
) -> tuple[UserGroup, ...]:
    """Users by their target's popularity, then by the length of what is known of them.

    Args:
        dataset: name of the data set.
        user_ids: external ids of the test users.
        target_count: users who have the target in their training part. [U]
        item_count: users who have each item in their training part, padding left out. [V]
        history_length: items known when the target is ranked. [U]

    >>> counts = [9, 8, 7, 6, 5, 5]
    >>> found = user_groups("d", "ab", target_count=[0, 9], item_count=counts, history_length=[3, 4])
    >>> [group.name for group in found]
    ['cold items', 'head items', 'short histories', 'long histories']
    """
    target: NDArray[np.float64] = np.asarray(target_count, dtype=np.float64)
    length: NDArray[np.int64] = np.asarray(history_length, dtype=np.int64)
    counts = np.sort(np.asarray(item_count, dtype=np.float64))[::-1]
    if not len(user_ids) == len(target) == len(length):
        raise DataError(
            f"expected one target and one length per user, found {len(user_ids)} users, {len(target)} targets and "
            f"{len(length)} lengths"
        )
    bar = counts[min(len(counts) - 1, int(HEAD_SHARE * len(counts)))] if len(counts) else 0.0
    bar = max(bar, COLD_UNDER)
    low, high = (
        (int(cut) for cut in np.quantile(length, [1 / 3, 2 / 3], method="lower")) if len(length) else (0, 0)
    )
    kinds = (
        ("cold items", f"target in under {COLD_UNDER} training histories", target < COLD_UNDER),
        (
            "tail items",
            f"target in {COLD_UNDER} to {bar:g} of them",
            (target >= COLD_UNDER) & (target <= bar),
        ),
        ("head items", f"target in more than {bar:g} of them", (target >= COLD_UNDER) & (target > bar)),
        ("short histories", f"at most {low} known items", length <= low),
        ("medium histories", f"{low + 1} to {high} known items", (length > low) & (length <= high)),
        ("long histories", f"more than {high} known items", length > high),
    )
    return tuple(
        UserGroup(dataset, name, words, tuple(str(user_ids[at]) for at in np.flatnonzero(inside).tolist()))
        for name, words, inside in kinds
        if inside.any()
    )


def group_rows(
    runs: Sequence[RunResult],
    groups: Sequence[UserGroup],
    *,
    reference: str,
    draws: Draws,
) -> tuple[GroupRow, ...]:
    """Every arm under the other protocol and in every group of its data set, differences to the reference beside it.

    Args:
        runs: in the order of the table.
        groups: from :func:`user_groups`.
        reference: the arm differences are taken to.
        draws: how intervals are drawn.
    """
    turned = [
        replace(run, ranks=run.other_ranks, other_ranks=run.ranks, keep_seen=not run.keep_seen)
        for run in runs
        if run.other_ranks is not None
    ]
    found: list[GroupRow] = []
    for dataset, model in dict.fromkeys((run.dataset, run.model) for run in turned):
        same = [run for run in turned if (run.dataset, run.model) == (dataset, model)]
        words = f"seen items {'kept' if same[0].keep_seen else 'left out'}"
        everyone = UserGroup(dataset, EVERYONE, words, tuple(sorted(same[0].user_ids)))
        found += _rows(same, [everyone], reference, draws)
    return (*found, *_rows(runs, groups, reference, draws))


def _rows(
    runs: Sequence[RunResult], groups: Sequence[UserGroup], reference: str, draws: Draws
) -> list[GroupRow]:
    values: dict[tuple[str, str, str], dict[int, dict[str, float]]] = {}  # of every arm, by seed and user
    for run in runs:
        each = per_user(HEADLINE_METRIC, run.ranks).tolist()
        by_seed = values.setdefault((run.dataset, run.model, run.arm), {})
        by_seed[run.seed] = dict(zip(run.user_ids, each, strict=True))
    found = []
    for group in groups:
        for (dataset, model, arm), by_seed in values.items():
            if dataset != group.dataset:
                continue
            own = {seed: np.array([of[user] for user in group.user_ids]) for seed, of in by_seed.items()}
            base = values.get((dataset, model, reference), {})
            difference, interval = None, None
            common = sorted(own.keys() & base.keys())
            if arm != reference and common:
                theirs = [[base[seed][user] for user in group.user_ids] for seed in common]
                paired = np.mean([own[seed] for seed in common] - np.array(theirs), axis=0)
                difference, interval = _difference(paired, group, model, draws)
            found.append(
                GroupRow(
                    dataset=dataset,
                    group=group.name,
                    words=group.words,
                    users=len(group.user_ids),
                    model=model,
                    arm=arm,
                    mean=float(np.mean(list(own.values()))),
                    difference=difference,
                    interval=interval,
                )
            )
    return found


def _difference(values: Floats, group: UserGroup, model: str, draws: Draws) -> tuple[float, Interval]:
    # every arm of a model sees the same draws
    generator = np.random.default_rng(seed_from(draws.seed, "group", group.dataset, group.name, model))
    drawn = bootstrap_means(values[:, None], generator=generator, resamples=draws.resamples)
    return float(values.mean()), percentile_interval(drawn, draws.confidence)
