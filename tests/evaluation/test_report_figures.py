"""Figures as files: what they say, that they stay whole under foreign names, and that Markdown shows them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from llmrg.evaluation.comparison import ComparisonReport, Procedure, RunResult, build_report
from llmrg.evaluation.report import render_markdown, write_report
from llmrg.evaluation.report_figures import FIGURES, WIDTH, draw_figures
from llmrg.evaluation.statistics import Interval

QUICK = Procedure(resamples=100, permutations=5000)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '"><script>alert(1)</script>&amp;\u202e\ufffe\x1b[31m' + "A" * 10_000


def report_of(runs, environment) -> ComparisonReport:
    return build_report(runs, environment=environment, procedure=QUICK)


@pytest.fixture
def report(draw_runs, environment) -> ComparisonReport:
    untrained = RunResult("baseline", "Popularity", "toy", 0, ("u0", "u1"), np.array([1.0, 20.0]))
    return report_of([*draw_runs(lift=0.6), untrained], environment)


def marks(svg: str, kind: str) -> list[ElementTree.Element]:
    return [e for e in ElementTree.fromstring(svg).iter() if kind in (e.get("class") or "").split()]


def words(svg: str) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_figure_is_one_svg_that_fetches_and_runs_nothing(report) -> None:
    drawn = draw_figures(report)
    assert list(drawn) == list(FIGURES)
    for text in drawn.values():
        tags = {element.tag for element in ElementTree.fromstring(text).iter()}
        assert tags <= {SVG + name for name in ("svg", "style", "rect", "text", "line", "circle", "path")}
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"url\(|href|@import|on\w+=", text)


def test_arms_show_a_dot_a_seed_and_the_mean_in_figures(report) -> None:
    svg = draw_figures(report)["arms.svg"]
    rows = [row for row in report.rows if row.metric == "ndcg@10"]
    assert len(marks(svg, "dot")) == sum(len(row.per_seed) for row in rows)
    assert len(marks(svg, "base")) == 1
    said = words(svg)
    assert all(any(text.startswith(f"{row.mean:.4f}") for text in said) for row in rows)
    assert "Popularity" in said
    assert "not trained, on toy" in said


def test_a_better_arm_stands_further_right(draw_runs, environment) -> None:
    svg = draw_figures(report_of(draw_runs(lift=0.6), environment))["arms.svg"]
    means = {float(e.get("x1") or 0) for e in marks(svg, "mean")}
    under_test = {float(e.get("x1") or 0) for e in marks(svg, "mean") if "under-test" in e.get("class", "")}
    assert max(means) in under_test


@pytest.mark.parametrize(
    ("enhanced", "kind", "shape"), [("enhanced", "win", "circle"), ("base", "loss", "path")]
)
def test_a_verdict_is_told_by_class_and_by_shape(
    draw_runs, environment, enhanced: str, kind: str, shape: str
) -> None:
    names = {"enhanced": "base", "base": "enhanced"} if enhanced == "base" else {}
    runs = [replace(run, arm=names.get(run.arm, run.arm)) for run in draw_runs(lift=0.8, users=300)]
    shown = marks(draw_figures(report_of(runs, environment))["gains.svg"], "mark")
    over_base = shown[0]
    assert kind in over_base.get("class", "").split()
    assert over_base.tag == SVG + shape


def test_no_difference_shown_is_an_open_circle(draw_runs, environment) -> None:
    svg = draw_figures(report_of(draw_runs(lift=0.0, arms=("base", "enhanced")), environment))["gains.svg"]
    assert {(e.tag, "open" in e.get("class", "")) for e in marks(svg, "mark")} == {(SVG + "circle", True)}
    assert len(marks(svg, "zero")) == 1


def test_every_arm_of_the_curves_looks_different(draw_runs, environment) -> None:
    arms = ("base", "enhanced", *(f"control-{n}" for n in range(12)))
    svg = draw_figures(report_of(draw_runs(seeds=(1,), arms=arms), environment))["curves.svg"]
    legend = [e for e in marks(svg, "curve") if "h26" in (e.get("d") or "")]
    assert len({(e.get("class"), e.get("stroke-dasharray")) for e in legend}) == len(arms)
    assert len(marks(svg, "best")) == len(arms)


def test_what_would_show_nothing_is_not_drawn(draw_runs, environment) -> None:
    alone = [replace(run, curve=()) for run in draw_runs(arms=("base",))]
    assert list(draw_figures(report_of(alone, environment))) == ["arms.svg"]


def test_hostile_names_are_text_and_stay_on_the_page(draw_runs, environment) -> None:
    runs = [
        replace(run, dataset=HOSTILE, model=HOSTILE, arm=HOSTILE if run.arm == "shuffled" else run.arm)
        for run in draw_runs()
    ]
    for text in draw_figures(report_of(runs, environment)).values():
        assert "<script" not in text
        assert not set(text) & {"\u202e", "\x1b", "\ufffe"}
        for element in ElementTree.fromstring(text).iter(f"{SVG}text"):
            wide = 8.5 * len(element.text or "")  # pixels: A is the widest letter of these
            kinds, x = (element.get("class") or "").split(), float(element.get("x") or 0)
            assert "end" not in kinds or x > wide
            assert not {"head", "strong"} & {*kinds} or "end" in kinds or x + wide < WIDTH


def test_a_comparison_without_a_ratio_keeps_its_line(report) -> None:
    bare = [replace(c, gain=None, gain_interval=None) for c in report.comparisons]
    said = words(draw_figures(replace(report, comparisons=tuple(bare)))["gains.svg"])
    assert "over shuffled" in said
    assert sum("(no ratio)" in text for text in said) == sum(c.metric == "ndcg@10" for c in bare)


def test_no_interval_is_cut_off(report) -> None:
    wide = [replace(c, gain=-0.734, gain_interval=Interval(-1.0, 12.273)) for c in report.comparisons]
    assert "−73.4 [−100.0, +1227.3]" in words(
        draw_figures(replace(report, comparisons=tuple(wide)))["gains.svg"]
    )


def test_one_value_alone_still_makes_an_axis(draw_runs, environment) -> None:
    runs = [replace(run, ranks=np.full(len(run.ranks), 1000.0)) for run in draw_runs(seeds=(1,))]
    assert "arms.svg" in draw_figures(report_of(runs, environment))


def test_ticks_of_a_small_scale_are_told_apart(draw_runs, environment) -> None:
    runs = [
        replace(
            run,
            ranks=np.where(np.arange(len(run.ranks)) < 1 + n % 2, 10.0, 1000.0),
            curve=tuple(
                p._replace(valid_ndcg10=0.003 + 0.003 * place / 7) for place, p in enumerate(run.curve)
            ),
        )
        for n, run in enumerate(draw_runs(users=1000))
    ]
    drawn = draw_figures(report_of(runs, environment))
    for name, place in (("arms.svg", "middle"), ("curves.svg", "end")):
        ticks = [e.text or "" for e in marks(drawn[name], "tick") if place in e.get("class", "")]
        ticks = [text for text in ticks if re.fullmatch(r"0\.\d+", text)]
        assert len(set(ticks)) == len(ticks) > 3, name
        assert {len(text) for text in ticks} == {len("0.0035")}, name


def test_ticks_have_three_decimals_where_these_are_enough(report) -> None:
    ticks = [e.text or "" for e in marks(draw_figures(report)["curves.svg"], "tick")]
    assert {len(text) for text in ticks if text.startswith("0.")} == {len("0.123")}


def test_figures_are_written_shown_by_markdown_and_removed_when_stale(
    report, draw_runs, environment, tmp_path: Path
) -> None:
    paths = write_report(report, tmp_path)
    assert sorted(path.name for path in paths.figures.iterdir()) == sorted(FIGURES)
    linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", render_markdown(report))
    assert [(tmp_path / link).is_file() for link in linked] == [True] * len(FIGURES)
    first = {path.name: path.read_bytes() for path in paths.figures.iterdir()}
    write_report(report, tmp_path)
    assert first == {path.name: path.read_bytes() for path in paths.figures.iterdir()}
    write_report(report_of(draw_runs(arms=("base",)), environment), tmp_path)
    assert "gains.svg" not in {path.name for path in paths.figures.iterdir()}
