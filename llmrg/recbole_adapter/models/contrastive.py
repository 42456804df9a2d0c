"""SASRec with a contrastive term: what CL4SRec and DuoRec share.

The next-item loss is RecBole's own SASRec's, on either training path; the term is added with the weight ``lmd``. Views
are encoded one state a row, after the sequence itself, and so without a graph where the model is enhanced: the term is
there to train the encoder.

On RecBole's expanded path a batch holds one sequence a row. On the prefix path a batch holds windows, and the term is
computed once a window, over its whole sequence and its newest target, instead of once for each of its prefixes.

Promise: with ``lmd`` zero the loss is SASRec's, bit for bit, and nothing random is drawn; what is drawn comes from a
generator of the model's own, seeded by the config.

Letters: R rows (or windows), L positions, H base width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from llmrg.errors import SettingsError
from llmrg.recbole_adapter.compatibility import host_ready
from llmrg.recbole_adapter.dataset import WINDOW
from llmrg.recbole_adapter.prefix_states import one_state_a_row

host_ready()

from recbole.model.sequential_recommender.sasrec import SASRec  # noqa: E402


class ContrastiveSASRec(SASRec):  # type: ignore[misc]
    """SASRec whose loss has a second term over two views of each sequence.

    Reads ``lmd`` (weight of the term), ``tau`` (temperature) and ``sim`` (``dot`` or ``cos``) from the config.

    Raises:
        SettingsError: a negative weight, a temperature that is not positive, or an unknown similarity.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.lmd, self.tau, self.sim = float(config["lmd"]), float(config["tau"]), str(config["sim"])
        if self.lmd < 0 or self.tau <= 0 or self.sim not in ("dot", "cos"):
            raise SettingsError(
                f"expected lmd >= 0, tau > 0 and sim 'dot' or 'cos', found {self.lmd}, {self.tau}, {self.sim!r}",
                name="lmd",
            )
        self.generator = torch.Generator().manual_seed(int(config["seed"]))

    def views(self, item_seq: Tensor, length: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """States of two views of each sequence.

        Args:
            item_seq: [R, L], zero-padded at the right.
            length: [R].
            target: item that each sequence leads to; [R].

        Returns:
            [R, H] each.
        """
        raise NotImplementedError

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The next-item loss plus the weighted contrastive term."""
        loss: Tensor = super().calculate_loss(interaction)
        if self.lmd == 0:
            return loss
        target = interaction[self.POS_ITEM_ID]
        if (
            WINDOW in interaction
        ):  # several targets a window: the newest one is what its whole sequence leads to
            target = target[torch.bincount(interaction[WINDOW]).cumsum(0) - 1]
        with one_state_a_row(self):
            first, second = self.views(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN], target)
        return loss + self.lmd * nt_xent(first, second, temperature=self.tau, cosine=self.sim == "cos")

    def draw(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1) from the model's own generator, on its device."""
        return torch.rand(*shape, generator=self.generator).to(self.device)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float, cosine: bool = False) -> Tensor:
    """Normalised temperature-scaled cross-entropy between two views (SimCLR, arXiv 2002.05709, equation 1).

    Each view must pick its counterpart among the other 2R − 1 states of the batch.

    Args:
        first, second: [R, H].
        temperature: divides the similarities.
        cosine: compare directions instead of taking products.

    >>> aligned = torch.eye(4) * 9
    >>> float(nt_xent(aligned, aligned, temperature=1.0)) < 1e-6
    True
    """
    states = torch.cat([first, second])  # [2R, H]
    if cosine:
        states = functional.normalize(states, dim=-1)
    similarity = states @ states.T / temperature  # [2R, 2R]
    itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
    rows = len(first)
    counterpart = torch.arange(2 * rows, device=states.device).roll(rows)
    return functional.cross_entropy(similarity.masked_fill(itself, -torch.inf), counterpart)
