"""The report as one page that needs nothing else: styles, data and Plotly are inlined.

Promise: the page asks the network for nothing (its content policy forbids it), runs only the scripts whose
hashes it names, and shows every foreign name as text. Without scripts, sentences and tables are still there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from llmrg.evaluation.metrics import HEADLINE_METRIC, METRICS
from llmrg.evaluation.report_costs import cost_table, generation_table, training_table
from llmrg.evaluation.report_figures import COLOURS, arm_order, dash
from llmrg.evaluation.report_tables import (
    NAME_LIMIT,
    Table,
    arm_names,
    curve_table,
    environment_table,
    group_table,
    metric_table,
    paired_table,
    seed_words,
    trial_table,
)
from llmrg.evaluation.results import ComparisonReport
from llmrg.plain_text import plain_line, script_json

STYLE = Path(__file__).with_name("report_page.css")
SCRIPT = Path(__file__).with_name("report_page.js")
LABEL_LIMIT = 20
"""Characters of a data set or a model in a label; arms are never shortened further than in the tables."""


def render_html(report: ComparisonReport) -> str:
    """The whole page, about five megabytes, nearly all of it Plotly."""
    from plotly.offline import get_plotlyjs

    plotly, script = get_plotlyjs(), SCRIPT.read_text(encoding="utf-8")
    datasets = ", ".join(dict.fromkeys(plain_line(run.dataset, 60) for run in report.runs))
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in (plotly, script))
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Comparison on {escape(datasets)}</title>",
            f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            "<main>",
            *_body(report, datasets),
            "</main>",
            f'<script type="application/json" id="figures">{script_json(_figures(report))}</script>',
            f"<script>{plotly}</script>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _body(report: ComparisonReport, datasets: str) -> Iterable[str]:
    models = ", ".join(dict.fromkeys(plain_line(row.model, 60) for row in report.rows))
    users = max(row.users for row in report.rows)
    yield "<header>"
    yield f"<h1>Comparison on {escape(datasets)}</h1>"
    count = f"{users:,} users, {seed_words(report.rows)}"
    yield f'<p class="lead">{escape(models)} · {count}</p>'
    yield "</header>"
    yield '<ul class="findings">'
    for sentence in report.sentences:
        warned = "Caution" in sentence[:8] or "It must not" in sentence or "cannot be credited" in sentence
        mark = ' class="caution"' if warned else ""
        yield f"<li{mark}>{escape(plain_line(sentence, 1000))}</li>"
    yield "</ul>"

    confidence = f"{100 * report.procedure.confidence:g} %"
    yield "<section><h2>Metrics by arm</h2>"
    yield _choice("metric-of-bars")
    yield _chart("bars", f"Mean over users and seeds; whiskers: {confidence} bootstrap interval over users.")
    yield _table(metric_table(report))
    yield "</section>"
    if report.comparisons:
        name = escape(plain_line(report.enhanced, 60))
        yield f"<section><h2>What {name} gains over each arm</h2>"
        yield _choice("metric-of-forest")
        yield _chart(
            "forest",
            f"Relative gain, paired by user; lines: {confidence} bootstrap interval, unadjusted. Filled: "
            "shown after Holm's correction; open: no difference shown; diamond: a loss.",
        )
        yield _table(paired_table(report, (HEADLINE_METRIC,)))
        yield "<details><summary>All metrics</summary>"
        yield _table(paired_table(report))
        yield "</details></section>"
    if any(run.curve for run in report.runs):
        yield "<section><h2>Learning curves</h2>"
        yield _chart(
            "curves", "Validation NDCG@10 after each epoch, one line per seed; the dot is the epoch chosen."
        )
        yield _legend(report)
        yield "<details><summary>As a table</summary>"
        yield _table(curve_table(report))
        yield "</details></section>"
    if report.training or report.costs:
        yield "<section><h2>Cost and time</h2>"
        if report.training:
            yield _table(cost_table(report))
            yield _chart("cost", "Training time per epoch, validation included.")
            yield _table(training_table(report))
        if report.costs:
            yield _table(generation_table(report))
        yield "</section>"
    for title, table in (
        ("The other protocol, and groups of users", group_table(report)),
        ("Search", trial_table(report)),
    ):
        if table.rows:
            yield f"<section><h2>{title}</h2>{_table(table)}</section>"
    yield "<section><h2>Protocol and environment</h2><ul>"
    for line in (*report.environment.protocol, *report.environment.notes):
        yield f"<li>{escape(plain_line(line, 1000))}</li>"
    yield "</ul>"
    yield _table(environment_table(report))
    yield "</section>"


def _choice(name: str) -> str:
    chosen = " selected"
    options = "".join(
        f'<option value="{metric}"{chosen if metric == HEADLINE_METRIC else ""}>{metric.upper()}</option>'
        for metric in METRICS
    )
    select = f'<select class="metric" id="{name}">{options}</select>'
    return f'<label for="{name}">Metric</label>{select}'


def _chart(name: str, caption: str) -> str:
    # the figures stand in a table beside it, so a screen reader may pass over the drawing
    return (
        f'<figure><div class="chart" id="{name}" aria-hidden="true"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _legend(report: ComparisonReport) -> str:
    """What line is which arm's; unticked, its lines are not drawn."""
    curved = {run.arm for run in report.runs if run.curve}
    entries = "".join(
        f'<li><label><input type="checkbox" value="{place}" checked autocomplete="off">'
        f'<svg width="30" height="8"><path d="M0 4h30" stroke-dasharray="{dash(place)}" '
        f'style="stroke:var(--arm-{place % COLOURS})"/></svg>{escape(plain_line(arm, NAME_LIMIT))}</label></li>'
        for place, arm in enumerate(arm_order(report))
        if arm in curved
    )
    return f'<ul class="legend">{entries}</ul>'


def _table(table: Table) -> str:
    prose = table.names == len(table.header)

    def cell(tag: str, place: int, text: str) -> str:
        kind = ' class="figure"' if place >= table.names else ' class="prose"' if prose and place else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{kind}{scope}>{escape(text)}</{tag}>"

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(cell(tag, place, text) for place, text in enumerate(row))

    body = "".join(
        f"<tr{' class=strong' if place in table.emphasised else ''}>{cells('td', row)}</tr>"
        for place, row in enumerate(table.rows)
    )
    title = escape(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<caption>{title}</caption><thead><tr>{cells('th', table.header)}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _figures(report: ComparisonReport) -> dict[str, Any]:
    """What the script draws; names are escaped because Plotly reads a little HTML in them."""
    arms = arm_order(report)
    curved = [run for run in report.runs if run.curve]
    panels = list(dict.fromkeys((run.dataset, run.model) for run in curved))

    def named(dataset: str, model: str, arm: str, words: str = "{}") -> dict[str, Any]:
        *above, last = arm_names(report, dataset, model, arm)
        group = " · ".join(map(_shortened, above))
        return {"group": escape(group), "name": escape(words.format(last)), "arm": arms.index(arm)}

    return {
        "metric": HEADLINE_METRIC,
        "colours": COLOURS,
        "dashes": [",".join(f"{length}px" for length in dash(n).split()) for n in range(len(arms))],
        "bars": {
            metric: [
                {
                    **named(row.dataset, row.model, row.arm),
                    "mean": row.mean,
                    "low": row.interval.low,
                    "high": row.interval.high,
                }
                for row in report.rows
                if row.metric == metric
            ]
            for metric in METRICS
        },
        "forest": {
            metric: [
                {
                    **named(c.dataset, c.model, c.other, "over {}"),
                    "gain": 100 * c.gain,
                    "low": 100 * c.gain_interval.low,
                    "high": 100 * c.gain_interval.high,
                    "p": c.p_holm,
                    "verdict": c.verdict,
                }
                for c in report.comparisons
                if c.metric == metric and c.gain is not None and c.gain_interval is not None
            ]
            for metric in METRICS
        },
        "curves": [
            {
                **named(run.dataset, run.model, run.arm),
                "panel": panels.index((run.dataset, run.model)),
                "seed": run.seed,
                "epochs": [point.epoch for point in run.curve],
                "ndcg": [point.valid_ndcg10 for point in run.curve],
                "best": run.best_epoch,
            }
            for run in curved
        ],
        "cost": [
            {**named(t.dataset, t.model, t.arm), "seconds": t.seconds_per_epoch} for t in report.training
        ],
    }


def _shortened(name: str) -> str:
    """Without its middle, where it is long: what tells two names apart stands at either end."""
    half = (LABEL_LIMIT - 1) // 2
    return name if len(name) <= LABEL_LIMIT else f"{name[:half]}…{name[-half:]}"


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
