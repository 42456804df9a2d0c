"""The explanation as text and on the page: one sign, one verdict, whichever of the two is read."""

from __future__ import annotations

import re
from html import unescape

import pytest

from llmrg.explanation.effects import (
    ChainEffect,
    Explanation,
    render_explanation,
    render_explanation_html,
)


def explained(graph, *effects: float) -> Explanation:
    chains = tuple(
        ChainEffect(("reason:0",), (f"Chain {place}",), (0,), (), 0.1, effect, effect, 7)
        for place, effect in enumerate(effects)
    )
    return Explanation("42", "i3", "", 1.0, 2, 0.5, 9, chains, 0.2, graph)


def table(page: str) -> list[list[str]]:
    section = page.partition("<summary>Why item")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


@pytest.mark.parametrize(
    ("effect", "verdict", "change"),
    [
        (4.855, "for", "-4.855"),
        (-0.25, "against", "+0.250"),
        (0.0, "neither", "0.000"),
        (3e-7, "neither", "0.000"),
        (-4.9e-4, "neither", "0.000"),
        (6e-4, "for", "-0.001"),
    ],
)
def test_text_and_page_give_a_chain_the_same_verdict_and_the_same_sign(
    make_graph, effect: float, verdict: str, change: str
) -> None:
    found = explained(make_graph(), effect)
    text = render_explanation(found)
    assert f"\n{verdict + ':':8} Chain 0\n" in text
    assert f"taken out the score changes by {change};" in text
    header, row = table(render_explanation_html(found))
    assert row[header.index("for or against")] == verdict
    assert row[header.index("change of score when taken out")] == change
