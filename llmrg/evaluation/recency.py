"""Time-decayed popularity: what was popular lately, as of the moment of each recommendation.

.. math:: score_t(i) = \\sum_{e: item(e) = i, t_e < t} 2^{-(t - t_e) / h}

Promise: only interactions of the training part count, and of those only the ones before the moment that is asked
about; the half-life h is the one of :data:`HALF_LIVES` that ranks validation targets best.

Letters: E interactions, U users, V items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmrg.data.cutoff import refuse_positions
from llmrg.errors import DataError
from llmrg.evaluation.metrics import Floats, mean_of, rank_of_target
from llmrg.evaluation.runs import RunResult

HALF_LIVES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Half-lives that are tried, as shares of the time from the first to the last training interaction."""
HEADLINE_METRIC = "ndcg@10"


class Events(NamedTuple):
    """Interactions of the training part: item columns and times. [E] each"""

    items: NDArray[np.int64]
    times: NDArray[np.float64]


class Moments(NamedTuple):
    """Held-out targets and when they were taken. [U] each"""

    targets: NDArray[np.int64]
    times: NDArray[np.float64]


def decayed_ranks(
    events: Events, moments: Moments, *, half_life: float, num_items: int, padding: int | None = 0
) -> Floats:
    """The rank of every target at its moment.

    Args:
        events: what is counted, in any order.
        moments: what is ranked, in any order.
        half_life: in the unit of the times.
        num_items: columns V, padding included.
        padding: column that is no item and must not compete; None where there is none.

    Shapes:
        → [U]

    >>> events = Events(np.array([1, 1, 2]), np.array([0.0, 1.0, 9.0]))
    >>> decayed_ranks(events, Moments(np.array([1, 1]), np.array([5.0, 10.0])), half_life=2.0, num_items=3).tolist()
    [1.0, 2.0]
    """
    order = np.argsort(events.times, kind="stable")
    items, times = events.items[order], events.times[order]
    scores = np.zeros(num_items)
    ranks = np.empty(len(moments.targets))
    done, now = 0, 0.0
    for row in np.argsort(moments.times, kind="stable"):
        then = float(moments.times[row])
        end = int(np.searchsorted(times, then, side="left"))
        scores *= 2.0 ** (-(then - now) / half_life)
        scores += np.bincount(
            items[done:end], weights=2.0 ** (-(then - times[done:end]) / half_life), minlength=num_items
        )
        done, now = end, then
        shown = scores.copy()
        if padding is not None:
            shown[padding] = -np.inf
        ranks[row] = rank_of_target(shown[None], moments.targets[row : row + 1])[0]
    return ranks


def decayed_popularity_run(
    events: Events,
    *,
    valid: Moments,
    test: Moments,
    user_ids: Sequence[str],
    num_items: int,
    dataset: str,
    first_times: Sequence[float],
) -> tuple[RunResult, float]:
    """The row of a report, and the half-life that validation chose, as a share of the training period.

    Args:
        events: of the training part.
        valid: validation targets.
        test: test targets, in the order of ``user_ids``.
        user_ids: external ids.
        num_items: columns V, padding (column 0) included.
        dataset: name for the table.
        first_times: of every user, to tell a clock from places in an order.

    Raises:
        DataError: the times are no clock, or the training part takes no time.
    """
    refuse_positions(first_times)
    span = float(np.ptp(events.times)) if len(events.times) else 0.0
    if span <= 0:
        raise DataError("all training interactions have the same time")
    best = max(
        HALF_LIVES,
        key=lambda share: mean_of(
            HEADLINE_METRIC, decayed_ranks(events, valid, half_life=share * span, num_items=num_items)
        ),
    )
    ranks = decayed_ranks(events, test, half_life=best * span, num_items=num_items)
    return RunResult(
        "baseline", "DecayedPopularity", dataset, seed=0, user_ids=tuple(user_ids), ranks=ranks
    ), best
