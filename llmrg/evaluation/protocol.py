"""How models are evaluated, in the sentences that stand beside every figure.

Promise: what differs between two reports of the same models (split, seen items, search) is said in every one.
"""

from __future__ import annotations

_LEAVE_ONE_OUT = (
    "Leave-one-out: the last interaction of a user is the test target, the one before it validates (of three "
    "interactions none validates, and whoever has fewer is not tested)."
)
_GLOBAL_TIME = (
    "Global time: the oldest 80 % of all interactions train, the next 10 % validate, the rest test (or the shares that "
    "eval_args name); a user's target is the first interaction of the period, ranked from everything known before it."
)
_SEEN_KEPT = "Items the user has already seen are not filtered from the ranking."
_SEEN_LEFT_OUT = (
    "Items the user has already seen are left out of the ranking; a target seen before is missed."
)
_RANKED = "Every item of the catalogue is ranked; nothing is sampled."
_CHOSEN = (
    "Ties count half.",
    "The best epoch is chosen on validation only; the test part is evaluated once.",
)
_SHARED = "All arms of a model share the data, the seeds, the stopping rule and every setting but what makes the arm."
_SEARCHED = (
    "All arms of a model share the data, the seeds and the stopping rule. Base and enhanced were given the same number "
    "of trials; base, empty and wider have the base's winning settings (wider in the size of the enhanced winner), "
    "every other arm the enhanced one's."
)


def protocol_in_words(
    *, global_time: bool = False, keep_seen: bool = True, searched: bool = False
) -> tuple[str, ...]:
    """How models are evaluated, in sentences; by default as RecBole evaluates sequential models."""
    split = _GLOBAL_TIME if global_time else _LEAVE_ONE_OUT
    seen = _SEEN_KEPT if keep_seen else _SEEN_LEFT_OUT
    return (split, _RANKED, seen, *_CHOSEN, _SEARCHED if searched else _SHARED)
