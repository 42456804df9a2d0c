"""A small catalogue with themes, users who mostly stay in one, and ways to run the agent over them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.interactions import UserHistory
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import Reasoner, ReasonerRequest, Reply, UnusableReplyError
from llmrg.reasoning.agent import Asker, Reasoned, reason_about
from llmrg.reasoning.engine import InProcess, answered
from llmrg.reasoning.knowledge_base import Snapshot
from llmrg.reasoning.world import World
from llmrg.settings import EmbeddedSettings, GenerationSettings
from llmrg.text.encoder import HashingEncoder

THEMES = ("space", "cooking", "music", "garden")
ITEMS = tuple(f"i{n}" for n in range(40))


def toy_catalog(extra: Sequence[str] = ()) -> ItemCatalog:
    """Forty items in four themes, and items without a theme or a title of their own."""
    items = [
        CatalogItem(f"i{n}", f"{THEMES[n % 4]} story number {n}", {"genre": (THEMES[n % 4],)})
        for n in range(40)
    ]
    return ItemCatalog(items + [CatalogItem(item_id, f"planted {item_id}") for item_id in extra])


def toy_histories(users: int = 40, length: int = 13, seed: int = 0, held_out: int = 1) -> list[UserHistory]:
    """Users who walk through a theme with small steps and sometimes change it."""
    rng = random.Random(seed)
    histories = []
    for user in range(users):
        theme, place, items = rng.randrange(4), rng.randrange(10), []
        while len(items) < length:
            if rng.random() < 0.1:
                theme = rng.randrange(4)
            place = (place + rng.choice((1, 1, 2, 3))) % 10
            item = f"i{4 * place + theme}"
            if item not in items:
                items.append(item)
            elif len(items) >= 8:
                theme = rng.randrange(4)
        attributes = {"sex": (rng.choice("FM"),), "zip": (str(user),)}
        histories.append(UserHistory(f"u{user}", tuple(items), length - held_out, attributes=attributes))
    return histories


def toy_reasoner(histories: Sequence[UserHistory], catalog: ItemCatalog | None = None) -> EmbeddedReasoner:
    """The embedded reasoner with hashed titles and few folds."""
    settings = EmbeddedSettings(folds=4, min_support=1, neighbours=10)
    return EmbeddedReasoner.from_histories(histories, catalog or toy_catalog(), HashingEncoder(), settings)


def toy_world(reasoner: EmbeddedReasoner, catalog: ItemCatalog | None = None) -> World:
    """The world the embedded reasoner knows."""
    return World(catalog or toy_catalog(), reasoner.cooccurrence, reasoner.grounding)


def think(
    history: UserHistory,
    world: World,
    reasoner: Reasoner,
    settings: GenerationSettings,
    snapshot: Snapshot | None = None,
    watch: Callable[[ReasonerRequest, Reply], None] | None = None,
    attributes: tuple[str, ...] = (),
) -> Reasoned:
    """Drive the agent to its end."""
    asker = Asker(scope=reasoner.scope(history.user_id), attributes=attributes)

    def note(request: ReasonerRequest, reply: Reply | UnusableReplyError) -> None:
        if watch is not None and isinstance(reply, Reply):
            watch(request, reply)

    steps = answered(reason_about(history, world, settings, snapshot, asker), reasoner, note)
    (reasoned,) = InProcess().run([steps])
    return reasoned
