"""Renderings: the same words everywhere, no foreign name acts, no request leaves the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from llmrg.errors import DataError
from llmrg.evaluation.comparison import ComparisonReport, Procedure, RunResult, build_report
from llmrg.evaluation.report import read_report, render_markdown, render_terminal, write_report
from llmrg.evaluation.report_html import LABEL_LIMIT, render_html

QUICK = Procedure(resamples=100, permutations=500)
HOSTILE = "</script><script>alert(1)</script>|[x](javascript:1)\u202e\x1b[31m" + "A" * 10_000
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Tags in order, and the attributes that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetching: list[tuple[str, str]] = []
        self.data = ""
        self._in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.fetching += [
            (tag, name) for name in ("src", "href", "action", "srcset", "onload") if name in found
        ]
        self._in_data = found.get("id") == "figures"

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


@pytest.fixture
def report(draw_runs, environment, costs) -> ComparisonReport:
    untrained = RunResult("baseline", "Popularity", "toy", 0, ("u0", "u1"), np.array([1.0, 20.0]))
    return build_report([*draw_runs(), untrained], environment=environment, costs=costs, procedure=QUICK)


@pytest.fixture
def hostile(draw_runs, environment) -> ComparisonReport:
    runs = [
        replace(
            run, dataset="toy" + HOSTILE, arm=HOSTILE if run.arm == "shuffled" else run.arm, model=HOSTILE
        )
        for run in draw_runs()
    ]
    notes = replace(environment, notes=(HOSTILE,), command=HOSTILE, versions={HOSTILE: HOSTILE})
    return build_report(runs, environment=notes, procedure=QUICK)


def test_every_rendering_says_the_sentences_and_the_figures(report) -> None:
    cell = f"{report.row('toy', 'SASRec', 'enhanced', 'ndcg@10').mean:.4f}"
    flat = re.sub(r"\s+", " ", render_terminal(report, width=200))
    for page in (flat, render_markdown(report).replace("\\", ""), render_html(report)):
        assert report.sentences[0] in page
        assert cell in page
        assert "Popularity" in page


def test_a_page_says_what_the_models_were_trained_on(report) -> None:
    for page in (render_markdown(report).replace("\\", ""), render_html(report)):
        assert "Acme Accelerator 3" in page


def test_a_narrow_terminal_breaks_no_word_of_a_table(report) -> None:
    lines = render_terminal(report, width=80).splitlines()
    header = next(line.split() for line in lines if "HR@10" in line)
    assert header == ["arm", "HR@10", "NDCG@10", "enhanced", "over", "it,", "%", "p", "(Holm)", "seconds"]
    table = [line.split() for line in lines[lines.index("SASRec on toy, 2 seeds: means over users") + 4 :]]
    assert [line[0] for line in table if line] == ["base", "enhanced", "empty", "shuffled", "Popularity"]


def test_the_terminal_ends_with_a_table_for_each_model(draw_runs) -> None:
    more = [*draw_runs(model="GRU4Rec", seeds=(1,)), *draw_runs(dataset="amazon-beauty")]
    untrained = RunResult("baseline", "Popularity", "toy", 0, ("u0", "u1"), np.array([1.0, 20.0]))
    lines = render_terminal(
        build_report([*draw_runs(), *more, untrained], procedure=QUICK), width=80
    ).splitlines()
    titles = [
        line.removesuffix(": means over users") for line in lines if line.endswith(": means over users")
    ]
    assert titles == ["SASRec on amazon-beauty, 2 seeds", "GRU4Rec on toy, 1 seed", "SASRec on toy, 2 seeds"]
    tables = lines[lines.index(f"{titles[0]}: means over users") :]
    assert not any(line.startswith("•") for line in tables)
    assert sum("Popularity" in line for line in tables) == 2  # beside both models of its data set


def test_all_four_files_are_written_and_read_back(report, tmp_path: Path) -> None:
    paths = write_report(report, tmp_path / "deep" / "run")
    for path in (paths.json, paths.markdown, paths.html, paths.ranks):
        assert path.stat().st_size > 0
    again = read_report(tmp_path / "deep" / "run")
    assert again.to_document() == report.to_document()
    assert render_html(again) == render_html(report)
    paths.ranks.unlink()
    light = read_report(tmp_path / "deep" / "run", ranks=False)
    assert render_markdown(light) == render_markdown(report)
    with pytest.raises(DataError, match=r"ranks\.npz: expected the ranks"):
        read_report(tmp_path / "deep" / "run")


@pytest.mark.parametrize("damage", [None, b"", b"{", b"\xff\xfe", b"[]", b'{"document_version": 1}'])
def test_a_report_that_is_missing_or_damaged_is_told_as_such(tmp_path: Path, damage: bytes | None) -> None:
    if damage is not None:
        (tmp_path / "report.json").write_bytes(damage)
    with pytest.raises(DataError, match="report"):
        read_report(tmp_path)


def test_the_same_report_gives_the_same_bytes(report, tmp_path: Path) -> None:
    one, two = write_report(report, tmp_path / "1"), write_report(report, tmp_path / "2")
    for name in ("json", "markdown", "html", "ranks"):
        assert getattr(one, name).read_bytes() == getattr(two, name).read_bytes()


def test_the_page_fetches_nothing_and_runs_only_named_scripts(report) -> None:
    page = render_html(report)
    found = outline(page)
    assert found.fetching == []
    assert found.tags.count("script") == 3
    assert "default-src 'none'" in page
    assert page.count("'sha256-") == 2


def test_hostile_names_change_nothing_in_the_structure_of_the_page(report, hostile, draw_runs) -> None:
    found = outline(render_html(hostile))
    assert found.tags.count("script") == 3
    assert set(found.tags) == set(outline(render_html(report)).tags)
    figures = json.loads(found.data)
    assert "<" not in json.dumps(figures)
    page = render_html(hostile).replace(found.data, "")
    assert "\u202e" not in page
    assert "\x1b" not in page


def test_hostile_names_change_nothing_in_markdown_or_terminal(hostile) -> None:
    markdown = render_markdown(hostile)
    assert "<script" not in markdown
    assert "[x](" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and "alert" in line]
    assert rows
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    headers = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in markdown.splitlines()
        if line.startswith(("| model", "| group"))
    }
    assert widths <= headers | {3}
    terminal = render_terminal(hostile)
    assert "\x1b" not in terminal
    assert max(map(len, terminal.splitlines())) <= 110


def test_a_report_without_comparison_or_training_still_renders() -> None:
    lone = RunResult("baseline", "Popularity", "toy", 0, ("u0", "u1"), np.array([1.0, 20.0]))
    found = build_report([lone], procedure=QUICK)
    assert "nothing was compared" in render_html(found)
    assert "nothing was compared" in render_markdown(found)
    assert "nothing was compared" in render_terminal(found)


def test_rows_of_a_long_data_set_keep_their_arms_apart(draw_runs) -> None:
    long, arms = "Amazon_Clothing_Shoes_and_Jewelry", ("base", "enhanced", "empty", "shuffled", "swapped")
    runs = [*draw_runs(dataset=long, arms=arms), *draw_runs(dataset="ml-1m", arms=arms)]
    figures = json.loads(outline(render_html(build_report(runs, procedure=QUICK))).data)
    for rows in (figures["bars"]["ndcg@10"], figures["cost"]):
        assert [row["name"] for row in rows] == [*arms, *arms]
        assert len({(row["group"], row["name"]) for row in rows}) == len(rows)
        assert max(len(row["group"]) for row in rows) <= 2 * LABEL_LIMIT
    assert {row["name"] for row in figures["forest"]["ndcg@10"]} == {f"over {arm}" for arm in arms} - {
        "over enhanced",
        "over empty",  # ranks as base does
    }


def test_every_arm_of_the_curves_has_a_look_of_its_own_in_the_legend(draw_runs) -> None:
    arms = ("base", "enhanced", *(f"control-{n}" for n in range(12)))
    runs = [run for model in ("SASRec", "GRU4Rec") for run in draw_runs(model=model, seeds=(1,), arms=arms)]
    page = render_html(build_report(runs, procedure=QUICK))
    entries = re.findall(
        r'<input type="checkbox" value="(\d+)".*?stroke-dasharray="(.*?)" style="stroke:(.*?)"/></svg>(.*?)<',
        page,
    )
    assert sorted(name for *_, name in entries) == sorted(arms)
    assert len({(dashes, colour) for _, dashes, colour, _ in entries}) == len(arms)
    figures = json.loads(outline(page).data)
    assert {(run["arm"], run["panel"]) for run in figures["curves"]} == {
        (int(number), panel) for number, *_ in entries for panel in (0, 1)
    }
    assert [bool(figures["dashes"][int(number)]) for number, *_ in entries] == [
        bool(d) for _, d, *_ in entries
    ]


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_a_browser_draws_every_figure_without_a_complaint(hostile, report, tmp_path: Path) -> None:
    for name, found in (("plain", report), ("hostile", hostile)):
        page = write_report(found, tmp_path / name).html
        drawn = subprocess.run(
            [
                str(BROWSER), "--no-sandbox", "--headless", "--disable-gpu", "--no-first-run",
                "--disable-sync", "--disable-background-networking",
                f"--user-data-dir={tmp_path / name / 'profile'}",
                "--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert "CONSOLE" not in drawn.stderr
        assert drawn.stdout.count('class="main-svg"') >= 4
        assert "<script>alert" not in drawn.stdout.replace("&lt;script&gt;alert", "")
