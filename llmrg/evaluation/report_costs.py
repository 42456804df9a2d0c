"""The tables of a report that say what an arm took: training, and the graphs it read.

Promise: an arm is charged for a reasoner's work only where it reads what a reasoner said.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmrg.evaluation.metrics import HEADLINE_METRIC
from llmrg.evaluation.report_tables import NAME_LIMIT, NONE, Table, arm_names, name_header
from llmrg.evaluation.results import ComparisonReport, GenerationCost, MetricRow
from llmrg.evaluation.sentences import NO_LANGUAGE_MODEL, signed
from llmrg.plain_text import plain_line

# the latter are the same graphs laid out again, with what verification rejected
_REASONED = ("graphs", "unverified")
_NOTHING_REASONED = ("empty", "sequence", "text")
"""Arms that leave out of those graphs all that a reasoner said, and so could have been trained without one."""


def training_table(report: ComparisonReport) -> Table:
    """Time and size of training."""
    body = [
        (
            *arm_names(report, t.dataset, t.model, t.arm),
            f"{t.seconds_per_epoch:.2f}",
            f"{t.epochs:.1f}".removesuffix(".0"),
            f"{t.best_epoch:.1f}".removesuffix(".0"),
            f"{t.seconds:.1f}",
            f"{t.parameters:,}",
        )
        for t in report.training
    ]
    header = ("seconds / epoch", "epochs", "best epoch", "seconds", "parameters")
    return _by_arm(report, "Training, mean over seeds", header, body)


def cost_table(report: ComparisonReport) -> Table:
    """What every arm gained over the reference, beside what it took."""
    made = {cost.dataset: cost for cost in report.costs}
    body = []
    for t in report.training:
        row = report.row(t.dataset, t.model, t.arm, HEADLINE_METRIC)
        gain = _gain(row, report)
        reasoned = t.graphs in _REASONED and t.arm not in _NOTHING_REASONED
        cost = made.get(t.dataset, made.get("")) if reasoned else None
        calls, tokens, dollars = "0", "0", "0"
        if cost is not None:
            calls, tokens = f"{cost.requests:,}", f"{cost.input_tokens + cost.output_tokens:,}"
            dollars = _dollars(cost)
        taken = f"{t.seconds + (0.0 if cost is None else cost.seconds):.1f}"
        names = arm_names(report, t.dataset, t.model, t.arm)
        body.append((*names, f"{row.mean:.4f}", gain, f"{t.parameters:,}", taken, calls, tokens, dollars))
    header = ("NDCG@10", "gain %", "parameters", "seconds", "calls", "tokens", "$")
    title = (
        "Gain and cost of one run (seconds: training, and making the reasoner's graphs where it reads them)"
    )
    return _by_arm(report, title, header, body)


def _gain(row: MetricRow, report: ComparisonReport) -> str:
    """Per cent over the reference, with the seeds that both have."""
    where = (row.dataset, row.model, report.reference, row.metric)
    for base in (r for r in report.rows if (r.dataset, r.model, r.arm, r.metric) == where):
        ours, theirs = (dict(zip(one.seeds, one.per_seed, strict=True)) for one in (row, base))
        common = ours.keys() & theirs.keys()
        if common and base.interval.low > 0:  # else a ratio says nothing
            ratio = sum(ours[seed] for seed in common) / sum(theirs[seed] for seed in common)
            return signed(100 * (ratio - 1), "+.1f")
    return NONE


def generation_table(report: ComparisonReport) -> Table:
    """What the graphs cost; no row where none were made."""
    header = ("reasoner", "requests", "from cache", "tokens in", "tokens out", "seconds", "US dollars")
    rows = []
    for c in report.costs:
        counts = (c.requests, c.cached, c.input_tokens, c.output_tokens)
        name = plain_line(" ".join(filter(None, (c.reasoner, c.dataset))), NAME_LIMIT) or NONE
        rows.append((name, *(f"{count:,}" for count in counts), f"{c.seconds:.1f}", _dollars(c)))
    return Table(title="Making the reasoning graphs", header=header, rows=tuple(rows), names=1)


def _by_arm(
    report: ComparisonReport, title: str, header: Sequence[str], body: Sequence[tuple[str, ...]]
) -> Table:
    """A table with one row for each entry of ``report.training``."""
    names = name_header(report)
    return Table(
        title=title,
        header=(*names, *header),
        rows=tuple(body),
        names=len(names),
        emphasised=frozenset(i for i, t in enumerate(report.training) if t.arm == report.enhanced),
    )


def _dollars(cost: GenerationCost) -> str:
    """What was paid: nothing for the embedded reasoner, unknown for a model without a price."""
    if cost.dollars is None:
        return "0" if cost.reasoner in NO_LANGUAGE_MODEL else NONE
    return f"{cost.dollars:.2f}"
