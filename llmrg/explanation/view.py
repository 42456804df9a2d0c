"""One user's reasoning graph as an interactive page: a time line, reasons above it, imagined items below.

Promise: the page needs nothing else and asks the network for nothing; a slider shows what the row that
predicts position k sees (law 1: nodes with a smaller position, nothing else); every node can be reached by
keyboard; every foreign word is shown as text and nothing but text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from llmrg.explanation.page_lists import rejected_list, reused_list
from llmrg.explanation.rendering import RELATION_WORDS, NodeWords, Standing, render_tree
from llmrg.graph.schema import Node, NodeKind, ReasoningGraph
from llmrg.plain_text import plain_line, script_json

STYLE = Path(__file__).with_name("graph_page.css")
SCRIPT = Path(__file__).with_name("graph_page.js")

# pixels; box sizes are those of graph_page.css (1 rem = 16 px)
COLUMN, LEFT, TOP, GAP, RISE = 160, 16, 12, 8, 48
BOX = 136
HEIGHT = {NodeKind.ITEM: 56, NodeKind.ATTRIBUTE: 56, NodeKind.REASON: 76, NodeKind.IMAGINED_ITEM: 56}
FAR = 8  # columns; longer edges show only with their node

KIND_WORDS = {
    NodeKind.ITEM: "Item",
    NodeKind.ATTRIBUTE: "About the user",
    NodeKind.REASON: "Reason",
    NodeKind.IMAGINED_ITEM: "Imagined item",
}
BOX_LABEL, FULL_LABEL = 90, 600


@dataclass(frozen=True)
class _Placed:
    node: Node
    x: int
    y: int


def render_html(
    graph: ReasoningGraph,
    titles: Mapping[str, str] | None = None,
    standing: Mapping[str, Standing] | None = None,
    *,
    about: str = "",
) -> str:
    """The whole page.

    Args:
        graph: of one user, of any length.
        titles: item id → title; an item without one keeps the label of its node.
        standing: see :func:`~llmrg.explanation.rendering.render_tree`.
        about: sections of HTML of our own, put above what was rejected and reused.
    """
    words = NodeWords(graph, titles or {}, standing or {})
    first = min((node.position for node in graph.nodes), default=0)
    left = LEFT + (COLUMN if first < 0 else 0)
    placed, timeline, height = _place(graph, left)
    width = left + (graph.as_of + 1) * COLUMN
    space, size = f"width:{width}px;height:{height}px", f'width="{width}" height="{height}"'
    spot = f"left:{left + graph.as_of * COLUMN}px;top:{timeline}px"
    number = {place.node.key: index for index, place in enumerate(placed)}
    data = _data(graph, placed, number, words, left)
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'"
    user = escape(plain_line(graph.user_id, 60))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Reasoning graph of user {user}</title>",
            f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            '<a class="skip" href="#below">Skip the graph</a>',
            f"<header><h1>Reasoning graph of user {user}</h1>",
            f'<p class="quiet">{escape(words.summary())}</p>',
            _LEGEND,
            "</header>",
            _controls(graph),
            '<noscript><p class="quiet">Without JavaScript the graph stands still; what it shows on pointing '
            'is in <a href="#as-text">the same as text</a>.</p></noscript>',
            '<div class="board" tabindex="0" role="group" aria-label="Reasoning graph, scrolls sideways">',
            f'<div class="space" style="{space}">',
            f'<svg {size} aria-hidden="true">{_paths(graph, placed, number)}</svg>',
            *(_box(place, index, words) for index, place in enumerate(placed)),
            f'<div class="target" style="{spot}" aria-hidden="true">to predict</div>',
            "</div></div>",
            '<div class="details" id="details" tabindex="0" role="region" aria-label="Words of the node" '
            'aria-live="polite" hidden><p class="kind">Point at a node, or reach it with Tab and the arrow keys, to '
            "read its words. A click keeps them; Escape, or a click elsewhere, lets go.</p></div>",
            f'<div class="below" id="below" tabindex="-1">{about}{rejected_list(words)}{reused_list(words)}',
            '<details id="as-text"><summary>The same as text</summary>',
            f"<pre>{escape(render_tree(graph, titles, standing))}</pre></details></div>",
            f'<script type="application/json" id="graph">{data}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _place(graph: ReasoningGraph, left: int) -> tuple[list[_Placed], int, int]:
    """Boxes in reading order, the top of the time line, and the height of the drawing."""
    columns: dict[int, dict[NodeKind, list[Node]]] = {}
    for node in graph.nodes:
        columns.setdefault(node.position, {}).setdefault(node.kind, []).append(node)

    def tallest(kind: NodeKind) -> int:
        return max((len(kinds.get(kind, ())) for kinds in columns.values()), default=0)

    timeline = TOP + tallest(NodeKind.REASON) * (HEIGHT[NodeKind.REASON] + GAP) + RISE
    below = timeline + HEIGHT[NodeKind.ITEM] + 3 * GAP
    placed = []
    for position in sorted(columns):
        kinds = columns[position]
        x = left + position * COLUMN
        reasons = kinds.get(NodeKind.REASON, [])
        for place, node in enumerate(reasons):
            up = (len(reasons) - place) * (HEIGHT[NodeKind.REASON] + GAP) + RISE - GAP
            placed.append(_Placed(node, x, timeline - up))
        facts = kinds.get(NodeKind.ITEM, []) + kinds.get(NodeKind.ATTRIBUTE, [])
        for place, node in enumerate(facts):
            placed.append(_Placed(node, x, timeline + place * (HEIGHT[NodeKind.ITEM] + GAP)))
        for place, node in enumerate(kinds.get(NodeKind.IMAGINED_ITEM, [])):
            placed.append(_Placed(node, x, below + place * (HEIGHT[NodeKind.IMAGINED_ITEM] + GAP)))
    bottom = max((p.y + HEIGHT[p.node.kind] for p in placed), default=timeline + HEIGHT[NodeKind.ITEM])
    return placed, timeline, bottom + 2 * GAP


def _paths(graph: ReasoningGraph, placed: list[_Placed], number: Mapping[str, int]) -> str:
    drawn = []
    for edge in graph.edges:
        source, target = placed[number[edge.source]], placed[number[edge.target]]
        far = ' class="far"' if abs(target.x - source.x) > FAR * COLUMN else ""
        drawn.append(f'<path d="{_curve(source, target)}"{far}/>')
    return "".join(drawn)


def _curve(source: _Placed, target: _Placed) -> str:
    middle_source = source.y + HEIGHT[source.node.kind] // 2
    middle_target = target.y + HEIGHT[target.node.kind] // 2
    if target.node.kind is NodeKind.IMAGINED_ITEM and source.x == target.x:
        # down the gutter beside the column, past the item in between
        x, bend = source.x + BOX, source.x + BOX + 20
        return f"M{x} {middle_source}C{bend} {middle_source} {bend} {middle_target} {x} {middle_target}"
    if source.node.kind in (NodeKind.ITEM, NodeKind.ATTRIBUTE) and target.node.kind is NodeKind.REASON:
        x1, x2 = source.x + BOX // 2, target.x + BOX // 2
        y1, y2 = source.y, target.y + HEIGHT[NodeKind.REASON]
        bend = (y1 + y2) // 2
        return f"M{x1} {y1}C{x1} {bend} {x2} {bend} {x2} {y2}"
    x1, x2 = source.x + BOX, target.x
    reach = max(12, (x2 - x1) // 2)
    pull = f"{x1 + reach} {middle_source} {x2 - reach} {middle_target}"
    return f"M{x1} {middle_source}C{pull} {x2} {middle_target}"


def _box(place: _Placed, index: int, words: NodeWords) -> str:
    node = place.node
    rejected = node.score < words.graph.tau
    reused = bool(words.entry(node))
    classes = node.kind.value + " rejected" * rejected + " reused" * reused
    mark = f"{node.position}" if node.kind is NodeKind.ITEM else ""
    if node.kind in (NodeKind.REASON, NodeKind.IMAGINED_ITEM):
        mark = words.score(node) + (f" < {words.tau}" if rejected else "")
        mark += "" if node.similarity is None else f" · ≈ {node.similarity:.2f}"
        mark += " ↺" if reused else ""
    kind = f"{KIND_WORDS[node.kind]}{', rejected' if rejected else ''}{', reused' if reused else ''}: "
    # what a row can be recommended is the catalogue's item, so its title stands in the box
    label = words.grounded(node, BOX_LABEL) if node.item_id in words.titles else None
    return (
        f'<button type="button" class="node {classes}" data-n="{index}" '
        f'style="left:{place.x}px;top:{place.y}px"><span class="sr">{kind}</span>'
        f'<span class="mark">{escape(mark)}</span>'
        f'<span class="words" dir="auto">{escape(label or words.label(node, BOX_LABEL))}</span></button>'
    )


def _data(
    graph: ReasoningGraph, placed: list[_Placed], number: Mapping[str, int], words: NodeWords, left: int
) -> str:
    relations = [text for pair in RELATION_WORDS.values() for text in pair]
    order = list(RELATION_WORDS)
    nodes: list[dict[str, Any]] = [
        {
            "kind": place.node.kind.value,
            "position": place.node.position,
            "rejected": place.node.score < graph.tau,
            "x": place.x,
            "y": place.y,
            "band": 0
            if place.node.kind is NodeKind.REASON
            else 2
            if place.node.kind is NodeKind.IMAGINED_ITEM
            else 1,
            "words": _full_words(place.node, words),
            "facts": _facts(place.node, words),
        }
        for place in placed
    ]
    edges = [
        [number[e.source], number[e.target], 2 * order.index(e.relation), 2 * order.index(e.relation) + 1]
        for e in graph.edges
    ]
    items = [words.label(node, BOX_LABEL) for node in graph.nodes if node.kind is NodeKind.ITEM]
    found = {
        "nodes": nodes,
        "edges": edges,
        "relations": relations,
        "items": items,
        "column": COLUMN,
        "left": left,
    }
    return script_json(found)


def _full_words(node: Node, words: NodeWords) -> str:
    grounded = words.grounded(node) if node.item_id in words.titles else None
    return words.label(node, FULL_LABEL) + (f" → {grounded}" if grounded else "")


def _facts(node: Node, words: NodeWords) -> list[str]:
    facts = [KIND_WORDS[node.kind]]
    if node.position >= 0:
        facts.append(
            f"position {node.position}"
            if node.kind is NodeKind.ITEM
            else f"known after position {node.position}"
        )
    if node.item_id is not None:
        facts.append(f"item id {plain_line(node.item_id, 60)}")
    grounded = words.grounded(node)
    if grounded:
        facts.append(f"in the catalogue: {grounded}")
    elif node.kind is NodeKind.IMAGINED_ITEM and node.item_id is None:
        facts.append("not in the catalogue")
    if words.figures(node):
        facts.append(words.figures(node))
    if node.score < words.graph.tau:
        facts.append(f"rejected: {words.score(node)} is under {words.tau}; never encoded")
    if words.entry(node):
        facts.append(f"not asked for: the knowledge base says {words.premise(words.entry(node))}")
    if node.provenance is not None:
        facts.append(f"wave {node.provenance.wave}, request {plain_line(node.provenance.request, 15)}")
    return facts


def _controls(graph: ReasoningGraph) -> str:
    last = graph.as_of
    return (
        '<div class="controls" hidden><label for="row">What a row sees that predicts position</label>'
        f'<input type="range" id="row" min="0" max="{last}" value="{last}" step="1" autocomplete="off">'
        '<button type="button" id="earlier" aria-label="one position earlier">−</button>'
        '<button type="button" id="later" aria-label="one position later">+</button>'
        '<output class="wide" id="said" for="row" aria-live="polite"></output>'
        '<label class="wide"><input type="checkbox" id="rejected" checked autocomplete="off"> '
        "show what verification rejected</label></div>"
    )


def _swatch(name: str, words: str) -> str:
    style = f"background:var(--{name});border-color:var(--{name}-line)"
    return f'<li><span style="{style}"></span>{words}</li>'


_LEGEND = (
    '<ul class="legend">'
    + _swatch("item", "history, oldest first")
    + _swatch("reason", "reasons, above the newest item they had seen")
    + _swatch("imagined", "imagined items; ≈ is the similarity to the catalogue title")
    + '<li><span style="border:1px dashed var(--loss)"></span>rejected by verification</li>'
    + "<li><b>↺</b> reused from the knowledge base</li></ul>"
)
