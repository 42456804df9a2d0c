"""One user's thinking, with what goes wrong recorded: the same in the process of the job and in a worker.

Promise: a thinker holds nothing that thinking changes but caches, so copies of it in other processes end the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.errors import GraphError, MissingExtraError, SettingsError
from llmrg.graph.checks import refuse_unsound
from llmrg.graph.store import Failure
from llmrg.reasoning.agent import Asker, Reasoned, reason_about
from llmrg.reasoning.draft import user_attributes
from llmrg.reasoning.engine import AnyReasoner, Note, Steps, answered
from llmrg.reasoning.knowledge_base import Snapshot
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

Outcome = Reasoned | Failure
"""What thinking about one user ends in: the graph with what belongs to it, or why there is none."""


@dataclass(frozen=True)
class Thinker:
    """What every user of a job is thought about with.

    Args:
        settings: the recipe.
        world: titles, grounding and distractors.
        reasoner: what answers.
        attributes: names of the user attributes worth showing.
        recipe: fingerprint of the recipe.
    """

    settings: GenerationSettings
    world: World
    reasoner: AnyReasoner
    attributes: tuple[str, ...]
    recipe: str

    def steps(self, history: UserHistory, wave: int, snapshot: Snapshot | None, note: Note) -> Steps[Outcome]:
        """Think about one user.

        Args:
            history: the user's.
            wave: number of the wave.
            snapshot: the knowledge base as this wave sees it; ``None``: nothing is known.
            note: called with each question and its reply.

        Raises:
            SettingsError, MissingExtraError: what would fail for everybody; everything else is a :class:`Failure`.
        """
        try:
            if not len(history):
                raise GraphError("empty history: there is nothing to reason about before the cut-off")
            asker = Asker(
                scope=self.reasoner.scope(history.user_id),
                wave=wave,
                recipe=self.recipe,
                attributes=user_attributes(history, self.attributes),
            )
            thinking = reason_about(history, self.world, self.settings, snapshot, asker)
            reasoned = yield from answered(thinking, self.reasoner, note)
            refuse_unsound(reasoned.graph, history)
        except (SettingsError, MissingExtraError):
            raise
        except Exception as error:  # the per-user boundary: whatever it was, the others go on
            return Failure(history.user_id, type(error).__name__, str(error) or repr(error))
        return reasoned
