"""The tables of a report as words, shared by the terminal, Markdown and HTML.

Promise: every figure of a chart stands in a table too; foreign names are one harmless line, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmrg.evaluation.metrics import METRICS
from llmrg.evaluation.results import ComparisonReport, MetricRow, PairedComparison
from llmrg.evaluation.sentences import signed
from llmrg.plain_text import plain_line

SHORT_METRICS = ("hr@10", "ndcg@10", "mrr@10")
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

    def without(self, *columns: str, title: str) -> Table:
        """Fewer columns under another title, for a narrow place; a column is named by its header."""
        kept = [place for place, name in enumerate(self.header) if name not in columns]
        return replace(
            self,
            title=title,
            header=tuple(self.header[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
            names=sum(place < self.names for place in kept),
        )


def arm_names(report: ComparisonReport, dataset: str, model: str, arm: str) -> tuple[str, ...]:
    """What identifies a row: the data set only where there are several."""
    several = len({run.dataset for run in report.runs}) > 1
    names = (dataset, model, arm) if several else (model, arm)
    return tuple(plain_line(name, NAME_LIMIT) for name in names)


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
        header=(*_name_header(report), "seeds", *(metric.upper() for metric in metrics)),
        rows=tuple(body),
        names=len(_name_header(report)),
        emphasised=frozenset(i for i, (_, _, arm) in enumerate(rows) if arm == report.enhanced),
    )


def paired_table(report: ComparisonReport, metrics: Sequence[str] = METRICS) -> Table:
    """The arm under test against every other arm."""
    shown = [c for c in report.comparisons if c.metric in metrics]
    header = ("against", "metric", "gain %", "interval %", "difference", "d", "p", "p (Holm)", "verdict")
    return Table(
        title=f"Paired differences of {plain_line(report.enhanced, NAME_LIMIT)} over users",
        header=(*_name_header(report)[:-1], *header),
        rows=tuple(_paired_row(report, c) for c in shown),
        names=len(_name_header(report)) + 1,
    )


def training_table(report: ComparisonReport) -> Table:
    """Time and size of training."""
    body = [
        (
            *arm_names(report, t.dataset, t.model, t.arm),
            f"{t.seconds_per_epoch:.2f}",
            f"{t.epochs:g}",
            f"{t.best_epoch:g}",
            f"{t.seconds:.1f}",
            f"{t.parameters:,}",
        )
        for t in report.training
    ]
    header = ("seconds / epoch", "epochs", "best epoch", "seconds", "parameters")
    return Table(
        title="Training, mean over seeds",
        header=(*_name_header(report), *header),
        rows=tuple(body),
        names=len(_name_header(report)),
        emphasised=frozenset(i for i, t in enumerate(report.training) if t.arm == report.enhanced),
    )


# the latter are the same graphs laid out again, with what verification rejected
_REASONED = ("graphs", "unverified")


def cost_table(report: ComparisonReport) -> Table:
    """What every arm gained over the reference, beside what it took."""
    made = {cost.dataset: cost for cost in report.costs}
    body = []
    for t in report.training:
        mean = report.row(t.dataset, t.model, t.arm, "ndcg@10").mean
        base = [
            r.mean
            for r in report.rows
            if (r.dataset, r.model, r.arm, r.metric) == (t.dataset, t.model, report.reference, "ndcg@10")
        ]
        gain = signed(100 * (mean / base[0] - 1), "+.1f") if base and base[0] else NONE
        cost = made.get(t.dataset, made.get("")) if t.graphs in _REASONED else None
        calls, tokens, dollars = "0", "0", "0"
        if cost is not None:
            calls, tokens = f"{cost.requests:,}", f"{cost.input_tokens + cost.output_tokens:,}"
            dollars = NONE if cost.dollars is None else f"{cost.dollars:.2f}"
        taken = f"{t.seconds + (0.0 if cost is None else cost.seconds):.1f}"
        names = arm_names(report, t.dataset, t.model, t.arm)
        body.append((*names, f"{mean:.4f}", gain, f"{t.parameters:,}", taken, calls, tokens, dollars))
    header = ("NDCG@10", "gain %", "parameters", "seconds", "calls", "tokens", "$")
    return Table(
        title="Gain and cost of one run (seconds: training, and making the reasoner's graphs where it reads them)",
        header=(*_name_header(report), *header),
        rows=tuple(body),
        names=len(_name_header(report)),
        emphasised=frozenset(i for i, t in enumerate(report.training) if t.arm == report.enhanced),
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
            *("group", "who", "users", *_name_header(report), "NDCG@10"),
            *(f"over {plain_line(report.reference, NAME_LIMIT)}", "interval"),
        ),
        rows=tuple(body),
        names=3 + len(_name_header(report)),
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
        header=(*_name_header(report), "trial", "settings", "validation NDCG@10", "epochs", ""),
        rows=tuple(tuple(plain_line(cell, 300) for cell in row) for row in body),
        names=len(_name_header(report)) + 2,
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
        header=(*_name_header(report), "seed", "first", "best", "at epoch", "last"),
        rows=tuple(body),
        names=len(_name_header(report)),
    )


def generation_table(report: ComparisonReport) -> Table:
    """What the graphs cost; no row where none were made."""
    header = ("reasoner", "requests", "from cache", "tokens in", "tokens out", "seconds", "US dollars")
    rows = []
    for c in report.costs:
        dollars = NONE if c.dollars is None else f"{c.dollars:.2f}"
        counts = (c.requests, c.cached, c.input_tokens, c.output_tokens)
        name = plain_line(" ".join(filter(None, (c.reasoner, c.dataset))), NAME_LIMIT) or NONE
        rows.append((name, *(f"{count:,}" for count in counts), f"{c.seconds:.1f}", dollars))
    return Table(title="Making the reasoning graphs", header=header, rows=tuple(rows), names=1)


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


def _name_header(report: ComparisonReport) -> tuple[str, ...]:
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
    return (
        *arm_names(report, c.dataset, c.model, c.other),
        c.metric.upper(),
        gain,
        interval,
        signed(c.difference, "+.4f"),
        NONE if c.effect is None else signed(c.effect, "+.3f"),
        f"{c.p:.4f}",
        f"{c.p_holm:.4f}",
        c.verdict,
    )
