"""Why an item was recommended: what each chain of reasons does to its score, as values, text and part of a page.

Promise: every figure was measured by taking something away from the graph and asking the model again, or is named
as what the model itself says (weights); chains that speak against the item are told as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmrg.explanation.page_lists import table_section
from llmrg.explanation.view import render_html
from llmrg.graph.schema import ReasoningGraph
from llmrg.plain_text import plain_line

WORDS_LIMIT = 200
ITEMS_IN_TEXT = 8
"""Items of a chain that the text names on either side; the page and the JSON name all."""
UNSEEN = 0.0005
"""A change of a score under it is shown as 0.000, and speaks neither for the item nor against it."""


@dataclass(frozen=True)
class ChainEffect:
    """One chain of reasons with what it suggests, and what it does to the score of the item.

    Args:
        nodes: keys of its nodes in the graph.
        reasons: its words, oldest first.
        positions: of the items of the history it stands on.
        imagined: ids of the catalogue items it suggests.
        weight: share of what the model read from the graph that it read here: mean of the two views.
        support: how much of the score hangs on the chain by the model's own weights.
        effect: what the score loses when the chain is taken out of the graph; negative: it gains.
        rank_without: the item's rank then.
    """

    nodes: tuple[str, ...]
    reasons: tuple[str, ...]
    positions: tuple[int, ...]
    imagined: tuple[str, ...]
    weight: float
    support: float
    effect: float
    rank_without: int


@dataclass(frozen=True)
class Explanation:
    """Why one item stands where it stands for one history.

    Args:
        user_id: whose history; None where that was not said.
        item_id: the item explained.
        title: its title, or nothing.
        score: its score, with the graph.
        rank: among all items, from 1.
        score_without_graph: what the model gives it without any graph.
        rank_without_graph: the rank then.
        chains: those the model reads, the greatest support (either way) first.
        items_weight: share of what was read that fell on the history's items themselves and on user attributes.
        graph: the graph, up to the end of the history.
    """

    user_id: str | None
    item_id: str
    title: str
    score: float
    rank: int
    score_without_graph: float
    rank_without_graph: int
    chains: tuple[ChainEffect, ...]
    items_weight: float
    graph: ReasoningGraph

    def to_document(self) -> dict[str, Any]:
        """As JSON-like values, without the graph."""
        values = {name: value for name, value in vars(self).items() if name not in ("graph", "chains")}
        return {**values, "chains": [asdict(chain) for chain in self.chains]}


def render_explanation(
    explanation: Explanation, titles: Mapping[str, str] | None = None, *, most: int = 10
) -> str:
    """The explanation as text.

    Args:
        explanation: what to tell.
        titles: item id → title.
        most: chains told, the greatest support first.
    """
    named = _Named(explanation, titles or {})
    lines = [*named.summary(), ""]
    for chain in explanation.chains[:most]:
        lines.append(f"{_verdict(chain) + ':':8} {named.words(chain)}")
        lines.append(f"    from (newest first) {_some(named.items(chain)[::-1])}")
        if chain.imagined:
            lines.append(f"    suggests {_some(named.imagined(chain))}")
        lines.append(f"    {_figures(chain)}; without it rank {chain.rank_without}")
    left = len(explanation.chains) - most
    if left > 0:
        lines.append(f"… and {left} more chains with less to say")
    return "\n".join(lines) + "\n"


def render_explanation_html(explanation: Explanation, titles: Mapping[str, str] | None = None) -> str:
    """The page of the graph, with the explanation above what was rejected and reused."""
    named = _Named(explanation, titles or {})
    rows = (
        (
            named.words(chain),
            _verdict(chain),
            ", ".join(named.items(chain)) or "no item",
            ", ".join(named.imagined(chain)),
            f"{chain.weight:.1%}",
            _signed(chain.support),
            _signed(-chain.effect),
            str(chain.rank_without),
        )
        for chain in explanation.chains
    )
    change = "change of score when taken out"
    header = ("chain", "for or against", "from", "suggests", "weight", "support", change, "rank then")
    section = table_section(f"Why item {named.item}", " ".join(named.summary()), header, rows, open_=True)
    return render_html(explanation.graph, titles, about=section)


class _Named:
    def __init__(self, explanation: Explanation, titles: Mapping[str, str]) -> None:
        self.explanation, self.titles = explanation, titles
        self.item = self._item(explanation.item_id)

    def summary(self) -> list[str]:
        told = self.explanation
        whole = told.score - told.score_without_graph
        who = "a history" if told.user_id is None else f"user {plain_line(told.user_id, 60)}"
        return [
            f"{self.item} for {who}: rank {told.rank}, score {told.score:.3f}.",
            f"Without the graph: rank {told.rank_without_graph}, score {told.score_without_graph:.3f} "
            f"(the graph is worth {_signed(whole)}).",
            f"Of what was read from the graph, {told.items_weight:.0%} fell on the history's items themselves, "
            f"the rest on {len(told.chains)} chains of reasons.",
        ]

    def words(self, chain: ChainEffect) -> str:
        return plain_line(" → ".join(chain.reasons) or "(no reason was kept)", WORDS_LIMIT)

    def items(self, chain: ChainEffect) -> list[str]:
        """Of the history, oldest first."""
        taken = self.explanation.graph.item_ids
        return [self._item(taken[position]) for position in chain.positions]

    def imagined(self, chain: ChainEffect) -> list[str]:
        """What the chain suggests, the explained item before the others."""
        own = self.explanation.item_id
        others = [self._item(item) for item in chain.imagined if item != own]
        return [f"{self._item(own)} (this item)", *others] if own in chain.imagined else others

    def _item(self, item_id: str) -> str:
        title = self.titles.get(item_id, "")
        return plain_line(f"{title} [{item_id}]" if title else f"item {item_id}", 80)


def _some(words: Sequence[str]) -> str:
    """The first of many.

    >>> _some(["a", "b", "c"]), _some([]), _some([str(number) for number in range(10)])
    ('a, b, c', 'no item', '0, 1, 2, 3, 4, 5, 6, 7 and 2 more')
    """
    shown = words[:ITEMS_IN_TEXT]
    left = len(words) - len(shown)
    return (", ".join(shown) or "no item") + (f" and {left} more" if left else "")


def _verdict(chain: ChainEffect) -> str:
    if abs(chain.effect) < UNSEEN:
        return "neither"
    return "for" if chain.effect > 0 else "against"


def _figures(chain: ChainEffect) -> str:
    figures = f"weight {chain.weight:.1%}, support {_signed(chain.support)}"
    return f"{figures}, taken out the score changes by {_signed(-chain.effect)}"


def _signed(value: float) -> str:
    """With a sign, unless it rounds to nothing.

    >>> _signed(-0.0001), _signed(0.25)
    ('0.000', '+0.250')
    """
    return f"{value:+.3f}" if abs(value) >= UNSEEN else "0.000"
