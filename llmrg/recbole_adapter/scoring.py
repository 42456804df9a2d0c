"""One history at a time: a trained model's scores of all items, and which nodes of its graph they come from.

Promise: the scores are those of full ranking for the same history and graph; a user the model never saw is served
with the mean of the users it learned, where it has vectors of users at all. A history longer than the window counts
with its newest items, as in training, while its graph knows all of it.

Letters: L positions, I items, N nodes of the graph, n nodes that a row reads, D graph width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmrg.encoder.graph_batch import ViewBatch
from llmrg.encoder.readout import Read
from llmrg.errors import DataError, ModelError
from llmrg.graph.arrays import GraphArrays
from llmrg.graph.controls import apply_control
from llmrg.graph.schema import NodeKind
from llmrg.recbole_adapter.checkpoint import LoadedModel
from llmrg.recbole_adapter.configuration import settings_of
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH
from llmrg.recbole_adapter.enhanced import Enhanced
from llmrg.recbole_adapter.graph_table import table_of

_IMAGINED = tuple(NodeKind).index(NodeKind.IMAGINED_ITEM)
_BETWEEN_USERS = ("shuffled", "rewired")
_WHOLE = 1 - 1e-6  # of a view's weight: what is left if it is gone reads nothing


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the nodes of one graph have to do with the score of one item.

    Args:
        score: of the item.
        weight: read-out weight of each node: of the reasoning view, for imagined items of the divergent one; each
            view's sum to 1. [N]
        divergent: nodes of the divergent view. [N]
        pull: first-order change of the score as the node's weight grows, its own pointer apart. [N]
        pointed: what the node's pointer adds to the score. [N]
        drawn: by how much each view as a whole moves the score; reasoning, divergent. [2]
        is_mean: whether a view is read as a mean over its nodes; else as a sum, where nodes inherit nothing.
    """

    score: float
    weight: NDArray[np.float64]
    divergent: NDArray[np.bool_]
    pull: NDArray[np.float64]
    pointed: NDArray[np.float64]
    drawn: NDArray[np.float64]
    is_mean: bool = True

    def support(self, nodes: NDArray[np.bool_]) -> float:
        """What the score would lose without some nodes, were all else linear: what they are read with and point at.

        Taking nodes away leaves their weight to the other nodes of their view, where it is read as a mean.

        Args:
            nodes: which. [N]
        """
        lost = float(self.pointed[nodes].sum())
        for view, members in enumerate((nodes & ~self.divergent, nodes & self.divergent)):
            share = float(self.weight[members].sum())
            if share >= _WHOLE:
                lost += float(self.drawn[view])
            else:
                lost += float(self.pull[members].sum()) / (1 - share if self.is_mean else 1)
        return lost


class Scorer:
    """A loaded model, asked about one history at a time; not for several threads at once.

    Args:
        loaded: the model; graphs are handed over with each question.

    Raises:
        ModelError: trained with a control that mixes users' graphs up.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.vocabulary = loaded, loaded.vocabulary
        self.model: Any = loaded.model
        self.control = settings_of(loaded.config).control
        if self.control in _BETWEEN_USERS:
            raise ModelError(
                f"a model trained with the control {self.control!r} was taught by wrong graphs, to compare with; train "
                "with llmrg.control=none to recommend"
            )
        self.reads_graphs = isinstance(self.model, Enhanced)
        self.longest = int(loaded.config["MAX_ITEM_LIST_LENGTH"])
        users = getattr(self.model, "user_embedding", None)
        if isinstance(users, torch.nn.Embedding) and len(users.weight) > 1:
            with torch.no_grad():
                users.weight[0] = users.weight[1:].mean(0)  # the padding user, which nobody else is

    def scores(
        self, user_id: str | None, item_ids: Sequence[str], arrays: GraphArrays | None = None
    ) -> NDArray[np.float32]:
        """Scores of all items by internal id; the padding has minus infinity. [I]

        Args:
            user_id: external id; one the model does not know is an average user.
            item_ids: the history, oldest first.
            arrays: one graph, of this history or a longer one with the same beginning.

        Raises:
            DataError: an empty history, or items the model does not know.
            ModelError: scores that are not numbers.
        """
        with torch.no_grad():
            found = self._predict(user_id, item_ids, arrays).float().cpu().numpy().copy()
        if np.isnan(found).any():
            raise ModelError(
                "the model's scores are not numbers: it diverged; train with a lower learning rate"
            )
        found[0] = -np.inf
        scores: NDArray[np.float32] = found
        return scores

    def attribution(
        self, user_id: str | None, item_ids: Sequence[str], arrays: GraphArrays, item_id: str
    ) -> Attribution:
        """Which nodes of a graph the score of an item comes from; arguments as of :meth:`scores`.

        Raises:
            DataError: see :meth:`scores`.
        """
        number = int(self.vocabulary.numbers_of([item_id])[0])
        reads: list[tuple[bool, ViewBatch, Tensor, Read]] = []

        def keep(divergent: bool) -> Any:
            def hook(_: Any, given: tuple[Tensor, Tensor, ViewBatch, Any], read: Read) -> None:
                read.vector.requires_grad_()
                reads.append((divergent, given[2], given[1], read))

            return hook

        handles = [
            self.model.reasoning_readout.register_forward_hook(keep(False)),
            self.model.divergent_readout.register_forward_hook(keep(True)),
        ]
        try:
            with torch.enable_grad():
                score = self._predict(user_id, item_ids, arrays)[number]
        finally:
            for handle in handles:
                handle.remove()
        vectors = [read.vector for *_, read in reads]
        # no further back than what was read: cuDNN refuses the way through a recurrent base model out of training
        gradients = torch.autograd.grad(score, vectors, allow_unused=True) if vectors else ()
        kind = np.asarray(arrays.node_kind)
        size = len(kind)
        found = Attribution(
            float(score.detach()),
            np.zeros(size),
            np.asarray(kind == _IMAGINED),
            np.zeros(size),
            np.zeros(size),
            np.zeros(2),
            self.model.reasoning_readout.is_mean,
        )
        for (divergent, view, states, read), gradient in zip(reads, gradients, strict=True):
            reached = torch.zeros_like(read.vector) if gradient is None else gradient
            self._attribute(found, divergent, view, states, read, reached[0], number)
        return found

    def _attribute(
        self,
        found: Attribution,
        divergent: bool,
        view: ViewBatch,
        states: Tensor,
        read: Read,
        gradient: Tensor,
        number: int,
    ) -> None:
        """Read one view's part off, as its read-out tells it; ``gradient`` of the score, by the read vector, is [D]."""
        readable = np.flatnonzero(found.divergent if divergent else ~found.divergent)
        assert view.origin is not None
        inside = read.reach.node[0]  # [n]
        readout = self.model.divergent_readout if divergent else self.model.reasoning_readout
        with torch.no_grad():
            weight, pull = readout.attribute(states, view, read, gradient)  # [n] each
        pointed = torch.zeros_like(weight)
        if divergent and self.model.pointer is not None:
            items, weights = self.model.pointer.weights(read, view)  # [1, n] each
            pointed = (weights.detach() * (items == number))[0]
        origin = view.origin[inside.cpu().numpy()]
        if divergent:  # its arrays also hold reasons, which are not read; imagined items keep their order
            origin = (np.cumsum(self.model.graphs.divergent.arrays.node_kind == _IMAGINED) - 1)[origin]
        place = readable[origin]
        found.weight[place] = weight.double().cpu().numpy()
        found.pull[place] = pull.double().cpu().numpy()
        found.pointed[place] = pointed.double().cpu().numpy()
        found.drawn[int(divergent)] = float(read.vector.detach()[0] @ gradient)

    def _predict(self, user_id: str | None, item_ids: Sequence[str], arrays: GraphArrays | None) -> Tensor:
        if not item_ids:
            raise DataError("expected a history of one item at least, found an empty one")
        numbers = self.vocabulary.numbers_of(item_ids)
        if self.reads_graphs:
            graphs = None
            if arrays is not None:
                rows = np.zeros(len(self.vocabulary.users), dtype=np.int64)
                graphs = table_of(apply_control(arrays, self.control), self.vocabulary.item_numbers, rows)
            self.model.graphs = graphs
        newest = torch.from_numpy(numbers[-self.longest :])
        window = torch.zeros(1, self.longest, dtype=torch.int64)
        window[0, : len(newest)] = newest
        user = self.vocabulary.user_numbers.get(user_id, 0) if user_id is not None else 0
        scores: Tensor = self.model.full_sort_predict(
            self._interaction(user, window, len(newest), len(numbers))
        )
        return scores.view(-1)

    def _interaction(self, user: int, window: Tensor, length: int, prefix: int) -> Any:
        from recbole.data.interaction import Interaction

        model = self.model
        fields = {
            model.USER_ID: torch.tensor([user]),
            model.ITEM_SEQ: window,
            model.ITEM_SEQ_LEN: torch.tensor([length]),
            PREFIX_LENGTH: torch.tensor([prefix]),
        }
        return Interaction(fields).to(model.device)
