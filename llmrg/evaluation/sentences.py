"""What the figures say, in sentences.

Promise: a difference that the test does not show is never called one, a loss is called a loss, and what
weakens a finding (a control that does as well, a single seed, unfinished training) is said beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmrg.evaluation.groups import GroupRow, other_protocol
from llmrg.evaluation.metrics import HEADLINE_METRIC
from llmrg.evaluation.results import (
    GenerationCost,
    IdentityCheck,
    PairedComparison,
    Procedure,
    TrainingCost,
)

SEEDS_FOR_A_TABLE = 5
NEUTRAL_ARM = "empty"
"""The wrapper without a graph: must rank exactly as the reference does (law 3), and controls for nothing."""
PROCESSOR = "CPU"
"""The device, by its name, on which the same sums come out the same."""
CREDITS = {
    "wider": "anything but size",
    "shuffled": "the content of the graphs",
    "rewired": "how the nodes are connected",
    "sequence": "the content of the graphs",
    "text": "the content of the graphs",
    "neighbours": "reasoning",
    "unverified": "verification",
    "no-divergent": "imagined items",
    "no-pointer": "the pointer",
}
"""Arm → what a gain cannot be credited to where the arm is not beaten."""
LUCK = "Caution: the luck of training"
NO_LANGUAGE_MODEL = ("", "embedded")
"""Reasoners that have read nothing but the data set."""


def comparison_sentence(comparison: PairedComparison, procedure: Procedure) -> str:
    """One comparison in one sentence.

    ``enhanced beats base by 4.1 % NDCG@10 [1.2, 7.0], p = 0.003 after Holm``.
    """
    c = comparison
    where = f"{c.model} on {c.dataset}"
    metric = c.metric.upper()
    if c.difference == 0 and c.interval.low == c.interval.high == 0:
        return f"{where}: {c.arm} and {c.other} give every user the same {metric}."
    if c.gain is not None and c.gain_interval is not None:
        size, low, high = 100 * c.gain, 100 * c.gain_interval.low, 100 * c.gain_interval.high
        form, unit = ".1f", " %"
    else:
        size, low, high = c.difference, c.interval.low, c.interval.high
        form, unit = ".4f", ""
    bounds = f"[{signed(low, form)}, {signed(high, form)}]"
    tail = f"{p_words(c, procedure)} after Holm"
    if c.verdict == "no difference shown":
        return (
            f"{where}: no difference shown between {c.arm} and {c.other}: "
            f"{signed(size, '+' + form)}{unit} {metric} {bounds}, {tail}."
        )
    if c.verdict == "wins":
        return f"{where}: {c.arm} beats {c.other} by {size:{form}}{unit} {metric} {bounds}, {tail}."
    return f"{where}: {c.arm} loses to {c.other}: {signed(size, form)}{unit} {metric} {bounds}, {tail}."


def headline_sentences(
    comparisons: Sequence[PairedComparison],
    identities: Sequence[IdentityCheck],
    training: Sequence[TrainingCost],
    *,
    procedure: Procedure,
    reference: str,
    costs: Sequence[GenerationCost] = (),
    groups: Sequence[GroupRow] = (),
    device: str = PROCESSOR,
) -> tuple[str, ...]:
    """What a reader should know first, most important first."""
    headlines = [c for c in comparisons if c.metric == HEADLINE_METRIC]
    found = [_headline(c, comparisons, procedure) for c in headlines if c.other == reference]
    found += _other_protocol(headlines, groups, reference)
    found += [
        f"{c.model} on {c.dataset}: nothing is shown to be gained by the graphs."
        for c in headlines
        if c.other == reference and c.verdict != "wins"
    ]
    found += [
        _control_sentence(c, comparisons) for c in headlines if c.other == reference and c.verdict == "wins"
    ]
    found += [comparison_sentence(c, procedure) for c in headlines if c.other != reference]
    if not headlines:
        found.append("No enhanced arm was run beside another arm: nothing was compared.")
    found += [identity_sentence(check, device) for check in identities]
    found += _seed_cautions(headlines, procedure)
    found += _memory_cautions(costs)
    found += _cut_off_cautions(training)
    if headlines:
        found.append(
            f"Brackets are {100 * procedure.confidence:g} % bootstrap intervals over users, not adjusted for "
            f"the number of comparisons; p-values are, and under {procedure.alpha:g} count as shown."
        )
    return tuple(found)


def identity_sentence(check: IdentityCheck, device: str = PROCESSOR) -> str:
    """Whether an arm that must change nothing changed nothing, as trained on a device of this name."""
    where = f"{check.model} on {check.dataset}"
    if not check.users_differing:
        return f"{where}: {check.arm} ranks every target exactly as {check.other} does, as it must."
    found = (
        f"{where}: {check.arm} ranks the target of {check.users_differing} of {check.users} users "
        f"differently from {check.other}."
    )
    if device != PROCESSOR:
        return (
            f"{found} On {device} sums come in no fixed order, so this may be no more than a second {check.other} "
            "would show; on a processor it must not be."
        )
    return f"{found} It must not: the wrapper itself changes the model, and no gain here counts."


def p_words(comparison: PairedComparison, procedure: Procedure) -> str:
    """The corrected p-value as a reader expects it: ``p < 0.001``, ``p = 0.031``.

    ``p ≤ 0.009`` where more sign flips might have made it smaller.
    """
    if comparison.p_holm < 0.001:
        return "p < 0.001"
    if comparison.p <= procedure.least_p:
        return f"p ≤ {_three_places(math.ceil(1000 * comparison.p_holm) / 1000)}"  # never less than it is
    return f"p = {_three_places(comparison.p_holm)}"


def _three_places(p: float) -> str:
    return f"{float(f'{p:.3f}'):g}"


def signed(value: float, form: str) -> str:
    """A number with a true minus sign, and no sign on zero.

    >>> signed(-0.51, ".1f"), signed(-0.01, ".1f"), signed(2.0, "+.1f")
    ('−0.5', '0.0', '+2.0')
    """
    text = f"{value:{form}}"
    if float(text) == 0:
        return text.lstrip("+-")
    return text.replace("-", "−")


def _headline(gain: PairedComparison, comparisons: Sequence[PairedComparison], procedure: Procedure) -> str:
    """The comparison with the reference, the controls that are beaten too, and the metrics that do not agree."""
    sentence = comparison_sentence(gain, procedure)
    if gain.verdict != "wins":
        return sentence
    same = [c for c in comparisons if (c.dataset, c.model) == (gain.dataset, gain.model)]
    beaten = [c for c in same if c.metric == gain.metric and c.other in CREDITS and c.verdict == "wins"]
    sizes = [
        f"{c.other} by {c.difference:.4f}" if c.gain is None else f"{c.other} by {100 * c.gain:.1f} %"
        for c in beaten
    ]
    others = (gain.other, *(c.other for c in beaten))
    sentence = sentence.removesuffix(".")
    if sizes:
        sentence += f", and the control{'s' if len(sizes) > 1 else ''} {_listed(sizes)}"
    for verdict, words in (
        ("no difference shown", "not significant after Holm for"),
        ("loses", "but a loss in"),
    ):
        metrics_of: dict[str, list[str]] = {}
        for other in others:
            metrics = [c.metric.upper() for c in same if c.other == other and c.verdict == verdict]
            if metrics:
                metrics_of.setdefault(_listed(metrics), []).append(other)
        if metrics_of:
            found = "; ".join(f"{metrics} over {_listed(names)}" for metrics, names in metrics_of.items())
            sentence += f"; {words} {found}"
    return sentence + "."


def _other_protocol(
    headlines: Sequence[PairedComparison], groups: Sequence[GroupRow], reference: str
) -> list[str]:
    """The same gain where seen items are treated the other way."""
    rows = other_protocol(groups)
    found = []
    for c in (c for c in headlines if c.other == reference):
        row, base = rows.get((c.dataset, c.model, c.arm)), rows.get((c.dataset, c.model, reference))
        if row is None or base is None or row.interval is None or not base.mean or c.gain is None:
            continue
        bounds = (signed(row.interval.low, "+.4f"), signed(row.interval.high, "+.4f"))
        found.append(
            f"{c.model} on {c.dataset}: with {row.words}, {c.arm} stands at {row.mean:.4f} and {reference} at "
            f"{base.mean:.4f} {c.metric.upper()}: {signed(100 * (row.mean / base.mean - 1), '+.1f')} % instead of "
            f"{signed(100 * c.gain, '+.1f')} % (interval of the difference [{', '.join(bounds)}], not tested)."
        )
    return found


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])


def _memory_cautions(costs: Sequence[GenerationCost]) -> list[str]:
    films = [c for c in costs if c.reasoner not in NO_LANGUAGE_MODEL and is_movielens(c.dataset)]
    return [
        f"Caution: {c.reasoner} may have read {c.dataset} before. Language models have memorised parts of MovieLens, "
        "interactions included (arXiv 2505.10212), so a gain here need not be a gain elsewhere; "
        f"llmrg doctor --probe-memory {c.dataset} --model {c.reasoner} asks what it knows by heart."
        for c in films
    ]


def _cut_off_cautions(training: Sequence[TrainingCost]) -> list[str]:
    found = []
    for dataset, model in dict.fromkeys((t.dataset, t.model) for t in training if t.cut_off):
        arms = [t for t in training if (t.dataset, t.model) == (dataset, model)]
        cut = [
            t.arm if t.cut_off == t.runs else f"{t.arm} ({t.cut_off} of {t.runs} runs)"
            for t in arms
            if t.cut_off
        ]
        whom = "every arm" if all(t.cut_off == t.runs for t in arms) else _listed(cut)
        found.append(
            f"Caution: training of {whom} of {model} on {dataset} ended at the most epochs allowed, not because "
            "validation had ceased to improve; a comparison of unfinished models says little."
        )
    return found


def is_movielens(dataset: str) -> bool:
    """Whether a data set's name says that it is one of MovieLens.

    >>> is_movielens("ml-1m"), is_movielens("MovieLens-20M"), is_movielens("amazon-beauty")
    (True, True, False)
    """
    name = dataset.lower()
    return name.startswith("ml-") or "movielens" in name


def _control_sentence(gain: PairedComparison, comparisons: Sequence[PairedComparison]) -> str:
    all_metrics = [
        c for c in comparisons if (c.dataset, c.model) == (gain.dataset, gain.model) and c.other != gain.other
    ]
    same = [c for c in all_metrics if c.metric == gain.metric]
    where = f"{gain.model} on {gain.dataset}"
    if not same:
        return (
            f"{where}: no control arm was run, so the gain cannot be credited to the content of the graphs."
        )
    unbeaten = [c.other for c in same if c.verdict != "wins"]
    if unbeaten:
        credit = _listed(
            list(dict.fromkeys(CREDITS.get(arm, "the content of the graphs") for arm in unbeaten))
        )
        but = []
        for arm in unbeaten:
            won = [c.metric.upper() for c in all_metrics if c.other == arm and c.verdict == "wins"]
            but += [f"{arm} in {_listed(won)}"] if won else []
        return (
            f"{where}: the gain over {gain.other} cannot be credited to {credit}: {gain.arm} is not shown to beat "
            f"{', '.join(unbeaten)} in {gain.metric.upper()}{f' (it beats {_listed(but)})' if but else ''}."
        )
    return (
        f"{where}: {gain.arm} also beats every control of this report ({', '.join(c.other for c in same)})."
    )


def _seed_cautions(headlines: Sequence[PairedComparison], procedure: Procedure) -> list[str]:
    """Few seeds, and differences that users show but that vary so much over seeds that training may explain them."""
    found = []
    fewest = min((len(c.seeds) for c in headlines), default=SEEDS_FOR_A_TABLE)
    if fewest < SEEDS_FOR_A_TABLE:
        seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
        fewer = {c.other for c in headlines if len(c.seeds) == fewest}
        whose = (
            "per arm" if len(fewer) == len({c.other for c in headlines}) else f"of {_listed(sorted(fewer))}"
        )
        found.append(
            f"Caution: {seeds} {whose}. The tests compare users of these trained models and do not cover the "
            f"luck of training; a table to be cited needs {SEEDS_FOR_A_TABLE} seeds or more."
        )
    lucky: dict[tuple[str, str, str], list[str]] = {}
    for c in headlines:
        if c.verdict != "no difference shown" and c.seed_p is not None and c.seed_p >= procedure.alpha:
            each = ", ".join(signed(difference, "+.4f") for difference in c.per_seed)
            lucky.setdefault((c.dataset, c.model, c.arm), []).append(
                f"{c.other} ({each}; t-test over seeds: p = {_three_places(c.seed_p)})"
            )
    found += [
        f"{LUCK} may explain how {arm} of {model} on {dataset} differs from {_listed(others)}."
        for (dataset, model, arm), others in lucky.items()
    ]
    return found
