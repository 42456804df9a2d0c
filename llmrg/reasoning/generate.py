"""The offline job: every user's reasoning graph, wave by wave, into a store.

Promise: all users of a wave read one frozen snapshot of the knowledge base, and a wave is committed whole;
so the result depends on the users' order and the recipe alone, and an interrupted job that is started again
ends in the store that an uninterrupted one would have left. What fails for one user is recorded and stops
no other.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from llmrg.data.catalog import ItemCatalog
from llmrg.data.cooccurrence import Cooccurrence
from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import fingerprint
from llmrg.graph.schema import SCHEMA_VERSION
from llmrg.graph.store import GraphStore
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoning.agent import Reuse
from llmrg.reasoning.engine import AnyReasoner, Engine, InProcess
from llmrg.reasoning.generation_report import GenerationReport, Progress, recorded_reuse
from llmrg.reasoning.thinker import Thinker
from llmrg.reasoning.waves import WaveJob, first_users, pending_waves
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings
from llmrg.text.grounding import Grounding

AGENT_VERSION = 5  # of the reasoning modules; raise it when the same replies give another graph
MOST_VALUES = 100  # a user attribute with more values (a zip code) says little and identifies much

__all__ = [
    "GenerationReport",
    "Progress",
    "decided",
    "generate",
    "informative_attributes",
    "recipe_fingerprint",
]

log = logging.getLogger(__name__)


def generate(
    histories: Sequence[UserHistory],
    catalog: ItemCatalog,
    reasoner: AnyReasoner,
    store: GraphStore,
    *,
    engine: Engine | None = None,
    settings: GenerationSettings | None = None,
    data_fingerprint: str = "",
    world: World | None = None,
    attributes: Sequence[str] | None = None,
    pilot: int | None = None,
    processes: int = 1,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> GenerationReport:
    """Think about every user who has no graph of this recipe, history and attributes worth showing yet.

    Graphs, failures and knowledge of another recipe are removed from the store first. Users who failed in an
    earlier run are tried again after all others, but for those whose history is still empty.

    Args:
        histories: in the order the waves are made of.
        catalog: the items.
        reasoner: what answers.
        store: where to.
        engine: gets the completions a language model needs; by default none can be had.
        settings: the recipe.
        data_fingerprint: of the data set; noted in the store.
        world: statistics and grounding; by default the embedded reasoner's own, else labels only.
        attributes: names of the user attributes worth showing; by default :func:`informative_attributes`.
        pilot: think about so many users only. Those of a wave that is not whole get no graph: their replies are in
            the engine's records, so that a later run asks for none of them again and ends as if there had been no
            pilot.
        processes: that think, at most, where the embedded reasoner does (without reuse, in closed verification); no
            more than there are folds, or than the work is worth. Each holds the statistics. They are spawned: a script
            that asks for more than one keeps what it does under ``if __name__ == "__main__":``.
        progress: called after each user, and whenever the engine had a completion.
        clock: seconds, monotonic.

    Raises:
        EndpointError: what ends the run; waves before it are committed, and answers are in the engine's records.
        BudgetReached: the same.
    """
    chosen = decided(settings or GenerationSettings(), reasoner)
    world = world or _world(histories, catalog, reasoner)
    kept = informative_attributes(histories) if attributes is None else tuple(attributes)
    recipe = recipe_fingerprint(chosen, reasoner, world, kept)
    report = GenerationReport(recipe, users=len(histories))
    thinker = Thinker(chosen, world, reasoner, kept, recipe)
    job = WaveJob(thinker, engine or InProcess(), report, progress, clock)
    store.keep_recipe(recipe)
    store.set_meta(
        data_fingerprint=data_fingerprint, reasoner=reasoner.name, settings=chosen.model_dump(mode="json")
    )
    job.knowledge.load(store.knowledge())
    job.reuse_before = recorded_reuse(store.meta()) or Reuse()
    waves = pending_waves(histories, store, recipe, chosen.wave, kept)
    pending = sum(len(wave.users) for wave in waves)
    job.report.skipped = len(histories) - pending
    log.info("%d users to think about, %d done already", pending, job.report.skipped)
    job.run(waves if pilot is None else first_users(waves, pilot), store, processes=processes)
    job.report.seconds = clock() - job.started
    job.report.usd = job.engine.traffic.usd
    return job.report


def decided(settings: GenerationSettings, reasoner: AnyReasoner) -> GenerationSettings:
    """The settings with what depends on the reasoner decided: what is known is reused where asking costs."""
    if settings.knowledge is not None:
        return settings
    return settings.model_copy(update={"knowledge": not isinstance(reasoner, EmbeddedReasoner)})


def recipe_fingerprint(
    settings: GenerationSettings, reasoner: AnyReasoner, world: World, attributes: Iterable[str] = ()
) -> str:
    """Content hash of everything that affects a graph beside the user's own history."""
    return fingerprint(
        {
            "settings": decided(settings, reasoner).fingerprint,
            "reasoner": reasoner.fingerprint,
            "world": world.fingerprint,
            "attributes": sorted(attributes),
            "versions": [SCHEMA_VERSION, AGENT_VERSION],
        }
    )


def informative_attributes(histories: Iterable[UserHistory]) -> tuple[str, ...]:
    """User attributes whose values are shared by enough users to be worth showing.

    >>> users = [UserHistory(str(i), (), 0, attributes={"sex": ("F",), "zip": (str(i),)}) for i in range(9)]
    >>> informative_attributes(users)
    ('sex',)
    """
    values: dict[str, set[str]] = {}
    holders: Counter[str] = Counter()
    for history in histories:
        for name, found in history.attributes.items():
            values.setdefault(name, set()).update(found)
            holders[name] += 1
    return tuple(
        sorted(
            name for name, found in values.items() if len(found) <= min(MOST_VALUES, (holders[name] + 1) // 2)
        )
    )


def _world(histories: Sequence[UserHistory], catalog: ItemCatalog, reasoner: AnyReasoner) -> World:
    if isinstance(reasoner, EmbeddedReasoner):
        return World(catalog, reasoner.cooccurrence, reasoner.grounding)
    return World(catalog, Cooccurrence(histories, catalog), Grounding(catalog))
