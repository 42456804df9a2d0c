"""One user's reasoning graph as a tree for the terminal.

Promise: every node is in the tree, accepted or rejected, with its score and its words (very long histories
show their newest items and say how many they leave out); titles and reasons are one harmless line each.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from llmrg.graph.schema import Node, NodeKind, ReasoningGraph, Relation
from llmrg.plain_text import plain_line
from llmrg.reasoning.premises import premise_words

LABEL_LIMIT = 120
HISTORY_SHOWN = 40

RELATION_WORDS: dict[Relation, tuple[str, str]] = {
    Relation.FOLLOWS: ("followed by", "follows"),
    Relation.SUPPORTS: ("supports", "supported by"),
    Relation.REFINES: ("refined by", "refines"),
    Relation.CAUSES: ("causes", "caused by"),
    Relation.CONTRASTS: ("contrasted by", "contrasts with"),
    Relation.SUGGESTS: ("suggests", "suggested by"),
}
"""An edge read from its source, which is the older end, and read from its target."""

KIND_NAMES = {
    NodeKind.ITEM: "item",
    NodeKind.ATTRIBUTE: "user attribute",
    NodeKind.REASON: "reason",
    NodeKind.IMAGINED_ITEM: "imagined item",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an entry of the knowledge base stands now.

    Args:
        support: distinct users behind it, in all its scopes.
        scopes: how many there are; a user is served within one.
        revoked: it was taken back; the graph was made before.
    """

    support: int = 0
    scopes: int = 1
    revoked: bool = False


def render_tree(
    graph: ReasoningGraph,
    titles: Mapping[str, str] | None = None,
    standing: Mapping[str, Standing] | None = None,
    *,
    width: int = 110,
    color: bool = False,
) -> str:
    """The graph as text: history, chains of reasons and what they suggest, what was rejected or reused.

    Args:
        graph: of one user.
        titles: item id → title; an item without one keeps the label of its node.
        standing: key of a knowledge-base entry → how it stands now; one that is not in it is only named.
        width: columns of the terminal.
        color: keep the colours as terminal escapes.
    """
    console = Console(
        file=io.StringIO(), width=width, force_terminal=color, no_color=not color, legacy_windows=False
    )
    console.print(graph_tree(graph, titles, standing))
    written = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in written.splitlines()) + "\n"


def graph_tree(
    graph: ReasoningGraph,
    titles: Mapping[str, str] | None = None,
    standing: Mapping[str, Standing] | None = None,
) -> Tree:
    """:func:`render_tree` before it becomes text: for any rich console."""
    words = NodeWords(graph, titles or {}, standing or {})
    tree = Tree(Text(words.summary(), style="bold"))
    _add_history(tree, graph, words)
    attributes = [node for node in graph.nodes if node.kind is NodeKind.ATTRIBUTE]
    if attributes:
        tree.add(Text("About the user: " + ", ".join(map(words.label, attributes))))
    _add_chains(tree, graph, words)
    _add_rejected(tree, graph, words)
    _add_reused(tree, words)
    return tree


class NodeWords:
    """How one graph's nodes are called, for the tree and the page alike."""

    def __init__(
        self, graph: ReasoningGraph, titles: Mapping[str, str], standing: Mapping[str, Standing]
    ) -> None:
        self.graph = graph
        self.tau = f"{graph.tau:g}"
        self.titles = titles
        self.standing = standing
        self.shown = {n.item_id: n.label for n in graph.nodes if n.item_id and n.kind is NodeKind.ITEM} | {
            **titles
        }

    def summary(self) -> str:
        """The graph in one line."""
        kinds = [node.kind for node in self.graph.nodes]
        parts = [
            f"User {plain_line(self.graph.user_id, 60)}",
            _count(kinds.count(NodeKind.ITEM), "item"),
            _count(kinds.count(NodeKind.REASON), "reason"),
            f"{kinds.count(NodeKind.IMAGINED_ITEM)} imagined",
            f"{len(self.graph.rejected)} rejected (score under {self.tau})",
        ]
        return " · ".join(parts)

    def label(self, node: Node, limit: int = LABEL_LIMIT) -> str:
        """A node's words; for an item its title."""
        title = self.titles.get(node.item_id) if node.item_id is not None else None
        words = title if title is not None and node.kind is NodeKind.ITEM else node.label
        return plain_line(words, limit) or plain_line(node.item_id or node.key, limit)

    def grounded(self, node: Node, limit: int = LABEL_LIMIT) -> str | None:
        """The catalogue title an imagined item was grounded to, where it differs from its own words."""
        if node.kind is not NodeKind.IMAGINED_ITEM or node.item_id is None:
            return None
        title = plain_line(self.titles.get(node.item_id, ""), limit) or f"item {plain_line(node.item_id, 60)}"
        return None if title == self.label(node, limit) else title

    def score(self, node: Node) -> str:
        """A score in two digits, or in as many as show on which side of tau it is."""
        tau, digits = self.graph.tau, 2
        while (float(f"{node.score:.{digits}f}") < tau) != (node.score < tau):
            digits += 1
        return f"{node.score:.{digits}f}"

    def figures(self, node: Node) -> str:
        """Score and similarity of a node that a reply made."""
        if node.kind in (NodeKind.ITEM, NodeKind.ATTRIBUTE):
            return ""
        similarity = "" if node.similarity is None else f", similarity {node.similarity:.2f}"
        return f"score {self.score(node)}{similarity}"

    def imagined(self, node: Node) -> str:
        """An imagined item in one line."""
        grounded = self.grounded(node)
        if node.item_id is None:
            grounded = "not in the catalogue"
        arrow = "" if grounded is None else f" → {grounded}"
        return f"{self.label(node)}{arrow} ({self.figures(node)})"

    def entry(self, node: Node) -> str:
        """Key of the knowledge-base entry a node was reused from, or nothing."""
        return (node.provenance.knowledge_entry if node.provenance else None) or ""

    def reused(self) -> list[tuple[str, list[Node]]]:
        """Nodes by the knowledge-base entry they were reused from, the most used entry first."""
        found: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if self.entry(node):
                found.setdefault(self.entry(node), []).append(node)
        return sorted(found.items(), key=lambda one: -len(one[1]))

    def premise(self, key: str) -> str:
        """A knowledge-base entry in one line: what it is about, its key, and who stands behind it."""
        found = self.standing.get(key)
        people = ""
        if found is not None:
            users = _count(found.support, "user")
            among = f", in {found.scopes} scopes" if found.scopes > 1 else ""
            people = "; revoked since" if found.revoked else f"; {users} behind it now{among}"
        about = plain_line(premise_words(key, self.shown), LABEL_LIMIT)
        return f"{about} ({plain_line(key, 60)}{people})"


def _add_history(tree: Tree, graph: ReasoningGraph, words: NodeWords) -> None:
    items = [node for node in graph.nodes if node.kind is NodeKind.ITEM]
    branch = tree.add(Text(f"History ({_count(len(items), 'item')}, oldest first)"))
    hidden = max(0, len(items) - HISTORY_SHOWN)
    if hidden:
        branch.add(Text(f"… {hidden} earlier items"))
    wide = len(str(max(0, len(items) - 1)))
    for node in items[hidden:]:
        branch.add(Text(f"{node.position:>{wide}}  {words.label(node)}"))


def _add_chains(tree: Tree, graph: ReasoningGraph, words: NodeWords) -> None:
    accepted = graph.accepted
    entering: dict[str, list[tuple[Node, Relation]]] = {}
    leaving: dict[str, list[Node]] = {}
    for edge in accepted.edges:
        entering.setdefault(edge.target, []).append((accepted.by_key[edge.source], edge.relation))
        leaving.setdefault(edge.source, []).append(accepted.by_key[edge.target])
    chains = accepted.chains()
    branch = tree.add(Text(f"Chains of reasons ({len(chains)})"))
    for number, chain in enumerate(chains, start=1):
        last = max(node.position for node in chain)
        twig = branch.add(Text(f"Chain {number}, known after position {last}"))
        for node in chain:
            leaf = twig.add(Text(f"{words.label(node)} ({words.figures(node)}, position {node.position})"))
            for source, relation in entering.get(node.key, []):
                where = f" at position {source.position}" if source.kind is NodeKind.ITEM else ""
                leaf.add(Text(f"{RELATION_WORDS[relation][1]} {words.label(source)}{where}"))
            for target in leaving.get(node.key, []):
                if target.kind is NodeKind.IMAGINED_ITEM:
                    leaf.add(Text(f"suggests {words.imagined(target)}"))
    orphans = [n for n in accepted.nodes if n.kind is NodeKind.IMAGINED_ITEM and n.key not in entering]
    if orphans:
        twig = branch.add(Text("Imagined, but by a reason that was rejected"))
        for node in orphans:
            twig.add(Text(words.imagined(node)))


def _add_rejected(tree: Tree, graph: ReasoningGraph, words: NodeWords) -> None:
    rejected = graph.rejected
    if not rejected:
        return
    branch = tree.add(Text(f"Rejected ({len(rejected)}): kept and shown, never encoded"))
    for node in rejected:
        imagined = node.kind is NodeKind.IMAGINED_ITEM
        said = words.imagined(node) if imagined else f"{words.label(node)} ({words.figures(node)})"
        leaf = branch.add(
            Text(f"{KIND_NAMES[node.kind]} at position {node.position}: {said}, under {words.tau}")
        )
        for source, relation in graph.incoming(node.key):
            leaf.add(Text(f"{RELATION_WORDS[relation][1]} {words.label(source)}"))


def _add_reused(tree: Tree, words: NodeWords) -> None:
    reused = words.reused()
    if not reused:
        return
    count = sum(len(nodes) for _, nodes in reused)
    branch = tree.add(Text(f"From the knowledge base ({count}): not asked for, learned from other users"))
    for key, nodes in reused:
        twig = branch.add(Text(words.premise(key)))
        for node in nodes:
            said = f"{words.label(node)} ({words.figures(node)})"
            twig.add(Text(f"{KIND_NAMES[node.kind]} at position {node.position}: {said}"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
