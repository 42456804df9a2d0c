"""The tables of a report as words, shared by the terminal, Markdown and HTML.

Promise: every figure of a chart stands in a table too; foreign names are one harmless line, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmrg.evaluation.metrics import METRICS
from llmrg.evaluation.results import ComparisonReport, MetricRow, PairedComparison
from llmrg.evaluation.runs import UNTRAINED_ARM
from llmrg.evaluation.sentences import HEADLINE_METRIC, signed
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


def seed_words(report: ComparisonReport) -> str:
    """With how many seeds the arms were trained: ``5 seeds``, ``2 to 5 seeds``."""
    counts = {len(row.seeds) for row in report.rows if row.arm != UNTRAINED_ARM} or {1}
    most = f"{max(counts)} seed{'' if max(counts) == 1 else 's'}"
    return most if len(counts) == 1 else f"{min(counts)} to {most}"


def summary_table(report: ComparisonReport) -> Table:
    """One line an arm: what it reached, what the arm under test gains over it, and what it took."""
    groups = dict.fromkeys((row.dataset, row.model) for row in report.rows if row.arm != UNTRAINED_ARM)
    against = {(c.dataset, c.model, c.other): c for c in report.comparisons if c.metric == HEADLINE_METRIC}
    took = {(t.dataset, t.model, t.arm): f"{t.seconds:,.0f}" for t in report.training}
    body, arms = [], []
    for row in (row for row in report.rows if row.metric == HEADLINE_METRIC):
        key = (row.dataset, row.model, row.arm)
        c = against.get(key)
        gain, p = "", ""
        if c is not None:
            p = _p(c.p_holm, c.p <= report.procedure.least_p)
            gain = signed(c.difference, "+.4f") + " (no ratio)"
            if c.gain is not None and c.gain_interval is not None:
                bounds = (signed(100 * v, "+.1f") for v in (c.gain_interval.low, c.gain_interval.high))
                gain = f"{signed(100 * c.gain, '+.1f')} [{', '.join(bounds)}]"
        names = arm_names(report, *key)
        if len(groups) < 2:  # the title names the model
            names = names[-1:] if row.arm != UNTRAINED_ARM else names[-2:-1]
        hits = report.row(*key, "hr@10")
        body.append((*names, f"{hits.mean:.4f}", f"{row.mean:.4f}", gain, p, took.get(key, "")))
        arms.append(row.arm)
    header = name_header(report) if len(groups) > 1 else ("arm",)
    title = "Every arm"
    if len(groups) == 1:
        (where,) = groups
        title = " on ".join(plain_line(name, NAME_LIMIT) for name in reversed(where))
    over = f"{plain_line(report.enhanced, NAME_LIMIT)} over it, %"
    return Table(
        title=f"{title}, {seed_words(report)}: means over users",
        header=(*header, "HR@10", "NDCG@10", over, "p (Holm)", "seconds"),
        rows=tuple(body),
        names=len(header),
        emphasised=frozenset(i for i, arm in enumerate(arms) if arm == report.enhanced),
    )


def metric_table(report: ComparisonReport, metrics: Sequence[str] = METRICS) -> Table:
    """Mean ± standard deviation over seeds."""
    rows: dict[tuple[str, str, str], dict[str, MetricRow]] = {}
    for row in report.rows:
        rows.setdefault((row.dataset, row.model, row.arm), {})[row.metric] = row
    body = []
    for names, cells in rows.items():
        figures = [_mean_and_deviation(cells[metric]) for metric in metrics]
        body.append((*arm_names(report, *names), str(len(cells[metrics[0]].seeds)), *figures))
    return Table(
        title="Mean ± standard deviation over seeds",
        header=(*name_header(report), "seeds", *(metric.upper() for metric in metrics)),
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
            str(t.epochs),
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
        return "< 0.0001"
    return f"{'≤ ' if least else ''}{p:.4f}"
