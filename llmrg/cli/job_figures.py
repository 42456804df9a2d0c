"""Figures of a running job: from how it stands to rates, shares, money and time left.

Promise: what cannot be known yet is left out rather than shown as nought.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrg.cli.screen import duration

USERS_BEFORE_A_GUESS = 5  # the first ones wait for the first replies
FREE_BEFORE_A_GUESS = 500  # or a tenth of all: the first users of a fold pay for the statistics of the fold


def job_figures(now: Mapping[str, Any]) -> dict[str, float]:
    """Rates, shares, money and time left.

    Args:
        now: a :class:`~llmrg.reasoning.generation_report.Progress` as plain values, as in the event log.

    >>> traffic = {"answered": 80, "recorded": 20, "prompt_tokens": 900, "completion_tokens": 100, "usd": 0.5}
    >>> now = {"done": 10, "total": 40, "seconds": 5.0, "requests": 50, "reused": 50, "repaired": 5}
    >>> found = job_figures({**now, "rejected_share": 0.1, "traffic": {**traffic, "throttled": 3}})
    >>> found["users_per_second"], found["projected_usd"], found["reuse_share"], found["seconds_left"]
    (2.0, 2.0, 0.5, 15.0)
    """
    seconds, done, total = float(now["seconds"]), int(now["done"]), int(now["total"])
    traffic = now.get("traffic") or {}
    found: dict[str, float] = {}
    if seconds > 0 and done:
        found["users_per_second"] = done / seconds
    asked = traffic.get("answered") or traffic.get("recorded")
    free = 0 if asked else min(FREE_BEFORE_A_GUESS, total // 10)
    if done >= max(USERS_BEFORE_A_GUESS, free) and seconds > 0:
        found["seconds_left"] = (total - done) * seconds / done
    questions = int(now.get("requests", 0)) + int(now.get("reused", 0))
    if questions:
        found["reuse_share"] = int(now.get("reused", 0)) / questions
    found["reject_share"] = float(now.get("rejected_share", 0.0))
    if not asked:
        return found
    if seconds > 0:
        found["calls_per_second"] = traffic["answered"] / seconds
        found["tokens_per_second"] = (traffic["prompt_tokens"] + traffic["completion_tokens"]) / seconds
    found["usd"] = float(traffic["usd"])
    if done >= USERS_BEFORE_A_GUESS:
        found["projected_usd"] = found["usd"] * total / done
        found["left_usd"] = found["projected_usd"] - found["usd"]
    if now.get("requests"):
        found["repair_share"] = int(now.get("repaired", 0)) / int(now["requests"])
    found["throttled"] = float(traffic["throttled"])
    found["in_flight"] = float(traffic.get("in_flight", 0))
    return found


def figure_words(figures: Mapping[str, float]) -> list[str]:
    """The figures in a few words each."""
    words = []
    if "users_per_second" in figures:
        words.append(f"{figures['users_per_second']:.1f} users/s")
    if "calls_per_second" in figures:
        words.append(f"{figures['calls_per_second']:.1f} calls/s")
        words.append(f"{figures['tokens_per_second']:.0f} tokens/s")
    if figures.get("usd"):
        projected = f" of about ${figures['projected_usd']:.2f}" if "projected_usd" in figures else ""
        words.append(f"${figures['usd']:.4f}{projected}")
    if figures.get("reuse_share"):
        words.append(f"{figures['reuse_share']:.0%} reused")
    if figures.get("repair_share"):
        words.append(f"{figures['repair_share']:.0%} repaired")
    if figures.get("reject_share") and "usd" in figures:
        words.append(f"{figures['reject_share']:.0%} rejected")
    if figures.get("throttled"):
        words.append(f"{figures['throttled']:.0f} times too fast (429)")
    if "seconds_left" in figures:
        words.append(f"about {duration(figures['seconds_left'])} left")
    return words
