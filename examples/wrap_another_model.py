"""A RecBole model of your own, enhanced: write the class, register it, compare it with its graph-free self.

Run: ``python examples/wrap_another_model.py [FOLDER]``; no key, no download. The model weighs the newest items by a
learned share and scores by products: twenty lines, no attention. What the wrapper asks of it is what RecBole's models
have anyway: an ``item_embedding``, a ``loss_fct`` that takes scores, and a ``forward`` that gives one state a row.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import llmrg
from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.evaluation.report import terminal_view
from llmrg.graph.arrays import build_arrays

llmrg.register()  # before RecBole is imported
from recbole.model.abstract_recommender import SequentialRecommender  # noqa: E402

TOY_TEXT = {"encoder": "hashing", "components": 16}


class FadingMean(SequentialRecommender):
    """Mean of a sequence's item vectors, in which older items count less."""

    causal = True  # its state at a position depends on earlier positions only: all prefixes in one pass

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.item_embedding = torch.nn.Embedding(self.n_items, config["hidden_size"], padding_idx=0)
        self.fading = torch.nn.Parameter(torch.tensor(0.5))
        self.loss_fct = torch.nn.CrossEntropyLoss()

    def forward(self, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        place = torch.arange(item_seq.shape[1], device=item_seq.device)
        age = (place.unsqueeze(1) - place).clamp_min(0)  # [L, L]: how long before each position
        share = torch.tril(torch.exp(-self.fading.abs() * age))
        states = share @ self.item_embedding(item_seq) / share.sum(1, keepdim=True)  # [B, L, H]
        return self.gather_indexes(states, item_seq_len - 1)  # [B, H]

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return self.loss_fct(state @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])

    def predict(self, interaction: Any) -> torch.Tensor:
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return (state * self.item_embedding(interaction[self.ITEM_ID])).sum(1)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return state @ self.item_embedding.weight.T


def main(folder: Path) -> None:
    data = planted_themes(num_users=200, num_items=80, num_themes=8, length=12, signal=1.0, seed=3)
    write_atomic_files(folder / "data", "toy", data.sequences, catalog=data.catalog)
    arrays = build_arrays(
        sorted(data.graphs.values(), key=lambda graph: graph.user_id),
        llmrg.load_text_encoder(llmrg.LlmrgSettings.parse({"text": TOY_TEXT}).text),
        folder / "arrays",
        components=TOY_TEXT["components"],
        fingerprint="planted",
        cutoff="leave_one_out",
    )
    print(f"{arrays}")

    names = llmrg.register(FadingMean, defaults={"hidden_size": 16, "loss_type": "CE"})
    print(f"RecBole now resolves FadingMean and {names[-1]}")
    report = llmrg.compare(
        ["FadingMean"],
        "toy",
        folder / "arrays",
        arms=("base", "enhanced", "shuffled"),
        overrides={
            "epochs": 8,
            "learning_rate": 0.03,
            "train_batch_size": 256,
            "data_path": str(folder / "data"),
            "llmrg": {"text": TOY_TEXT},
        },
        processes=1,  # another process would not know the class
    )
    Console().print(terminal_view(report))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="llmrg-own-model-")))
