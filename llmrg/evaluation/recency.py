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
from numpy.typing import ArrayLike, NDArray

from llmrg.data.cutoff import refuse_positions
from llmrg.errors import DataError
from llmrg.evaluation.baselines import untrained_run
from llmrg.evaluation.metrics import HEADLINE_METRIC, Ranks, mean_of, ranks_of_targets
from llmrg.evaluation.runs import RunResult

HALF_LIVES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Half-lives that are tried, as shares of the time from the first to the last training interaction."""


class Events(NamedTuple):
    """Interactions of the training part: item columns and times. [E] each"""

    items: NDArray[np.int64]
    times: NDArray[np.float64]


class Moments(NamedTuple):
    """Held-out targets, when they were taken, and what their users had before them. [U] each"""

    targets: NDArray[np.int64]
    times: NDArray[np.float64]
    histories: Sequence[ArrayLike]


def decayed_ranks(
    events: Events, moments: Moments, *, half_life: float, num_items: int, padding: int | None = 0
) -> Ranks:
    """The ranks of every target at its moment.

    Args:
        events: what is counted, in any order.
        moments: what is ranked, in any order.
        half_life: in the unit of the times.
        num_items: columns V, padding included.
        padding: column that is no item and must not compete; None where there is none.

    Shapes:
        → [U]

    >>> events = Events(np.array([1, 1, 2]), np.array([0.0, 1.0, 9.0]))
    >>> moments = Moments(np.array([1, 1]), np.array([5.0, 10.0]), [[], [2]])
    >>> ranks = decayed_ranks(events, moments, half_life=2.0, num_items=3)
    >>> ranks.kept.tolist(), ranks.left_out.tolist()
    ([1.0, 2.0], [1.0, 1.0])
    """
    order = np.argsort(events.times, kind="stable")
    items, times = events.items[order], events.times[order]
    scores = np.zeros(num_items)
    kept, left_out = np.empty(len(moments.targets)), np.empty(len(moments.targets))
    done, now = 0, float(moments.times.min(initial=np.inf))
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
        both = ranks_of_targets(shown[None], moments.targets[row : row + 1], [moments.histories[row]])
        kept[row], left_out[row] = both.kept[0], both.left_out[0]
    return Ranks(kept, left_out)


def decayed_popularity_run(
    events: Events,
    *,
    valid: Moments,
    test: Moments,
    user_ids: Sequence[str],
    num_items: int,
    dataset: str,
    first_times: Sequence[float],
    keep_seen: bool = True,
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
        keep_seen: whether items of the history are in the ranking that is reported first.

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
            HEADLINE_METRIC,
            decayed_ranks(events, valid, half_life=share * span, num_items=num_items).of(keep_seen),
        ),
    )
    ranks = decayed_ranks(events, test, half_life=best * span, num_items=num_items)
    return untrained_run("DecayedPopularity", dataset, user_ids, ranks, keep_seen), best
