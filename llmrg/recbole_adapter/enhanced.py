"""``enhance``: a RecBole sequential recommender with a reasoning graph as an extra input.

The mixin remembers the interaction that RecBole hands to ``calculate_loss``, ``predict`` or
``full_sort_predict``, lets the unmodified base model compute, fuses what was read from the graph into the state its
first ``forward`` returns (later ones of the same call are the augmented views of contrastive models, which train the
base model alone), and adds the pointer to the scores its loss and its predictions are made of.

Promise (law 3): where no node is visible — no graphs, an unknown user, the first row — the enhanced model is its
base, bit for bit, over training too: our layers are created outside the base's random stream and stay untouched.

Letters: T rows, N nodes in reach, I items, H base width, D graph width.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llmrg.encoder.fusion import FUSIONS, Pointed, Pointer
from llmrg.encoder.graph_batch import Rows
from llmrg.encoder.graph_encoder import NodeFeatures
from llmrg.encoder.item_table import fill_texts, put_texts_in
from llmrg.encoder.networks import networks_of
from llmrg.encoder.readout import READOUTS
from llmrg.encoder.row_graphs import row_graphs
from llmrg.errors import ModelError
from llmrg.graph.arrays import GraphArrays, load_arrays
from llmrg.recbole_adapter.base_models import check_base, traits_of
from llmrg.recbole_adapter.configuration import SUFFIX, settings_of
from llmrg.recbole_adapter.dataset import PREFIX_LENGTH, SLOT
from llmrg.recbole_adapter.graph_table import GraphTable, bind
from llmrg.recbole_adapter.sampled_softmax import in_columns, whole_table


@dataclass
class Pass:
    """One call of the host.

    Args:
        interaction: what the host gave.
        rows: its rows.
        fused: whether their states were fused already.
        pointed: what the imagined nodes that its rows see add to scores.
    """

    interaction: Any
    rows: Rows
    fused: bool = False
    pointed: Pointed | None = None


class _PointedLoss(nn.Module):
    """The base model's loss, with the pointer added to the scores it is given."""

    def __init__(self, loss: nn.Module, point: Any) -> None:
        super().__init__()
        self.loss = loss
        self.point = point

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Cross-entropy gets (scores [T, I], targets [T]); BPR gets (positive [T], negative [T])."""
        value: Tensor = self.loss(*self.point(first, second))
        return value


class Enhanced:
    """Mixin placed before a RecBole sequential recommender; use :func:`enhance`.

    Reads ``llmrg.graphs`` (folder of graph arrays), ``llmrg.control`` and ``llmrg.encoder`` from the config.
    """

    base_name: str

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        settings = settings_of(config)
        self.settings = settings.encoder
        self.graphs: GraphTable | None = None
        self._pass: Pass | None = None
        self.traits = traits_of(type(self))
        table = getattr(self, self.traits.item_table, None)
        if not isinstance(table, nn.Embedding):
            raise ModelError(
                f"{self.base_name} has no {self.traits.item_table} table to share with graph nodes; expected a "
                f"torch.nn.Embedding, found {type(table).__name__}"
            )
        width, channels = self.settings.width, table.embedding_dim
        if self.settings.text_in_items:
            put_texts_in(table, settings.text.components)
        with torch.random.fork_rng():  # the base's random stream must not notice us
            self.node_features = NodeFeatures(settings.text.components, channels, width)
            self.reasoning_encoder, self.divergent_encoder = networks_of(
                self.settings.network, width, self.settings.steps, shared=self.settings.shared
            )
            self.reasoning_readout = READOUTS[self.settings.readout](channels, width)
            self.divergent_readout = READOUTS[self.settings.readout](channels, width)
            self.fusion = FUSIONS[self.settings.fusion](channels, 2 * width)
            self.graph_dropout = nn.Dropout(self.settings.dropout)
            self.pointer = Pointer() if self.settings.pointer else None
        if self.pointer is not None:
            self._let_pointer_in()
        if settings.graphs is not None:
            arrays = load_arrays(Path(settings.graphs))
            self.attach_graphs(arrays, dataset, control=settings.control, seed=int(config["seed"]))

    def attach_graphs(
        self, arrays: GraphArrays, dataset: Any, *, control: str = "none", seed: int = 0
    ) -> None:
        """Give the model its graphs.

        Args:
            arrays: graph arrays.
            dataset: the RecBole dataset whose ids the model speaks.
            control: what is done to them first, such as ``shuffled``.
            seed: of the control.

        Raises:
            FingerprintError: graphs made from other histories, or with text vectors of another width.
        """
        width = self.node_features.text.in_features
        self.graphs = bind(arrays, dataset, text_width=width, control=control, seed=seed)
        if self.settings.text_in_items:
            table = getattr(self, self.traits.item_table)
            fill_texts(table, self.graphs.texts_of_items(table.num_embeddings))

    def _let_pointer_in(self) -> None:
        """Put the pointer between the base model's scores and its loss."""
        from recbole.model.loss import BPRLoss

        loss = getattr(self, "loss_fct", None)
        if not isinstance(loss, nn.CrossEntropyLoss | BPRLoss):
            raise ModelError(
                f"{self.base_name}: the pointer joins a loss_fct that takes scores (torch.nn.CrossEntropyLoss or "
                f"RecBole's BPRLoss), found {type(loss).__name__}; set loss_type: CE, or llmrg.encoder.pointer: False"
            )
        self.loss_fct = _PointedLoss(loss, self._point_loss)

    def forward(self, *args: Any) -> Tensor:
        """The base state, with what its row's graph says fused in; [T, H]."""
        state: Tensor = super().forward(*args)  # type: ignore[misc]
        current = self._pass
        if current is None or current.fused:
            return state
        current.fused = True
        return self._fuse_rows(state, current)

    def _fuse_rows(self, state: Tensor, current: Pass) -> Tensor:
        """Fuse into what the base's ``forward`` gave: here one state a row."""
        if state.dim() != 2 or len(state) != len(current.rows):
            raise ModelError(
                f"{self.base_name} cannot be enhanced: expected its forward to give one state a row, "
                f"[{len(current.rows)}, H], found {list(state.shape)}"
            )
        return self._fuse(state, current)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The base model's loss over fused states and pointed scores."""
        with self._reading(interaction, self._rows_of(interaction)):
            loss: Tensor = super().calculate_loss(interaction)  # type: ignore[misc]
        return loss

    def predict(self, interaction: Any) -> Tensor:
        """Scores of one candidate a row; [T]."""
        with self._reading(interaction, self._rows_of(interaction)) as current:
            scores: Tensor = super().predict(interaction)  # type: ignore[misc]
            if self.pointer is not None and current.pointed is not None:
                scores = scores + self.pointer.of(interaction[self.ITEM_ID], current.pointed)  # type: ignore[attr-defined]
        return scores

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items; [T, I]."""
        with self._reading(interaction, self._rows_of(interaction)) as current:
            scores: Tensor = super().full_sort_predict(interaction)  # type: ignore[misc]
            if self.pointer is not None and current.pointed is not None:
                scores = self.pointer.add(scores.view(len(current.rows), -1), current.pointed)
        return scores

    @contextlib.contextmanager
    def _reading(self, interaction: Any, rows: Rows) -> Iterator[Pass]:
        self._pass = Pass(interaction, rows)
        try:
            yield self._pass
        finally:
            self._pass = None

    def _rows_of(self, interaction: Any) -> Rows:
        try:
            user, prefix = interaction[self.USER_ID], interaction[PREFIX_LENGTH]  # type: ignore[attr-defined]
        except KeyError as error:
            raise ModelError(
                f"{type(self).__name__} needs {error} in every interaction; call llmrg.register() before RecBole's "
                "create_dataset"
            ) from error
        users, prefixes = user.cpu().numpy(), prefix.cpu().numpy()
        if SLOT not in interaction:
            return Rows.single(users, prefixes)
        return Rows.of_windows(users, prefixes, interaction[SLOT].cpu().numpy())

    def _fuse(self, state: Tensor, current: Pass) -> Tensor:
        graphs = self.graphs
        if graphs is None:
            return state
        tables: tuple[Tensor, Tensor, bool] | None = None
        vectors: list[Tensor] = []
        seen = state.new_zeros(len(state), 1, dtype=torch.bool)
        for view, encoder, readout in (
            (graphs.reasoning, self.reasoning_encoder, self.reasoning_readout),
            (graphs.divergent, self.divergent_encoder, self.divergent_readout),
        ):
            vectors.append(state.new_zeros(len(state), self.settings.width))
            kept = view.begun(graphs.row_of_user[current.rows.user], current.rows)
            if not kept.any():
                continue
            rows = current.rows.select(kept)
            users, graph = np.unique(rows.user, return_inverse=True)
            asked = (graphs.row_of_user[users], rows, graph)
            horizon, steps, device = self.settings.horizon, self.settings.steps, state.device
            if encoder.per_row:
                found = row_graphs(view, *asked, horizon=horizon, device=device)
            else:
                found = view.batch(*asked, horizon=horizon, steps=steps, device=device)
            if found is None:
                continue
            batch, reach = found
            if tables is None:
                items = whole_table(getattr(self, self.traits.item_table)).weight  # [I, H]
                tables = self.node_features.project(graphs.texts_on(device), items, nodes=len(batch))
            first = self.node_features(batch, *tables)
            place = torch.from_numpy(np.flatnonzero(kept)).to(device)
            nodes = encoder(first, batch.edge_index, batch.relation)
            read = readout(state.index_select(0, place), nodes, batch, reach)
            vectors[-1] = vectors[-1].index_copy(0, place, read.vector)
            seen[place] |= reach.seen
            if view is graphs.divergent and self.pointer is not None:
                current.pointed = Pointed(place, *self.pointer.weights(read, batch))
        if not seen.any():
            return state
        fused: Tensor = self.fusion(state, self.graph_dropout(torch.cat(vectors, -1)), seen)
        return _keep_length(state, fused, seen) if self.traits.unit_states else fused

    def _point_loss(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        current = self._pass
        if self.pointer is None or current is None or current.pointed is None:
            return first, second
        if first.dim() == 2:
            columns = in_columns(getattr(self, self.traits.item_table), current.pointed)
            return self.pointer.add(first, columns), second
        positive, negative = (
            current.interaction[field]
            for field in (self.POS_ITEM_ID, self.NEG_ITEM_ID)  # type: ignore[attr-defined]
        )
        return (
            first + self.pointer.of(positive, current.pointed),
            second + self.pointer.of(negative, current.pointed),
        )


@functools.cache
def enhance(base: type[Any]) -> type[Any]:
    """The enhanced form of a RecBole sequential recommender.

    Args:
        base: a class such as ``recbole.model.sequential_recommender.SASRec``; it is not changed.

    Returns:
        A subclass called ``<Base>LLMRG`` with the same constructor.

    Raises:
        ModelError: a class that cannot be enhanced, with the reason.
    """
    from llmrg.recbole_adapter.masked_positions import EnhancedMasked

    check_base(base)
    if issubclass(base, Enhanced):
        raise ModelError(f"{base.__name__} is enhanced already")
    name = f"{base.__name__}{SUFFIX}"
    mixin = EnhancedMasked if traits_of(base).masked else Enhanced
    body = {
        "base_name": base.__name__,
        "__doc__": f"{base.__name__} with LLMRG graphs.",
        # where register() puts it: a class that RecBole pickles must be found again
        "__module__": f"recbole.model.sequential_recommender.{name.lower()}",
    }
    return type(name, (mixin, base), body)


def _keep_length(state: Tensor, fused: Tensor, seen: Tensor) -> Tensor:
    """``fused`` with the length of ``state``: 1 times the same where the gate is shut, to the bit."""
    length = state.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.where(seen, fused * (length / fused.norm(dim=-1, keepdim=True).clamp_min(1e-12)), fused)
