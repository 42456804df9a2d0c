"""Read one reasoning graph: what it holds, what a prediction may see of it, and where its reasons lead.

Run: ``python examples/read_a_graph.py``. The graph is synthetic (no data, no key, no model): a user wanders
between themes, and the graph says so in the moment of each turn.
"""

from __future__ import annotations

from llmrg.data.synthetic import planted_themes
from llmrg.graph.schema import NodeKind, ReasoningGraph, Relation


def describe(graph: ReasoningGraph) -> None:
    """Print the history with the reasons it gave rise to, each with what it suggests."""
    suggested: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.relation is Relation.SUGGESTS:
            suggested.setdefault(edge.source, []).append(graph.by_key[edge.target].label)
    for node in graph.nodes:
        if node.kind is NodeKind.ITEM:
            print(f"  {node.position:>2}  {node.label}")
        elif node.kind is NodeKind.REASON:
            ideas = " or ".join(suggested.get(node.key, ["nothing yet"]))
            print(f"        because: {node.label}, so perhaps {ideas}")


def main() -> None:
    data = planted_themes(num_users=1, num_items=30, num_themes=5, length=8, signal=1.0, seed=7)
    graph = data.graphs["u0"]
    print(f"The whole graph: {graph}")
    describe(graph)

    # Law 1: the row that predicts the item at index 3 reads nothing at or after position 3.
    visible = graph.before(3)
    print(f"\nWhat the prediction of item 3 may see: {visible}")
    describe(visible)

    # Two views are encoded apart: what is known and why, and what is imagined from it.
    print(f"\nReasoning view: {graph.reasoning_view}")
    print(f"Divergent view: {graph.divergent_view}")
    print(f"Chains of reasons: {[' > '.join(reason.label for reason in chain) for chain in graph.chains()]}")

    # Any graph library reads it from here.
    network = graph.to_networkx()
    busiest, edges = max(network.degree, key=lambda pair: pair[1])
    print(f"In networkx: {network.number_of_nodes()} nodes; most connected: {busiest} with {edges} edges")


if __name__ == "__main__":
    main()
