"""The page of one graph: its slider obeys law 1, hostile words change nothing, a browser is content."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmrg.explanation.rendering import Standing
from llmrg.explanation.view import render_html
from llmrg.graph.schema import ReasoningGraph

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m\"'" + "A" * 10_000
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Tags with their attribute names, and the data block."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.data = ""
        self._in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self._in_data = ("id", "graph") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


def test_every_node_is_a_button_and_every_edge_a_path(make_graph) -> None:
    graph = make_graph()
    found = outline(render_html(graph))
    assert sum("data-n" in names for _, names in found.tags) == len(graph.nodes)
    assert sum(tag == "path" for tag, _ in found.tags) == len(graph.edges)


def test_every_edge_ends_where_it_ends_so_that_a_browser_draws_the_next_one(make_graph) -> None:
    page = render_html(make_graph(60, window=20))
    drawn = re.findall(r"<path[^>]*>", page)
    assert any('class="far"' in path for path in drawn)
    assert all(path.endswith('"/>') for path in drawn)


def test_the_lists_below_say_what_was_rejected_and_what_was_reused(make_graph) -> None:
    page = render_html(make_graph(), standing={"next:i8": Standing(support=4)})
    rejected, _, reused = page.partition('<div class="below" id="below" tabindex="-1">')[2].partition(
        "From the knowledge base (3)"
    )
    assert "<summary>Rejected by verification (3)</summary>" in rejected
    assert 'Moves from comedy towards science fiction</td><td dir="auto">0.20 &lt; 0.3<' in rejected
    assert "what may follow Film 8 (next:i8; 4 users behind it now)" in reused.partition("<pre>")[0]
    assert "An imagined film, number 5 → not in the catalogue (8)" in reused.partition("<pre>")[0]
    assert "not asked for: the knowledge base says what may follow Film 8" in reused


def test_a_graph_without_rejected_or_reused_nodes_has_no_such_lists(make_graph) -> None:
    page = render_html(make_graph(3))
    assert "Rejected by verification (" not in page
    assert "From the knowledge base (" not in page


def test_the_data_of_the_slider_obeys_law_one(make_graph) -> None:
    graph = make_graph()
    data = json.loads(outline(render_html(graph)).data)
    for row in range(graph.as_of + 1):
        shown = [node for node in data["nodes"] if node["position"] < row]
        assert len(shown) == len(graph.before(row).nodes)
        encoded = [node for node in shown if not node["rejected"]]
        assert len(encoded) == len(graph.before(row).accepted.nodes)
    assert all(data["nodes"][s]["position"] <= data["nodes"][t]["position"] for s, t, _, _ in data["edges"])


def test_reading_order_is_the_order_of_positions(make_graph) -> None:
    data = json.loads(outline(render_html(make_graph())).data)
    positions = [node["position"] for node in data["nodes"]]
    assert positions == sorted(positions)
    places = [(node["x"], node["y"]) for node in data["nodes"]]
    assert len(set(places)) == len(places)


def test_reasons_stand_above_the_time_line_and_imagined_items_below(make_graph) -> None:
    data = json.loads(outline(render_html(make_graph())).data)
    line = {node["y"] for node in data["nodes"] if node["kind"] == "item"}
    assert len(line) == 1
    assert all(node["y"] < min(line) for node in data["nodes"] if node["kind"] == "reason")
    assert all(node["y"] > min(line) for node in data["nodes"] if node["kind"] == "imagined_item")


def test_the_page_fetches_nothing_and_runs_only_its_own_script(make_graph) -> None:
    page = render_html(make_graph())
    found = outline(page)
    assert not any({"src", "srcset", "action"} & set(names) for _, names in found.tags)
    assert re.findall(r'href="([^"]*)"', page) == ["#below", "#as-text"]
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert "default-src 'none'" in page


def test_a_score_just_under_tau_is_shown_under_it_in_box_panel_and_list(make_graph) -> None:
    graph = make_graph()
    near = replace(graph, nodes=tuple(replace(n, score=0.2996) if n.score == 0.2 else n for n in graph.nodes))
    page = render_html(near)
    assert '<span class="mark">0.2996 &lt; 0.3</span>' in page
    assert "rejected: 0.2996 is under 0.3; never encoded" in page
    assert '<td dir="auto">0.2996 &lt; 0.3</td>' in page
    assert "(score 0.2996), under 0.3" in page


def test_the_skip_link_stops_before_all_that_stands_below_the_board(make_graph) -> None:
    page = render_html(make_graph(), about="<details>why</details>")
    assert '<div class="below" id="below" tabindex="-1"><details>why</details><details>' in page


def test_without_javascript_nothing_stands_there_that_does_nothing(make_graph) -> None:
    page = render_html(make_graph())
    assert '<div class="controls" hidden>' in page
    assert re.search(r'<div class="details" id="details"[^>]* aria-live="polite" hidden>', page)
    assert re.search(r'<noscript>.*<a href="#as-text">.*</noscript>', page)


def test_hostile_words_change_nothing_in_the_structure(make_graph) -> None:
    graph = make_graph()
    words = tuple(replace(node, label=HOSTILE) for node in graph.nodes)
    words = tuple(
        replace(node, provenance=replace(node.provenance, knowledge_entry=f"link:{HOSTILE}->i8"))
        if node.provenance and node.provenance.knowledge_entry
        else node
        for node in words
    )
    hostile = replace(graph, user_id=HOSTILE, nodes=words)
    page = render_html(hostile, {"i3": HOSTILE, "i8": HOSTILE, "i1000": HOSTILE})
    assert outline(page).tags == outline(render_html(graph)).tags
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert len(page) < 200_000


def test_a_history_of_700_items_stays_a_small_page(make_graph) -> None:
    page = render_html(make_graph(700, window=5))
    assert len(page) < 1_000_000


def test_an_empty_graph_has_a_page_too() -> None:
    assert "User nobody" in render_html(ReasoningGraph("nobody", (), (), as_of=0))


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(BROWSER), "--no-sandbox", "--headless", "--disable-gpu", "--no-first-run",
            "--disable-sync", "--disable-background-networking", "--window-size=900,500",
            f"--user-data-dir={page.parent / 'profile'}",
            "--virtual-time-budget=3000", "--enable-logging=stderr", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium")


@needs_browser
def test_a_browser_hides_what_the_row_does_not_see_and_does_not_complain(make_graph, tmp_path: Path) -> None:
    page = tmp_path / "graph.html"
    graph = make_graph()
    # the slider starts at position 5 instead of at the end
    page.write_text(render_html(graph, {"i3": HOSTILE}).replace('value="12"', 'value="5"'), encoding="utf-8")
    drawn = browse(page, "--dump-dom")
    assert "CONSOLE" not in drawn.stderr
    assert "</path></path>" not in drawn.stdout
    assert (
        "A row that predicts position 5, “Film 5”, sees 5 items, 1 reason, 2 imagined items." in drawn.stdout
    )
    buttons = re.findall(r'<button[^>]*class="node[^>]*>', drawn.stdout)
    assert len(buttons) == len(graph.nodes)
    assert sum("hidden" not in button for button in buttons) == len(graph.before(5).nodes)


PROBE = """
<script>
const nodes = [...document.querySelectorAll(".node")], details = document.getElementById("details"), found = {};
const low = (node) => node.getBoundingClientRect().bottom, words = () => details.querySelector("h2").textContent;
const point = (node) => node.dispatchEvent(new PointerEvent("pointerenter"));
const press = (key, at) => at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));

found.stops = nodes.filter((node) => node.tabIndex === 0).length;
const reached = new Set([nodes.find((node) => node.tabIndex === 0)]);
found.covered = [];
for (const node of reached) for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
  node.focus();
  press(key, node);
  reached.add(document.activeElement);
  const shown = document.activeElement;
  if (low(shown) > details.getBoundingClientRect().top) found.covered.push(shown.textContent);
}
found.reached = reached.size;

const [first, other] = [nodes[0], nodes[3]];
first.click();
const told = words();
point(other);
found.kept = words() === told;
details.click();
point(other);
found.keptInside = words() === told;
press("Escape", document.body);
point(other);
found.letGo = words() !== told;
first.click();
document.querySelector("h1").click();
point(other);
found.letGoElsewhere = words() !== told;

const row = document.getElementById("row");
nodes.at(-1).focus();
row.value = 2;
row.dispatchEvent(new Event("input"));
const stop = nodes.filter((node) => node.tabIndex === 0);
found.stopIsSeen = stop.length === 1 && !stop[0].hidden;
document.title = JSON.stringify(found);
</script>
"""


@needs_browser
def test_keyboard_and_pointer_reach_every_word(make_graph, tmp_path: Path) -> None:
    graph = make_graph()
    more = [replace(graph.by_key["reason:3"], key=f"reason:x{number}") for number in range(6)]  # a tall board
    graph = replace(graph, nodes=(*graph.nodes, *more))
    page = tmp_path / "graph.html"
    own = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render_html(graph))
    page.write_text(own.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    found = re.search(r"<title>(.*)</title>", browse(page, "--dump-dom").stdout)
    assert found
    assert json.loads(found[1]) == {
        "stops": 1,
        "covered": [],
        "reached": len(graph.nodes),
        **dict.fromkeys(("kept", "keptInside", "letGo", "letGoElsewhere", "stopIsSeen"), True),
    }


def test_in_print_the_text_stands_open_and_the_drawing_is_left_out(make_graph) -> None:
    page = render_html(make_graph())
    rules = page.partition("@media print {")[2].partition("</style>")[0]
    assert re.search(r"\.board, \.controls, \.details\b[^}]*display: none", rules)
    assert re.search(r"details::details-content \{ content-visibility: visible", rules)
