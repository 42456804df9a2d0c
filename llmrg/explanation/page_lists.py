"""Two lists under the drawing of a graph: what verification rejected and why, and what was reused from whom.

Promise: every rejected and every reused node is in them once; every foreign word is shown as text and nothing
but text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from llmrg.explanation.rendering import KIND_NAMES, NodeWords
from llmrg.graph.schema import Node, NodeKind


def rejected_list(words: NodeWords) -> str:
    """A table of the nodes under tau, or nothing."""
    rejected = words.graph.rejected
    if not rejected:
        return ""
    rows = (
        (
            str(node.position),
            KIND_NAMES[node.kind],
            _said(node, words),
            f"{words.score(node)} < {words.tau}",
            "; ".join(dict.fromkeys(words.label(source) for source, _ in words.graph.incoming(node.key))),
        )
        for node in rejected
    )
    return table_section(
        f"Rejected by verification ({len(rejected)})",
        "A hidden end of the claim was not found again surely enough. Kept and shown, never encoded.",
        ("Position", "What", "Words", "Score", "From"),
        rows,
    )


def reused_list(words: NodeWords) -> str:
    """A table of the knowledge-base entries behind the graph, the most used first, or nothing."""
    reused = words.reused()
    if not reused:
        return ""
    rows = ((words.premise(key), str(len(nodes)), " · ".join(_given(nodes, words))) for key, nodes in reused)
    return table_section(
        f"From the knowledge base ({sum(len(nodes) for _, nodes in reused)})",
        "Not asked for: verified for other users before. How many stand behind a premise may have changed since.",
        ("Premise", "Nodes", "Answers, with the positions they stand at"),
        rows,
    )


def _given(nodes: Iterable[Node], words: NodeWords) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for node in nodes:
        places.setdefault(_said(node, words), []).append(str(node.position))
    for said, positions in places.items():
        yield f"{said} ({', '.join(dict.fromkeys(positions))})"


def _said(node: Node, words: NodeWords) -> str:
    grounded = words.grounded(node)
    if node.kind is NodeKind.IMAGINED_ITEM and node.item_id is None:
        grounded = "not in the catalogue"
    return words.label(node) + (f" → {grounded}" if grounded else "")


def table_section(
    title: str, lead: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, open_: bool = False
) -> str:
    """A foldable section with a table; every word is shown as text."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in header)
    body = "".join(
        "<tr>" + "".join(f'<td dir="auto">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<details{" open" if open_ else ""}><summary>{escape(title)}</summary><p class="quiet">{escape(lead)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )
