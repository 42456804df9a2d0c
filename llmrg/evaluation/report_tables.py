"""The tables of a report as words, shared by the terminal, Markdown and HTML.

Promise: every figure of a chart stands in a table too; foreign names are one harmless line, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmrg.evaluation.metrics import HEADLINE_METRIC, METRICS
from llmrg.evaluation.results import ComparisonReport, MetricRow, PairedComparison
from llmrg.evaluation.runs import UNTRAINED_ARM
from llmrg.evaluation.sentences import signed
from llmrg.plain_text import plain_line

NAME_LIMIT = 60
NONE = "–"


@dataclass(frozen=True)
class Table:
    """Words in rows; the first ``names`` columns are names, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    emphasised: frozenset[int] = frozenset()
    """Rows of the arm under test."""


def arm_names(report: ComparisonReport, dataset: str, model: str, arm: str) -> tuple[str, ...]:
    """What identifies a row: the data set only where there are several."""
    several = len({run.dataset for run in report.runs}) > 1
    names = (dataset, model, arm) if several else (model, arm)
    return tuple(plain_line(name, NAME_LIMIT) for name in names)


def seed_words(rows: Iterable[MetricRow]) -> str:
    """With how many seeds arms were trained: ``5 seeds``, ``2 to 5 seeds``."""
    counts = {len(row.seeds) for row in rows if row.arm != UNTRAINED_ARM} or {1}
    most = f"{max(counts)} seed{'' if max(counts) == 1 else 's'}"
    return most if len(counts) == 1 else f"{min(counts)} to {most}"


def gain_words(comparison: PairedComparison) -> str:
    """The gain in per cent and its interval: ``+13.3 [+10.9, +15.9]``; ``–`` where there is no ratio."""
    if comparison.gain is None or comparison.gain_interval is None:
        return NONE
    bounds = (comparison.gain, comparison.gain_interval.low, comparison.gain_interval.high)
    gain, low, high = (signed(100 * value, "+.1f") for value in bounds)
    return f"{gain} [{low}, {high}]"


def summary_tables(report: ComparisonReport) -> list[Table]:
    """For each data set and model one line an arm: what it reached, what is gained over it, and what it took."""
    shown = [row for row in report.rows if row.metric == HEADLINE_METRIC]
    models: dict[tuple[str, str], list[MetricRow]] = {}
    untrained: dict[str, list[MetricRow]] = {}
    for row in shown:
        if row.arm == UNTRAINED_ARM:
            untrained.setdefault(row.dataset, []).append(row)
        else:
            models.setdefault((row.dataset, row.model), []).append(row)
    if not models:
        return [_summary(report, dataset, rows) for dataset, rows in untrained.items()]
    return [
        _summary(report, f"{model} on {dataset}, {seed_words(rows)}", [*rows, *untrained.get(dataset, ())])
        for (dataset, model), rows in models.items()
    ]


def _summary(report: ComparisonReport, title: str, rows: Sequence[MetricRow]) -> Table:
    against = {(c.dataset, c.model, c.other): c for c in report.comparisons if c.metric == HEADLINE_METRIC}
    took = {(t.dataset, t.model, t.arm): f"{t.seconds:,.0f}" for t in report.training}
    body = []
    for row in rows:
        key = (row.dataset, row.model, row.arm)
        c = against.get(key)
        tested = ("", "") if c is None else (gain_words(c), _p(c.p_holm, c.p <= report.procedure.least_p))
        name = plain_line(row.model if row.arm == UNTRAINED_ARM else row.arm, NAME_LIMIT)
        hits = report.row(*key, "hr@10").mean
        body.append((name, f"{hits:.4f}", f"{row.mean:.4f}", *tested, took.get(key, "")))
    over = f"{plain_line(report.enhanced, NAME_LIMIT)} over it, %"
    return Table(
        title=f"{plain_line(title, 3 * NAME_LIMIT)}: means over users",
        header=("arm", "HR@10", "NDCG@10", over, "p (Holm)", "seconds"),
        rows=tuple(body),
        names=1,
        emphasised=frozenset(i for i, row in enumerate(rows) if row.arm == report.enhanced),
    )


def metric_table(report: ComparisonReport) -> Table:
    """Mean ± standard deviation over seeds."""
    rows: dict[tuple[str, str, str], dict[str, MetricRow]] = {}
    for row in report.rows:
        rows.setdefault((row.dataset, row.model, row.arm), {})[row.metric] = row
    body = []
    for names, cells in rows.items():
        figures = [_mean_and_deviation(cells[metric]) for metric in METRICS]
        body.append((*arm_names(report, *names), str(len(cells[HEADLINE_METRIC].seeds)), *figures))
    return Table(
        title="Mean ± standard deviation over seeds",
        header=(*name_header(report), "seeds", *(metric.upper() for metric in METRICS)),
        rows=tuple(body),
        names=len(name_header(report)),
        emphasised=frozenset(i for i, (_, _, arm) in enumerate(rows) if arm == report.enhanced),
    )


def paired_table(report: ComparisonReport, metrics: Sequence[str] = METRICS) -> Table:
    """The arm under test against every other arm."""
    shown = [c for c in report.comparisons if c.metric in metrics]
    header = (
        *("against", "metric", "gain %", "interval %", "difference", "d"),
        *("p", "p (Holm)", "p (seeds)", "verdict"),
    )
    return Table(
        title=f"Paired differences of {plain_line(report.enhanced, NAME_LIMIT)} over users",
        header=(*name_header(report)[:-1], *header),
        rows=tuple(_paired_row(report, c) for c in shown),
        names=len(name_header(report)) + 1,
    )


def group_table(report: ComparisonReport) -> Table:
    """NDCG@10 under the other protocol and by group of users; intervals are not adjusted."""
    body = []
    for row in report.groups:
        difference, interval = NONE, NONE
        if row.difference is not None and row.interval is not None:
            difference = signed(row.difference, "+.4f")
            interval = f"{signed(row.interval.low, '+.4f')} … {signed(row.interval.high, '+.4f')}"
        names = arm_names(report, row.dataset, row.model, row.arm)
        body.append((row.group, row.words, f"{row.users:,}", *names, f"{row.mean:.4f}", difference, interval))
    return Table(
        title="NDCG@10 under the other protocol and by group of users (for looking: no tests)",
        header=(
            *("group", "who", "users", *name_header(report), "NDCG@10"),
            *(f"over {plain_line(report.reference, NAME_LIMIT)}", "interval"),
        ),
        rows=tuple(body),
        names=3 + len(name_header(report)),
        emphasised=frozenset(i for i, row in enumerate(report.groups) if row.arm == report.enhanced),
    )


def trial_table(report: ComparisonReport) -> Table:
    """Every trial of the search, on validation targets."""
    body = [
        (
            *arm_names(report, t.dataset, t.model, t.arm),
            str(t.number),
            ", ".join(f"{name}={value}" for name, value in t.settings.items()) or "as given",
            f"{t.score:.4f}",
            str(t.epochs or "diverged"),
            "chosen" if t.chosen else "",
        )
        for t in report.trials
    ]
    return Table(
        title="Search: trials of base and enhanced, judged on validation",
        header=(*name_header(report), "trial", "settings", "validation NDCG@10", "epochs", ""),
        rows=tuple(tuple(plain_line(cell, 300) for cell in row) for row in body),
        names=len(name_header(report)) + 2,
        emphasised=frozenset(i for i, t in enumerate(report.trials) if t.chosen),
    )


def curve_table(report: ComparisonReport) -> Table:
    """The learning curve of every run in one line."""
    body = []
    for run in report.runs:
        seen = [(p.valid_ndcg10, p.epoch) for p in run.curve if p.valid_ndcg10 is not None]
        if not seen:
            continue
        best, epoch = max(seen, key=lambda pair: (pair[0], -pair[1]))
        names = arm_names(report, run.dataset, run.model, run.arm)
        body.append(
            (*names, str(run.seed), f"{seen[0][0]:.4f}", f"{best:.4f}", str(epoch), f"{seen[-1][0]:.4f}")
        )
    return Table(
        title="Validation NDCG@10",
        header=(*name_header(report), "seed", "first", "best", "at epoch", "last"),
        rows=tuple(body),
        names=len(name_header(report)),
    )


def environment_table(report: ComparisonReport) -> Table:
    """Versions, sizes, seeds and hashes: what repeats the run."""
    e, p = report.environment, report.procedure
    rows = [("command", e.command)] if e.command else []
    rows += [
        (f"data: {name}", ", ".join(f"{n:,} {what}" for what, n in sizes.items()))
        for name, sizes in e.datasets.items()
    ]
    rows.append(
        ("tests", f"{p.resamples:,} bootstrap resamples, {p.permutations:,} sign flips, seed {p.seed}")
    )
    rows += [("processor cores", str(e.cores))] if e.cores else []
    rows += [("trained on", e.device)] if e.device else []
    rows += (
        [("versions", ", ".join(f"{name} {version}" for name, version in e.versions.items()))]
        if e.versions
        else []
    )
    rows += [(f"fingerprint: {name}", value) for name, value in e.fingerprints.items()]
    clean = tuple((plain_line(name), plain_line(value, 2000)) for name, value in rows)
    return Table(title="Environment", header=("what", "value"), rows=clean, names=2)


def name_header(report: ComparisonReport) -> tuple[str, ...]:
    """The header over :func:`arm_names`."""
    several = len({run.dataset for run in report.runs}) > 1
    return ("data set", "model", "arm") if several else ("model", "arm")


def _mean_and_deviation(row: MetricRow) -> str:
    return f"{row.mean:.4f}" + ("" if row.sd is None else f" ±\N{NO-BREAK SPACE}{row.sd:.4f}")


def _paired_row(report: ComparisonReport, c: PairedComparison) -> tuple[str, ...]:
    gain, interval = NONE, NONE
    if c.gain is not None and c.gain_interval is not None:
        gain = signed(100 * c.gain, "+.1f")
        bounds = (c.gain_interval.low, c.gain_interval.high)
        interval = "\N{NO-BREAK SPACE}…\N{NO-BREAK SPACE}".join(
            signed(100 * bound, "+.1f") for bound in bounds
        )
    least = c.p <= report.procedure.least_p
    return (
        *arm_names(report, c.dataset, c.model, c.other),
        c.metric.upper(),
        gain,
        interval,
        signed(c.difference, "+.4f"),
        NONE if c.effect is None else signed(c.effect, "+.3f"),
        _p(c.p, least),
        _p(c.p_holm, least),
        NONE if c.seed_p is None else _p(c.seed_p),
        c.verdict,
    )


def _p(p: float, least: bool = False) -> str:
    """A p-value; ``≤`` where no drawn sign flip was as extreme."""
    if p < 0.0001:
        return "<\N{NO-BREAK SPACE}0.0001"
    sign = "≤\N{NO-BREAK SPACE}" if least else ""
    return f"{sign}{p:.4f}"
