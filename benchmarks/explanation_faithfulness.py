"""Whether explanations are faithful: does the chain they put first matter more than a chain taken at random?

Promise: a case is a user's best recommendation (and, apart, the test item, whatever its rank) whose graph has two
chains at least in the model's reach. The top chain is the one of the greatest support, by the model's own weights,
before anything is taken out; then it and another chain, drawn with a seed, are taken out in turn and the model is asked
again. ``share`` is the share of cases where the score moves more without the top chain. ``share_by_weight`` orders
chains by their read-out weight alone, which says what is read but not what for; ``chance`` is what a top chain drawn at
random would earn. The model is that of ``recommend_latency.py``.

Run: ``python benchmarks/explanation_faithfulness.py [--users N] [--json]``.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from _script import end, open_parser, positive, show
from recommend_latency import trained

from llmrg.data.atomic_files import read_dataset
from llmrg.data.cutoff import GlobalTime
from llmrg.explanation.effects import ChainEffect, Explanation
from llmrg.serving.explaining import explain_item
from llmrg.serving.recommender import open_recommender

TARGETS = {"share": ">= 0.9"}
SEED = 2024


def moves_more(chains: tuple[ChainEffect, ...], top: ChainEffect, rng: random.Random) -> float:
    """1 where the score moves more without the top chain than without another one, ½ where it moves as much."""
    other = rng.choice([chain for chain in chains if chain is not top])
    one, two = abs(top.effect), abs(other.effect)
    return 1.0 if one > two else 0.5 if one == two else 0.0


def shares(cases: list[Explanation]) -> dict[str, float]:
    """The three figures over some cases."""
    rng = random.Random(SEED)
    found: dict[str, list[float]] = {"share": [], "share_by_weight": [], "chance": []}
    for case in cases:
        chains = case.chains
        found["share"].append(moves_more(chains, max(chains, key=lambda c: abs(c.support)), rng))
        found["share_by_weight"].append(moves_more(chains, max(chains, key=lambda c: c.weight), rng))
        found["chance"].append(moves_more(chains, rng.choice(chains), rng))
    return {name: sum(values) / len(values) for name, values in found.items()}


def main() -> None:
    """Explain, take out, count and print."""
    parser = open_parser(__doc__, graphs=True)
    parser.add_argument("--users", type=positive, default=200, metavar="N")
    parser.add_argument("--epochs", type=positive, default=8, metavar="N")
    parser.add_argument("--checkpoint", type=Path, default=Path("llmrg-data/benchmarks/checkpoint"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = trained(chosen.checkpoint, chosen.folder, chosen.epochs)
    whole = read_dataset(None, "ml-100k", cutoff=GlobalTime(float("inf"), float("inf"))).by_user
    best: list[Explanation] = []
    test: list[Explanation] = []
    with open_recommender(checkpoint, graphs="stored") as recommender:
        assert recommender.arrays is not None
        users = recommender.arrays.user_ids.tolist()
        for user in random.Random(SEED).sample(users, min(chosen.users, len(users))):
            history = recommender.known_history(user)
            first = recommender.recommend(history, 1, user_id=user).items[0].item_id
            for item, cases in ((first, best), (whole[user].item_ids[len(history)], test)):
                found = explain_item(recommender, history, item, user_id=user)
                if len(found.chains) > 1:
                    cases.append(found)
    figures = shares(best)
    figures |= {f"{name}_test_item": value for name, value in shares(test).items()}
    figures["cases"] = len(best)
    figures["chains_per_case"] = sum(len(case.chains) for case in best) / len(best)
    figures["graph_moves_score_by"] = sum(abs(c.score - c.score_without_graph) for c in best) / len(best)
    show(figures, TARGETS)
    end("explanation_faithfulness", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
