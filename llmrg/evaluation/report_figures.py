"""The figures of a report as files of their own: SVG that a code host shows beside the Markdown.

Promise: a figure needs nothing else and runs nothing; it is readable on light and dark; every foreign name is text of
one line; the same report gives the same bytes. What a colour says, a shape, a dash or a word says too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from llmrg.evaluation.metrics import HEADLINE_METRIC
from llmrg.evaluation.report_tables import gain_words
from llmrg.evaluation.results import ComparisonReport, MetricRow, PairedComparison
from llmrg.evaluation.runs import RunResult
from llmrg.evaluation.sentences import signed
from llmrg.plain_text import plain_line

FIGURES: Mapping[str, str] = {
    "arms.svg": "NDCG@10 of every arm",
    "gains.svg": "What the arm under test gains over every other",
    "curves.svg": "Validation NDCG@10 over epochs",
}
"""File name → what it shows."""

WIDTH, LEFT, RIGHT = 860, 190, 190  # pixels: the page, the names before the plot, the figures after it
# heights: of a row, of a group's name, of the axis below, between panels
ROW, HEAD, AXIS, GAP = 24, 30, 40, 14
LABEL_LIMIT, FIGURE_LIMIT, HEADING_LIMIT = 20, 28, 90
CURVES_HIGH, LEGEND_ROW = 240, 18
COLOURS = 12
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKS = {"wins": "win", "loses": "loss", "no difference shown": "open"}

_LIGHT = "#1c1f23 #5b6169 #dcd8d0 #fdfcfa #1a6fb0 #b3401f #6b7178"
_DARK = "#e8e6e1 #a3a9b1 #343a42 #15181c #6db3ee #f08a68 #a0a7af"
_LIGHT_ARMS = (
    "#5b6169 #1a6fb0 #a8791a #a2457a #2b7f62 #b3501f #6a57b5 #4d8a1f #7a5230 #16808c #c2255c #3b4a8f"
)
_DARK_ARMS = "#a3a9b1 #6db3ee #dfb45c #e08fbb #6cc7a5 #f0996c #ada0f0 #9ccf6a #c9a27e #5fcbd6 #f7819f #9aa8ee"
_NOT_IN_XML = str.maketrans({"\ufffe": "\ufffd", "\uffff": "\ufffd"})


@dataclass(frozen=True)
class _Scale:
    """Values to pixels, with round numbers for the axis."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> _Scale:
        """A scale that holds all values, with a little room on both sides."""
        found = [float(value) for value in values if np.isfinite(value)] or [0.0, 1.0]
        room = 0.04 * (max(found) - min(found)) or 0.5 * abs(found[0]) or 0.5
        return cls(min(found) - room, max(found) + room, start, end)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """At most seven round values: steps of 1, 2 or 5 times a power of ten."""
        step = self._step()
        return [float(n * step) for n in range(int(np.ceil(self.low / step)), int(self.high // step) + 1)]

    def words(self, tick: float) -> str:
        """A tick with three decimals, or as many more as tell it from the next."""
        decimals = -int(np.floor(np.log10(self._step()) + 1e-6))
        return f"{tick:.{max(3, decimals)}f}"

    def _step(self) -> float:
        exact = (self.high - self.low) / 7
        power = float(10.0 ** np.floor(np.log10(exact)))
        return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= exact)


def draw_figures(report: ComparisonReport) -> dict[str, str]:
    """File name → SVG, in the order of :data:`FIGURES`, without those that would show nothing."""
    drawn = {"arms.svg": _arms(report), "gains.svg": _gains(report), "curves.svg": _curves(report)}
    return {name: text for name, text in drawn.items() if text}


def arm_order(report: ComparisonReport) -> list[str]:
    """All arms; the place of an arm decides its colour and its dash."""
    runs = sorted(report.runs, key=lambda run: not run.curve)
    return list(dict.fromkeys([report.reference, report.enhanced, *(run.arm for run in runs)]))


def dash(arm: int) -> str:
    """Lengths of strokes and gaps in pixels, nothing for a solid line: an arm's own among those of its colour."""
    return DASHES[(arm + arm // COLOURS) % len(DASHES)]


def _arms(report: ComparisonReport) -> str:
    """A dot for each seed, a bar for the mean, a line for its interval; the reference's mean through all rows."""
    rows = [row for row in report.rows if row.metric == HEADLINE_METRIC]
    trained = {(run.dataset, run.model) for run in report.runs if run.epochs}
    panels, top = [], HEAD + 6.0
    for dataset in dict.fromkeys(row.dataset for row in rows):
        here = [row for row in rows if row.dataset == dataset]
        x = _Scale.over(_reach(here), LEFT, WIDTH - RIGHT)
        groups: dict[str, list[tuple[str, MetricRow]]] = {}
        for row in here:
            known = (dataset, row.model) in trained
            heading = f"{row.model} on {dataset}" if known else f"not trained, on {dataset}"
            groups.setdefault(heading, []).append((row.arm if known else row.model, row))
        body, bottom = [], top
        for heading, members in groups.items():
            body.append(_text(12, bottom + 20, heading, "head", limit=HEADING_LIMIT))
            first, bottom = bottom + HEAD - 4, bottom + HEAD
            base = [row.mean for _, row in members if row.arm == report.reference]
            for place, (label, row) in enumerate(members):
                body.append(_arm_row(x, bottom + ROW * place + ROW / 2, label, row, report.enhanced))
            bottom += ROW * len(members)
            body += [_line(x(mean), first, x(mean), bottom, "base") for mean in base]
        panels.append(_axis(x, top, bottom, "NDCG@10, test", x.words) + "".join(body))
        top = bottom + AXIS + GAP
    note = f"dot: a seed · bar: mean · line: {_confidence(report)} over users · dashed: {report.reference}"
    return _figure("arms.svg", top, panels, note) if rows else ""


def _arm_row(x: _Scale, y: float, label: str, row: MetricRow, enhanced: str) -> str:
    colour = "under-test" if row.arm == enhanced else "other"
    dots = "".join(
        f'<circle class="{colour} dot" cx="{x(v):.1f}" cy="{y:.1f}" r="3.5"/>' for v in row.per_seed
    )
    spread = "" if row.sd is None else f" ± {row.sd:.4f}"
    return (
        _text(LEFT - 12, y + 4, label, "strong end" if row.arm == enhanced else "end")
        + _line(x(row.interval.low), y, x(row.interval.high), y, f"{colour} reach")
        + dots
        + _line(x(row.mean), y - 8, x(row.mean), y + 8, f"{colour} mean")
        + _text(WIDTH - RIGHT + 14, y + 4, f"{row.mean:.4f}{spread}", "figure")
    )


def _gains(report: ComparisonReport) -> str:
    """The arm under test over every other arm, in per cent, with the verdict as colour and shape."""
    shown = [(c, _per_cent(c)) for c in report.comparisons if c.metric == HEADLINE_METRIC]
    panels, top = [], HEAD + 6.0
    for dataset, model in dict.fromkeys((c.dataset, c.model) for c, _ in shown):
        rows = [(c, bounds) for c, bounds in shown if (c.dataset, c.model) == (dataset, model)]
        x = _Scale.over([0.0, *(bound for _, bounds in rows for bound in bounds)], LEFT, WIDTH - RIGHT)
        bottom = top + HEAD + ROW * len(rows)
        heading = f"{report.enhanced} of {model} on {dataset}"
        body = [_text(12, top + 20, heading, "head", limit=HEADING_LIMIT)]
        body.append(_line(x(0.0), top + HEAD - 4, x(0.0), bottom, "zero"))
        for place, (c, bounds) in enumerate(rows):
            body.append(_gain_row(x, top + HEAD + ROW * place + ROW / 2, c, bounds))
        per_cent = "gain in NDCG@10, per cent"
        panels.append(_axis(x, top, bottom, per_cent, lambda value: signed(value, "+g")) + "".join(body))
        top = bottom + AXIS + GAP
    kinds = "filled circle: wins after Holm · filled diamond: loses · open circle: no difference shown"
    return _figure("gains.svg", top, panels, f"{kinds} · line: {_confidence(report)}") if shown else ""


def _gain_row(x: _Scale, y: float, c: PairedComparison, bounds: tuple[float, ...]) -> str:
    name = _text(LEFT - 12, y + 4, f"over {c.other}", "end")
    if not bounds:
        difference = f"{signed(c.difference, '+.4f')} (no ratio)"
        return name + _text(WIDTH - RIGHT + 14, y + 4, difference, "figure", limit=FIGURE_LIMIT)
    gain, low, high = bounds
    mark, at = MARKS[c.verdict], x(gain)
    diamond = f'<path class="{mark} mark" d="M{at:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>'
    circle = f'<circle class="{mark} mark" cx="{at:.1f}" cy="{y:.1f}" r="5"/>'
    return (
        name
        + _line(x(low), y, x(high), y, f"{mark} reach")
        + (diamond if mark == "loss" else circle)
        + _text(WIDTH - RIGHT + 14, y + 4, gain_words(c), "figure", limit=FIGURE_LIMIT)
    )


def _curves(report: ComparisonReport) -> str:
    """One thin line a run; arms are told by colour and dash, the epoch chosen by a dot."""
    runs = [run for run in report.runs if any(p.valid_ndcg10 is not None for p in run.curve)]
    arms = arm_order(report)
    panels, top = [], HEAD + 6.0
    for dataset, model in dict.fromkeys((run.dataset, run.model) for run in runs):
        here = [run for run in runs if (run.dataset, run.model) == (dataset, model)]
        bottom = top + HEAD + CURVES_HIGH
        x = _Scale.over([p.epoch for run in here for p in run.curve], 70, WIDTH - RIGHT)
        scores = [p.valid_ndcg10 for run in here for p in run.curve if p.valid_ndcg10 is not None]
        y = _Scale.over(scores, bottom, top + HEAD)
        body = [_text(12, top + 20, f"{model} on {dataset}", "head", limit=HEADING_LIMIT)]
        for tick in y.ticks():
            body.append(_line(70, y(tick), WIDTH - RIGHT, y(tick), "grid"))
            body.append(_text(62, y(tick) + 4, y.words(tick), "tick end"))
        body += [_curve(x, y, run, arms.index(run.arm)) for run in here]
        for place, arm in enumerate(dict.fromkeys(run.arm for run in here)):
            at = top + HEAD + 8 + LEGEND_ROW * place
            body.append(f'<path {_look(arms.index(arm))} d="M{WIDTH - RIGHT + 14} {at:.1f}h26"/>')
            body.append(_text(WIDTH - RIGHT + 48, at + 4, arm, "tick", limit=LABEL_LIMIT - 2))
        bottom = max(bottom, top + HEAD + LEGEND_ROW * len({run.arm for run in here}))
        panels.append(_axis(x, top, bottom, "epoch", lambda value: f"{value:g}", whole=True) + "".join(body))
        top = bottom + AXIS + GAP
    note = "one line a seed · dot: the epoch chosen on validation"
    return _figure("curves.svg", top, panels, note) if runs else ""


def _curve(x: _Scale, y: _Scale, run: RunResult, arm: int) -> str:
    seen = [(p.epoch, p.valid_ndcg10) for p in run.curve if p.valid_ndcg10 is not None]
    points = "L".join(f"{x(epoch):.1f} {y(score):.1f}" for epoch, score in seen)
    best = "".join(
        f'<circle class="best fill-{arm % COLOURS}" cx="{x(epoch):.1f}" cy="{y(score):.1f}" r="4"/>'
        for epoch, score in seen
        if epoch == run.best_epoch
    )
    return f'<path {_look(arm)} d="M{points}"/>{best}'


def _look(arm: int) -> str:
    return f'class="curve arm-{arm % COLOURS}" stroke-dasharray="{dash(arm)}"'


def _axis(
    x: _Scale, top: float, bottom: float, title: str, words: Callable[[float], str], *, whole: bool = False
) -> str:
    ticks = [tick for tick in x.ticks() if not whole or tick == int(tick)]
    lines = [_line(x(tick), top + HEAD, x(tick), bottom, "grid") for tick in ticks]
    names = [_text(x(tick), bottom + 16, words(tick), "tick middle") for tick in ticks]
    names.append(_text((x.start + x.end) / 2, bottom + 34, title, "tick middle", limit=60))
    return "".join([*lines, *names])


def _figure(name: str, height: float, panels: Sequence[str], note: str) -> str:
    title, say = FIGURES[name], f"{FIGURES[name]}. {note}."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height + 20:.0f}" '
        f'viewBox="0 0 {WIDTH} {height + 20:.0f}" role="img" aria-label="{_words(say, 400)}">\n'
        f"<style>{_style()}</style>\n"
        '<rect class="paper" width="100%" height="100%"/>\n'
        f"{_text(12, 26, title, 'title', limit=HEADING_LIMIT)}\n"
        + "\n".join(panels)
        + f"\n{_text(12, height + 4, note, 'tick', limit=140)}\n</svg>\n"
    )


def _style() -> str:
    """Colours as names, once for light and once for dark; the paper is drawn, whatever page lies behind it."""
    names = ("ink", "quiet", "line", "paper", "win", "loss", "open")

    def colours(shades: str, arms: str) -> str:
        pairs = [
            *zip(names, shades.split(), strict=True),
            *((f"arm{n}", c) for n, c in enumerate(arms.split())),
        ]
        return "svg{" + "".join(f"--{name}:{shade};" for name, shade in pairs) + "}"

    dark = f"@media (prefers-color-scheme: dark){{{colours(_DARK, _DARK_ARMS)}}}"
    rules = (
        "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif;fill:var(--ink)}"
        ".title{font-size:16px;font-weight:600}.head,.strong{font-weight:600}.tick{font-size:12px;fill:var(--quiet)}"
        ".figure{font-variant-numeric:tabular-nums}.end{text-anchor:end}.middle{text-anchor:middle}"
        ".paper{fill:var(--paper)}line,path{fill:none;stroke:var(--ink)}line.grid{stroke:var(--line)}"
        "line.zero{stroke:var(--quiet);stroke-width:1.5}line.base{stroke:var(--quiet);stroke-dasharray:4 3}"
        ".reach{stroke-width:2}.mean{stroke-width:3}.mark{stroke-width:2}.curve{stroke-width:1.6}"
        ".other{stroke:var(--open)}.under-test{stroke:var(--win)}.dot{fill:var(--paper);stroke-width:1.5}"
        ".best{stroke:var(--paper)}"
    )
    for name in ("win", "loss"):
        rules += f".{name}{{stroke:var(--{name})}}.{name}.mark{{fill:var(--{name})}}"
    rules += ".open{stroke:var(--open)}.open.mark{fill:var(--paper)}"
    rules += "".join(
        f".arm-{n}{{stroke:var(--arm{n})}}.fill-{n}{{fill:var(--arm{n})}}" for n in range(COLOURS)
    )
    return colours(_LIGHT, _LIGHT_ARMS) + dark + rules


def _reach(rows: Sequence[MetricRow]) -> list[float]:
    return [value for row in rows for value in (row.interval.low, row.interval.high, *row.per_seed)]


def _per_cent(c: PairedComparison) -> tuple[float, ...]:
    """Gain and its interval; nothing where the other arm's mean is too near to zero for a ratio."""
    if c.gain is None or c.gain_interval is None:
        return ()
    return 100 * c.gain, 100 * c.gain_interval.low, 100 * c.gain_interval.high


def _confidence(report: ComparisonReport) -> str:
    return f"{100 * report.procedure.confidence:g} % interval"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, kind: str, *, limit: int = LABEL_LIMIT) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_words(words, limit)}</text>'


def _words(text: str, limit: int) -> str:
    return escape(plain_line(text, limit)).translate(_NOT_IN_XML)
