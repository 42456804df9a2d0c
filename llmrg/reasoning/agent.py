"""The reasoning agent: one user's history in, requests out, replies in, a reasoning graph out.

Promise (law 4): :func:`reason_about` is a pure generator. It knows no network, clock, file or thread, and
the same replies give the same graph. It walks the windows of the history oldest first and shows no prompt
anything newer than its window. What the knowledge base answers is not asked; what it cannot waits until a
window of items is pending, so that one call serves them; and with the defaults a window costs two calls (links and
imagined items in one, verification of both in the other).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llmrg.data.interactions import UserHistory
from llmrg.graph.schema import ReasoningGraph
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.reasoning.chained import windows
from llmrg.reasoning.knowledge_base import Contribution, Snapshot
from llmrg.reasoning.mind import Mind, Problem
from llmrg.reasoning.recall import Asker, Recall, Reuse
from llmrg.reasoning.world import World
from llmrg.settings import GenerationSettings

__all__ = ["Asker", "Problem", "Reasoned", "Reuse", "Thinking", "reason_about"]

Thinking = Generator[ReasonerRequest, Reply, "Reasoned"]


@dataclass(frozen=True, slots=True)
class Reasoned:
    """What thinking about one user ends in.

    Args:
        graph: the reasoning graph.
        contributions: what its training part teaches the knowledge base.
        reuse: what the knowledge base answered.
        problems: what was wrong with replies, left out of the graph.
    """

    graph: ReasoningGraph
    contributions: tuple[Contribution, ...]
    reuse: Reuse
    problems: tuple[Problem, ...] = ()


def reason_about(
    history: UserHistory,
    world: World,
    settings: GenerationSettings,
    snapshot: Snapshot | None = None,
    asker: Asker | None = None,
) -> Thinking:
    """Think about one user.

    Args:
        history: what the user did before the cut-off.
        world: titles, grounding and distractors.
        settings: the recipe.
        snapshot: the knowledge base as this wave sees it; ``None``: nothing is known.
        asker: scope, wave and recipe of the run.

    Yields:
        Requests, to be answered by ``send``.

    Returns:
        A :class:`Reasoned`.

    Raises:
        ReplyError: a reply that answers another task, or not one reply that was of use.
    """
    asker = asker or Asker()
    mind = Mind(Recall(history, world, settings, snapshot, asker), history, world, settings, asker)
    cuts = windows(len(history), settings.window, settings.max_history)
    mind.draft.add_items(0, cuts[0][0] if cuts else 0)
    for number, (start, end) in enumerate(cuts, start=1):
        for position in range(start, end):
            mind.meet(position)
        due = number % settings.divergent_every == 0 or end == len(history)
        yield from mind.close(end, divergent=due)
    if mind.failed is not None and not mind.answered:
        raise mind.failed
    graph = mind.draft.finish(recipe=mind.asker.recipe, tau=settings.tau)
    return Reasoned(graph, tuple(mind.recall.contributions), mind.recall.reuse, tuple(mind.problems))
