"""Every figure in the READMEs of the studies, written from ``results/report.json``, so that none can drift.

Run: ``python examples/studies/table.py`` prints the block of each study and the overview; ``--write`` puts them between
the markers of the READMEs, and draws the figures of every report again. Nothing is computed here that the report does
not hold.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from llmrg.cli.screen import duration
from llmrg.evaluation.groups import other_protocol
from llmrg.evaluation.metrics import HEADLINE_METRIC
from llmrg.evaluation.report import FIGURE_FOLDER, REPORT_FILE, escape_markdown, read_report
from llmrg.evaluation.report_figures import FIGURES, draw_figures
from llmrg.evaluation.report_tables import gain_words
from llmrg.evaluation.results import ComparisonReport, PairedComparison
from llmrg.evaluation.runs import UNTRAINED_ARM
from llmrg.evaluation.sentences import LUCK, p_words, signed

STUDIES = Path(__file__).resolve().parent
NAMES = ("ml-100k", "ml-1m", "amazon-beauty", "null")
START, END = "<!-- figures, by table.py -->", "<!-- end of figures -->"
MORE = ("other-arms", "other-bases")
"""Further results: arms with fewer seeds, other base models. A table shows what of them the results lack."""
NO_RUN = (
    "TODO: not run yet. After the command above, `python examples/studies/table.py --write` fills this in."
)


def study_block(folder: Path) -> str:
    """What stands between the markers of a study's README."""
    report = read_results(folder)
    if report is None:
        return NO_RUN
    groups = dict.fromkeys((c.dataset, c.model) for c in report.comparisons)
    first = report.sentences[: 3 * len(groups)]
    cautions = [
        sentence for sentence in report.sentences if sentence.startswith("Caution") and sentence not in first
    ]
    findings = [f"- {escape_markdown(sentence)}" for sentence in (*first, *cautions)]
    for name, further in _further(folder).items():
        lucky = (sentence for sentence in further.sentences if sentence.startswith(LUCK))
        findings += [f"- {escape_markdown(sentence)} ([{name}]({name}/report.md))" for sentence in lucky]
    names = [path.name for path in (folder / "results" / FIGURE_FOLDER).glob("*.svg")]
    pictures = [f"![{FIGURES[name]}](results/{FIGURE_FOLDER}/{name})" for name in FIGURES if name in names]
    rest = "All metrics, groups of users, costs and the environment: [results/report.md](results/report.md)."
    parts = ["\n".join(findings), _table(report, folder), _effort(report), *pictures, rest]
    return "\n\n".join(part for part in parts if part)


def overview_block(studies: Path = STUDIES) -> str:
    """What stands between the markers of the README of all studies: one line a study and model."""
    lines = [
        "| study | model | seeds | NDCG@10 base | enhanced | gain % [interval] | the other way | not shown to beat |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name in NAMES:
        report = read_results(studies / name)
        if report is None:
            lines.append(f"| [{name}]({name}/README.md) | TODO: not run yet | | | | | | |")
            continue
        reports = (report, *_further(studies / name).values())
        tested = [c for one in reports for c in one.comparisons if c.metric == HEADLINE_METRIC]
        headlines = [c for c in report.comparisons if c.metric == HEADLINE_METRIC]
        for c in (c for c in headlines if c.other == report.reference):
            means = [
                f"{report.row(c.dataset, c.model, arm, HEADLINE_METRIC).mean:.4f}" for arm in (c.other, c.arm)
            ]
            same = [o for o in tested if (o.dataset, o.model) == (c.dataset, c.model)]
            unbeaten = ", ".join(dict.fromkeys(o.other for o in same if o.verdict != "wins")) or "–"
            figures = (str(len(c.seeds)), *means, gain_words(c), _other_way(report, c))
            cells = (f"[{name}]({name}/README.md)", c.model, *figures, unbeaten)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _other_way(report: ComparisonReport, c: PairedComparison) -> str:
    """The gain under the other protocol, such as ``+16.4 (seen items left out)``."""
    rows = other_protocol(report.groups)
    ours, theirs = rows.get((c.dataset, c.model, c.arm)), rows.get((c.dataset, c.model, c.other))
    if ours is None or theirs is None or not theirs.mean:
        return "–"
    return f"{signed(100 * (ours.mean / theirs.mean - 1), '+.1f')} ({ours.words})"


def read_results(folder: Path) -> ComparisonReport | None:
    """The report of a study, without the ranks of single users; None where it has not been run."""
    return _read(folder / "results")


def _read(results: Path) -> ComparisonReport | None:
    return read_report(results, ranks=False) if (results / REPORT_FILE).is_file() else None


def _further(folder: Path) -> dict[str, ComparisonReport]:
    """What a study has beside its results, by the folder's name."""
    return {name: report for name in MORE if (report := _read(folder / name)) is not None}


def with_block(text: str, block: str) -> str:
    """``text`` with ``block`` between its markers."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    if not rest or END not in rest:
        raise SystemExit(f"expected the lines {START!r} and {END!r} in the README")
    return f"{before}{START}\n\n{block}\n\n{END}{after}"


def blocks() -> dict[Path, str]:
    """README → what belongs between its markers."""
    found = {STUDIES / name / "README.md": study_block(STUDIES / name) for name in NAMES}
    return {STUDIES / "README.md": overview_block(), **found}


def drawings() -> dict[Path, str]:
    """Figure of a study → what it is by the report beside it."""
    return {
        path.parent / FIGURE_FOLDER / name: text
        for path in sorted(STUDIES.glob(f"*/*/{REPORT_FILE}"))
        for name, text in draw_figures(read_report(path.parent, ranks=False)).items()
    }


def _table(report: ComparisonReport, folder: Path) -> str:
    other = other_protocol(report.groups)
    last = next((f" NDCG@10, {row.words} |" for row in other.values()), "")
    lines = [
        f"| model | arm | seeds | HR@10 | NDCG@10 | {report.enhanced} over it, % [interval] | after Holm |{last}",
        "|---|---|---:|---:|---:|---:|---|" + ("---:|" if last else ""),
    ]
    width = lines[1].count("|") - 1
    shown: set[tuple[str, str]] = set()
    for one in (report, *_further(folder).values()):
        for cells in _rows(one):
            if cells[:2] not in shown:
                shown.add(cells[:2])
                lines.append("| " + " | ".join(cells[:width]) + " |")
    checked = folder / "results" / "cross_check.json"
    if checked.is_file():
        found = json.loads(checked.read_text(encoding="utf-8"))
        if found["settings"]["leave_out_seen"] != (not report.runs[0].keep_seen):
            raise SystemExit(f"{checked} treats seen items otherwise than the report beside it; run it again")
        means = (
            f"{sum(run[m] for run in found['runs']) / len(found['runs']):.4f}" for m in ("hr@10", "ndcg@10")
        )
        cells = (found["implementation"], "independent base", str(len(found["runs"])), *means, "", "", "")
        lines.append("| " + " | ".join(cells[:width]) + " |")
    return "\n".join(lines)


def _rows(report: ComparisonReport) -> list[tuple[str, ...]]:
    """Model, arm, seeds, HR@10, NDCG@10, gain over it, verdict, NDCG@10 under the other protocol."""
    other = other_protocol(report.groups)
    against = {(c.dataset, c.model, c.other): c for c in report.comparisons if c.metric == HEADLINE_METRIC}
    found = []
    for row in (row for row in report.rows if row.metric == HEADLINE_METRIC):
        hits = report.row(row.dataset, row.model, row.arm, "hr@10")
        arm = "not trained" if row.arm == UNTRAINED_ARM else row.arm
        means = (f"{one.mean:.4f}" + ("" if one.sd is None else f" ± {one.sd:.4f}") for one in (hits, row))
        c = against.get((row.dataset, row.model, row.arm))
        tail = ("", "") if c is None else (gain_words(c), f"{p_words(c, report.procedure)}: {c.verdict}")
        turned = other.get((row.dataset, row.model, row.arm))
        there = "" if turned is None else f"{turned.mean:.4f}"
        found.append((row.model, arm, str(len(row.seeds)), *means, *tail, there))
    return found


def _effort(report: ComparisonReport) -> str:
    runs = sum(t.runs for t in report.training)
    trained = duration(sum(t.runs * t.seconds for t in report.training))
    made = duration(sum(cost.seconds for cost in report.costs))
    versions = report.environment.versions
    packages = ", ".join(
        f"{name} {versions[name]}"
        for name in ("llmrg", "embedded reasoner", "torch", "recbole")
        if name in versions
    )
    where = [f"{report.environment.cores} cores"] if report.environment.cores else []
    where += [report.environment.device] if report.environment.device not in ("", "CPU") else []
    on = f" on {' and '.join(where)}" if where else ""
    graphs = f", the graphs in {made}" if report.costs else ""
    return f"{runs} runs with {trained} of training in sum{on}{graphs} ({packages})."


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the studies' READMEs, from their results.")
    parser.add_argument(
        "--write", action="store_true", help="put them into the READMEs; draw all figures again"
    )
    write = parser.parse_args().write
    for path, block in blocks().items():
        if write:
            path.write_text(with_block(path.read_text(encoding="utf-8"), block), encoding="utf-8")
        else:
            print(f"{path.relative_to(STUDIES)}\n\n{block}\n")
    for path, text in drawings().items() if write else ():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
