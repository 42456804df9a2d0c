"""What each chain of a graph does to one recommendation: the model is asked again without it.

Promise: a chain is its reasons with everything they suggest; taking it out changes nothing else of the graph, and the
effect is the difference of two scores of the same model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmrg.errors import ModelError, StoreError
from llmrg.explanation.effects import ChainEffect, Explanation
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.controls import keep_nodes
from llmrg.graph.schema import Node, NodeKind, ReasoningGraph, Relation
from llmrg.graph.store import GraphStore
from llmrg.graph.store_records import STORE_FILE
from llmrg.serving.recommender import Recommender, open_recommender


def explain(
    checkpoint: str | Path,
    user_id: str,
    item_id: str,
    *,
    history: Sequence[str] | None = None,
    folder: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Explanation:
    """Why an item stands where it stands for a user.

    Args:
        checkpoint: folder written by ``llmrg train --out``, of an enhanced model.
        user_id: external id.
        item_id: the item to explain, recommended or not.
        history: external item ids, oldest first; by default what the stored graph knows of the user.
        folder, settings: see :func:`~llmrg.serving.recommender.open_recommender`.

    Raises:
        ModelError: the model reads no graph, or reads it through a control.
        DataError: an item the model does not know, or no history to be had.
        StoreError, FingerprintError, SettingsError: see :func:`~llmrg.serving.recommender.open_recommender`.
    """
    with open_recommender(checkpoint, folder=folder, settings=settings) as recommender:
        chosen = recommender.known_history(user_id) if history is None else history
        return explain_item(recommender, chosen, item_id, user_id=user_id)


def explain_item(
    recommender: Recommender, history: Sequence[str], item_id: str, *, user_id: str | None = None
) -> Explanation:
    """:func:`explain` with a recommender that is open already."""
    scorer = recommender.scorer
    if recommender.arrays is None or scorer.control != "none":
        raise ModelError(
            "expected an enhanced model with graphs, trained with llmrg.control=none; this one reads none, or not as "
            "they are, so there are no chains to explain with"
        )
    number = int(scorer.vocabulary.numbers_of([item_id])[0])
    graph, arrays = reasoned(recommender, history, user_id)
    attribution = scorer.attribution(user_id, history, arrays, item_id)
    full = scorer.scores(user_id, history, arrays)
    without = scorer.scores(user_id, history)
    effects = []
    read = np.zeros(len(arrays.node_kind), dtype=np.bool_)
    shares = (
        attribution.weight[attribution.divergent].sum(),
        attribution.weight[~attribution.divergent].sum(),
    )
    views = max(1, sum(share > 0 for share in shares))
    for chain, nodes in chains_of(graph, arrays):
        if not (attribution.weight[nodes].any() or attribution.pointed[nodes].any()):
            continue  # out of the model's reach
        read |= nodes
        scores = scorer.scores(user_id, history, keep_nodes(arrays, ~nodes))
        effects.append(
            _effect(
                graph,
                chain,
                weight=float(attribution.weight[nodes].sum()) / views,
                support=attribution.support(nodes),
                effect=float(full[number] - scores[number]),
                rank_without=_rank(scores, number),
            )
        )
    return Explanation(
        user_id=user_id,
        item_id=item_id,
        title=scorer.vocabulary.titles[number],
        score=float(full[number]),
        rank=_rank(full, number),
        score_without_graph=float(without[number]),
        rank_without_graph=_rank(without, number),
        chains=tuple(sorted(effects, key=lambda chain: -abs(chain.support))),
        items_weight=float(attribution.weight[~read].sum()) / views,
        graph=graph,
    )


def reasoned(
    recommender: Recommender, history: Sequence[str], user_id: str | None
) -> tuple[ReasoningGraph, GraphArrays]:
    """The graph a history is served with, in words and as arrays of one whose nodes are its accepted ones in order.

    Of a stored graph that knows more than the history, what was there by the history's end (law 1).

    Raises:
        DataError: an empty history, or items the model was not trained with.
        StoreError: the store no longer holds the graph that the arrays were laid out from.
    """
    recommender.check(history)
    arrays = recommender.stored(history, user_id)
    if arrays is None:
        return recommender.made(history, user_id)
    assert recommender.folder is not None
    with GraphStore.open(recommender.folder / STORE_FILE, create=False) as store:
        graph = store.get(str(user_id))
    if (
        graph is None
        or graph.history != str(arrays.history[0])
        or len(graph.accepted.nodes) != len(arrays.node_kind)
    ):
        raise StoreError(
            f"{recommender.folder}: the arrays were laid out from another graph of user {user_id!r} than the store "
            "holds; run `llmrg generate` again"
        )
    return graph.before(len(history)), keep_nodes(arrays, arrays.node_position < len(history))


def chains_of(graph: ReasoningGraph, arrays: GraphArrays) -> list[tuple[tuple[Node, ...], NDArray[np.bool_]]]:
    """Every chain of accepted reasons with what it suggests: its nodes, and where they are in the arrays.

    An imagined item whose reason was rejected is a chain of its own.
    """
    accepted = graph.accepted
    place = {node.key: index for index, node in enumerate(accepted.nodes)}
    suggested: dict[str, list[Node]] = {}
    for edge in accepted.edges:
        if edge.relation is Relation.SUGGESTS:
            suggested.setdefault(edge.source, []).append(accepted.by_key[edge.target])
    groups: list[tuple[Node, ...]] = []
    for chain in accepted.chains():
        ideas = [idea for reason in chain for idea in suggested.get(reason.key, ())]
        groups.append((*chain, *dict.fromkeys(ideas)))
    held = {node.key for group in groups for node in group}
    groups += [
        (node,) for node in accepted.nodes if node.kind is NodeKind.IMAGINED_ITEM and node.key not in held
    ]
    found = []
    for group in groups:
        nodes = np.zeros(len(arrays.node_kind), dtype=np.bool_)
        nodes[[place[node.key] for node in group]] = True
        found.append((group, nodes))
    return found


def _effect(
    graph: ReasoningGraph,
    chain: tuple[Node, ...],
    *,
    weight: float,
    support: float,
    effect: float,
    rank_without: int,
) -> ChainEffect:
    reasons = [node for node in chain if node.kind is NodeKind.REASON]
    sources = {
        source.position
        for reason in reasons
        for source, _ in graph.incoming(reason.key)
        if source.kind is NodeKind.ITEM
    }
    imagined = [node.item_id for node in chain if node.kind is NodeKind.IMAGINED_ITEM and node.item_id]
    return ChainEffect(
        nodes=tuple(node.key for node in chain),
        reasons=tuple(node.label for node in reasons),
        positions=tuple(sorted(sources)),
        imagined=tuple(dict.fromkeys(imagined)),
        weight=weight,
        support=support,
        effect=effect,
        rank_without=rank_without,
    )


def _rank(scores: NDArray[np.float32], number: int) -> int:
    return 1 + int((scores > scores[number]).sum())
