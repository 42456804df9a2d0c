"""Rendering a report: a table in the terminal, Markdown, and files on disk.

Promise: rendering computes nothing but words; the same report always gives the same bytes, and no foreign
name (data set, arm, model) can act as markup anywhere.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from llmrg.errors import DataError
from llmrg.evaluation.report_costs import cost_table, generation_table, training_table
from llmrg.evaluation.report_figures import FIGURES, draw_figures
from llmrg.evaluation.report_html import render_html
from llmrg.evaluation.report_tables import (
    Table,
    curve_table,
    environment_table,
    group_table,
    metric_table,
    paired_table,
    summary_tables,
    trial_table,
)
from llmrg.evaluation.results import ComparisonReport
from llmrg.plain_text import plain_line

REPORT_FILE, RANKS_FILE = "report.json", "ranks.npz"
FIGURE_FOLDER = "figures"
"""Beside ``report.md``, which shows what lies there."""


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written."""

    json: Path
    markdown: Path
    html: Path
    ranks: Path
    figures: Path


def write_report(report: ComparisonReport, folder: Path) -> ReportPaths:
    """Write ``report.json``, ``report.md``, ``report.html``, ``ranks.npz`` and ``figures/*.svg`` into ``folder``."""
    paths = ReportPaths(
        json=folder / REPORT_FILE,
        markdown=folder / "report.md",
        html=folder / "report.html",
        ranks=folder / RANKS_FILE,
        figures=folder / FIGURE_FOLDER,
    )
    paths.figures.mkdir(parents=True, exist_ok=True)
    document = json.dumps(report.to_document(), indent=1, ensure_ascii=False, allow_nan=False)
    paths.json.write_text(document + "\n", encoding="utf-8")
    paths.markdown.write_text(render_markdown(report), encoding="utf-8")
    paths.html.write_text(render_html(report), encoding="utf-8")
    report.save_ranks(paths.ranks)
    drawn = draw_figures(report)
    for name in FIGURES:
        if name in drawn:
            (paths.figures / name).write_text(drawn[name], encoding="utf-8")
        else:  # of an earlier report in this folder
            (paths.figures / name).unlink(missing_ok=True)
    return paths


def read_report(folder: Path, *, ranks: bool = True) -> ComparisonReport:
    """The report that :func:`write_report` wrote.

    Args:
        folder: where to.
        ranks: with the rank of every user; without, ``report.json`` is enough, and the runs have no users.

    Raises:
        DataError: there is none, it is of another version, or damaged.
    """
    path = folder / REPORT_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"no report can be read here: {error}", path=str(path)) from error
    return ComparisonReport.from_document(document, ranks=folder / RANKS_FILE if ranks else None)


def terminal_view(report: ComparisonReport) -> RenderableType:
    """What a person wants to see when the run ends, for any rich console: sentences, then a table a model."""
    sentences = RichTable.grid(padding=(0, 1))
    for sentence in report.sentences:
        sentences.add_row("•", Text(plain_line(sentence, 1000)))
    return Group(sentences, Text(), *map(_rich_table, summary_tables(report)))


def render_terminal(report: ComparisonReport, *, width: int = 110) -> str:
    """:func:`terminal_view` as plain text without colours."""
    console = Console(file=io.StringIO(), width=width, no_color=True, force_terminal=False)
    console.print(terminal_view(report))
    written = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in written.splitlines()) + "\n"


def render_markdown(report: ComparisonReport) -> str:
    """The report as GitHub-flavoured Markdown."""
    environment = report.environment
    datasets = ", ".join(dict.fromkeys(run.dataset for run in report.runs))
    tables = (
        paired_table(report),
        cost_table(report),
        group_table(report),
        trial_table(report),
        training_table(report),
        generation_table(report),
        curve_table(report),
    )
    parts = [
        f"# Comparison on {escape_markdown(plain_line(datasets))}",
        "\n".join(f"- {escape_markdown(plain_line(sentence, 1000))}" for sentence in report.sentences),
        *(f"![{FIGURES[name]}]({FIGURE_FOLDER}/{name})" for name in draw_figures(report)),
        _markdown_table(metric_table(report)),
        *(_markdown_table(table) for table in tables if table.rows),
        "## Protocol",
        "\n".join(
            f"- {escape_markdown(plain_line(line, 1000))}"
            for line in (*environment.protocol, *environment.notes)
        ),
        _markdown_table(environment_table(report)),
    ]
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: str) -> str:
    """``text`` with everything that Markdown or HTML could act on made literal.

    >>> escape_markdown("a|b <i> [x](y)")
    'a\\\\|b &lt;i&gt; \\\\[x\\\\](y)'
    """
    literal = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", literal)


def _rich_table(table: Table) -> RichTable:
    made = RichTable(title=Text(table.title), box=box.SIMPLE_HEAD, title_justify="left")
    for place, name in enumerate(table.header):
        named = place < table.names
        made.add_column(Text(name), justify="left" if named else "right", overflow="fold")
    for place, row in enumerate(table.rows):
        made.add_row(*map(Text, row), style="bold" if place in table.emphasised else None)
    return made


def _markdown_table(table: Table) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cells) + " |"

    sides = tuple("---" if place < table.names else "---:" for place in range(len(table.header)))
    body = []
    for place, row in enumerate(table.rows):
        cells = tuple(map(escape_markdown, row))
        body.append(line(tuple(f"**{cell}**" if place in table.emphasised else cell for cell in cells)))
    return "\n".join([f"## {escape_markdown(table.title)}", "", line(table.header), line(sides), *body])
