"""The recipe of a folder of graphs, ready to be followed again: for users it never saw, and for histories that grew.

Promise: statistics, titles and settings are those the graphs were made with (the data are read from the snapshot
beside them, never from files that may have grown), which the recipe's fingerprint proves before a thought is had;
and no thought here changes a graph or what is known (a language model's answers are written to its ledger).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.config_files import merge_sections
from llmrg.data.interactions import UserHistory
from llmrg.data.snapshot import SNAPSHOT_FILE, load_snapshot
from llmrg.errors import FingerprintError
from llmrg.graph.checks import refuse_unsound
from llmrg.graph.schema import ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.job.assembly import embedded_world
from llmrg.job.online import open_online_job
from llmrg.job.reading import GraphJob
from llmrg.reasoners.budget import BudgetLimits
from llmrg.reasoning.agent import Asker, reason_about
from llmrg.reasoning.draft import user_attributes
from llmrg.reasoning.engine import AnyReasoner, Engine, InProcess, answered
from llmrg.reasoning.generate import decided, informative_attributes, recipe_fingerprint
from llmrg.reasoning.knowledge_base import KnowledgeBase, Snapshot
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings, LlmrgSettings
from llmrg.text.encoder import TextEncoder
from llmrg.text.item_texts import KEPT_FILE
from llmrg.text.kept_vectors import kept_encoder
from llmrg.text.node_encoder import node_encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StandingRecipe:
    """What thinks, and what it thinks with; made by :func:`open_recipe`.

    Args:
        job: the data as of the recipe, settings and folder.
        encoder: of nodes.
        reasoner: what answers.
        engine: what drives it.
        world: statistics and titles as of the recipe.
        settings: of the graphs, with what depends on the reasoner decided.
        attributes: names of the user attributes it shows.
        fingerprint: of all that.
        knowledge: the knowledge base as it stands now, where the recipe uses one.
    """

    job: GraphJob
    encoder: TextEncoder
    reasoner: AnyReasoner
    engine: Engine
    world: World
    settings: GenerationSettings
    attributes: tuple[str, ...]
    fingerprint: str
    knowledge: Snapshot | None

    def think(self, histories: Sequence[UserHistory]) -> list[ReasoningGraph]:
        """The graph of each history, in order; nothing is stored.

        Raises:
            ReasonerError: no answer was of use.
            EndpointError: the language model cannot be asked.
            GraphError: a graph that breaks its rules.
        """
        steps = (
            answered(
                reason_about(history, self.world, self.settings, self.knowledge, self._asker(history)),
                self.reasoner,
                lambda request, reply: None,
            )
            for history in histories
        )
        graphs = []
        for history, reasoned in zip(histories, self.engine.run(steps), strict=True):
            refuse_unsound(reasoned.graph, history)
            for problem in reasoned.problems:
                log.warning("user %r, %s: %s", history.user_id, problem.task.value, problem.message)
            graphs.append(reasoned.graph)
        return graphs

    def history(self, user_id: str, item_ids: Sequence[str]) -> UserHistory:
        """A history to think about; of a user the recipe knows it has the attributes and the training part."""
        known = self.job.dataset.by_user.get(user_id)
        return UserHistory(
            user_id,
            tuple(item_ids),
            min(len(item_ids), known.train_length if known else 0),
            attributes=known.attributes if known else {},
            cutoff=self.job.dataset.cutoff.name,
        )

    def _asker(self, history: UserHistory) -> Asker:
        return Asker(
            scope=self.reasoner.scope(history.user_id),
            recipe=self.fingerprint,
            attributes=user_attributes(history, self.attributes),
        )


@contextmanager
def open_recipe(
    folder: Path, settings: LlmrgSettings, *, limits: BudgetLimits | None = None
) -> Iterator[StandingRecipe]:
    """Make the recipe of a folder ready.

    Args:
        folder: holds ``graphs.sqlite`` and the snapshot of the data.
        settings: those the graphs were made with; the language model they name, if any, is asked.
        limits: of money, calls and tokens, over all runs in this folder.

    Raises:
        StoreError: no graphs or no snapshot there.
        FingerprintError: settings, reasoner, text encoder or this library's rules are not those of the graphs.
        EndpointError: the language model cannot be asked.
    """
    settings = with_kept_texts(settings, folder)
    job = GraphJob(load_snapshot(folder / SNAPSHOT_FILE), settings, folder)
    encoder = kept_encoder(settings.text, folder)
    embedded, world = embedded_world(job, encoder)
    with GraphStore.open(job.store_path, create=False) as store, ExitStack() as stack:
        reasoner: AnyReasoner = embedded
        engine: Engine = InProcess()
        if settings.language_model.model is not None:
            online = stack.enter_context(open_online_job(folder, store, settings, limits=limits))
            reasoner, engine = online.reasoner, online.engine
        generation = decided(settings.generation, reasoner)
        attributes = informative_attributes(job.dataset.histories)
        found = recipe_fingerprint(generation, reasoner, world, attributes)
        made = str(store.meta().get("recipe"))
        if found != made:
            raise FingerprintError(
                f"the graphs in {folder} were made by another recipe than these settings and this version of llmrg "
                "give; name the settings they were made with (--config, --set; in Python: settings), or run "
                "`llmrg generate` again",
                expected=made,
                found=found,
            )
        knowledge: Snapshot | None = None
        if generation.knowledge:
            base = KnowledgeBase(salt=found, min_support=generation.knowledge_min_support)
            base.load(store.knowledge())
            knowledge = base.snapshot()
        nodes = node_encoder(world.grounding, encoder)
        yield StandingRecipe(job, nodes, reasoner, engine, world, generation, attributes, found, knowledge)


def put_over(settings: LlmrgSettings, others: Mapping[str, Any]) -> LlmrgSettings:
    """The settings with others in their place, section by section.

    Args:
        settings: all of them.
        others: sections as under ``llmrg:``, with what is to be another in them.

    Raises:
        SettingsError: an unknown name or an impossible value.

    >>> put_over(LlmrgSettings(), {"generation": {"window": 3}}).generation.window
    3
    """
    values = settings.model_dump(mode="json")
    merge_sections(values, others, where="settings")
    return LlmrgSettings.parse(values)


def with_kept_texts(settings: LlmrgSettings, folder: Path) -> LlmrgSettings:
    """The settings with the item texts that were kept beside the graphs, whatever became of their file since."""
    if settings.text.item_texts is None or not (folder / KEPT_FILE).is_file():
        return settings
    text = settings.text.model_copy(update={"item_texts": str(folder / KEPT_FILE)})
    return settings.model_copy(update={"text": text})
