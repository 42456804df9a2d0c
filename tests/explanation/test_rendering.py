"""The terminal tree: every node is in it, and no title can break out of its line."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from llmrg.explanation.rendering import RELATION_WORDS, NodeWords, Standing, render_tree
from llmrg.graph.schema import Edge, Node, NodeKind, ReasoningGraph, Relation

HOSTILE = "[bold]</pre></script><script>alert(1)</script>\x1b[31m\u202ered\n└── forged" + "A" * 10_000


def test_the_tree_shows_history_chains_reasons_and_what_they_suggest(make_graph) -> None:
    tree = render_tree(make_graph(), {"i0": "Toy Story (1995)", "i1000": "The Lion King (1994)"})
    assert "├──  0  Toy Story (1995)" in tree
    assert "About the user: age=25-34" in tree
    assert "Keeps to family animation with songs (score 0.85, position 2)" in tree
    assert "supported by Toy Story (1995) at position 0" in tree
    assert "number 0 → The Lion King (1994) (score 0.70, similarity 0.91)" in tree
    assert "number 1 → not in the catalogue" in tree
    assert "caused by Follows one director" in tree


def test_rejected_nodes_say_why_and_stand_in_no_chain(make_graph) -> None:
    tree = render_tree(make_graph(), width=200)
    chains, rejected = tree.split("Rejected (")
    assert "Moves from comedy" not in chains
    assert (
        "reason at position 5: Moves from comedy towards science fiction (score 0.20), under 0.3" in rejected
    )
    assert "supported by Film 3" in rejected
    assert "number 3 → not in the catalogue (score 0.20), under 0.3" in rejected
    assert "suggested by Moves from comedy" in rejected
    assert "by a reason that was rejected" in chains


def test_no_score_is_shown_on_the_wrong_side_of_tau(make_graph) -> None:
    def shown(score: float, tau: float) -> tuple[str, str]:
        graph = make_graph(3, tau=tau)
        words = NodeWords(graph, {}, {})
        return words.score(replace(graph.nodes[-1], score=score)), words.tau

    assert shown(0.2996, 0.3) == ("0.2996", "0.3")
    assert shown(0.299, 0.3) == ("0.299", "0.3")
    assert shown(0.12, 0.125) == ("0.12", "0.125")
    assert shown(0.124, 0.125) == ("0.12", "0.125")
    assert shown(0.125, 0.125) == ("0.125", "0.125")  # accepted; two digits would say 0.12
    assert shown(0.3, 0.3) == ("0.30", "0.3")


def test_what_was_reused_stands_under_its_premise_with_who_stands_behind_it_now(make_graph) -> None:
    def tree_with(standing: dict[str, Standing]) -> str:
        return render_tree(make_graph(entry="link:i6->i8"), {"i6": "Alien"}, standing, width=200)

    tree = tree_with({"link:i6->i8": Standing(support=1)}).split("From the knowledge base (3)")[1]
    assert "why Film 8 is taken after Alien (link:i6->i8; 1 user behind it now)" in tree
    assert "reason at position 8: Follows one director" in tree
    assert "imagined item at position 8: An imagined film, number 4 (score 0.70, similarity 0.91)" in tree
    assert "4 users behind it now, in 2 scopes" in tree_with({"link:i6->i8": Standing(4, scopes=2)})
    assert "(link:i6->i8; revoked since)" in tree_with({"link:i6->i8": Standing(revoked=True)})
    assert "(link:i6->i8)" in tree_with({})


def test_a_long_history_shows_its_newest_items_and_says_what_it_leaves_out(make_graph) -> None:
    tree = render_tree(make_graph(700, window=50))
    assert "… 660 earlier items" in tree
    assert "699  Film 699" in tree
    assert "  0  Film 0" not in tree


def test_an_empty_graph_is_a_short_tree() -> None:
    tree = render_tree(ReasoningGraph("nobody", (), (), as_of=0))
    assert "User nobody · 0 items · 0 reasons" in tree


def test_hostile_titles_change_nothing_in_the_structure(make_graph) -> None:
    graph = make_graph()
    plain = render_tree(graph, {"i0": "x"}, width=400)
    hostile = render_tree(graph, {"i0": HOSTILE}, width=400)

    def branches(tree: str) -> list[str]:
        return re.findall(r"^[│├└─ ]+", tree, re.MULTILINE)

    assert branches(hostile) == branches(plain)
    assert "\x1b" not in hostile
    assert "\u202e" not in hostile
    assert "[bold]" in hostile


@given(st.text(max_size=300))
@settings(max_examples=50)
def test_any_words_stay_on_their_line(words: str) -> None:
    nodes = (Node("item:0", NodeKind.ITEM, words, 0, "a"), Node("reason:0", NodeKind.REASON, words, 0))
    graph = ReasoningGraph("u", nodes, (Edge("item:0", "reason:0", Relation.SUPPORTS),), as_of=1)
    assert len(render_tree(graph, width=1000).splitlines()) == 7


def test_every_relation_has_words_in_both_directions() -> None:
    assert set(RELATION_WORDS) == set(Relation)


def test_colours_are_kept_only_when_asked_for(make_graph) -> None:
    assert "\x1b[" not in render_tree(make_graph())
    assert "\x1b[" in render_tree(make_graph(), color=True)
