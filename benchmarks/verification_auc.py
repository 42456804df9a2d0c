"""How well verification tells true links from made-up ones, and imagined items that come true from the others.

Promise: the links are those the agent made with the embedded reasoner, asked about again in both modes, once as they
are and once with the hidden endpoint swapped for a drawn item that exists for this user and is not in the history;
the words and the visible side stay. An item is drawn evenly, or (``_matched``) among those of the endpoint's
popularity. A swapped link is left out where its distractors hold the true endpoint. Nothing is reused from a
knowledge base, and no statistic that answers a user contains that user.

For information: the same score of imagined items, those that are the very next item of the history (up to the
validation target, never the test target) against the others, with its two factors, the share of distractors beaten
and the plausibility that the imagining reply gave; and what share of each a threshold ``tau`` keeps.

Run: ``python benchmarks/verification_auc.py [--users N] [--data-path DIR] [--json]``; amazon-beauty is counted too
where DIR (by default ``$LLMRG_DATA``) has it.
"""

from __future__ import annotations

import dataclasses
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from _script import end, open_parser, positive, show

from llmrg.data.interactions import UserHistory
from llmrg.fingerprint import seed_from
from llmrg.job.assembly import embedded_world
from llmrg.job.reading import read_job
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.reasoner import ReasonerRequest
from llmrg.reasoning import mind
from llmrg.reasoning.agent import Asker, reason_about
from llmrg.reasoning.chained import Shown
from llmrg.reasoning.draft import Imagined, Thought
from llmrg.reasoning.verification import Masked, masked, scores_of
from llmrg.reasoning.world import ALIKE, World
from llmrg.settings import GenerationSettings
from llmrg.text.encoder import load_text_encoder

TARGETS = {"auc_closed": ">= 0.8", "auc_free": ">= 0.8"}

MODES = ("closed", "free")
DRAWS = ("even", "matched")
TAUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
DATASET, OTHER = "ml-100k", "amazon-beauty"
NEWEST = 30  # items of a history that are reasoned about, so that many users are seen in little time
SEED = 2024


@dataclass(frozen=True)
class Question:
    """What was verified at the end of one window: reasons, and imagined items with the chains they continue."""

    shown: Shown
    thoughts: tuple[Thought, ...]
    imagined: tuple[tuple[Imagined, tuple[int, ...]], ...]


@dataclass
class Gathered:
    """Scores in one mode.

    Args:
        true: of links as the agent made them.
        swapped: of links with a drawn endpoint, by the kind of draw.
        windows: of each window's imagined items: score, share of distractors beaten, plausibility, came true. [n, 4]
    """

    true: list[float] = field(default_factory=list)
    swapped: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    windows: list[npt.NDArray[np.float64]] = field(default_factory=list)


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Chance that a positive's score stands above a negative's, ties counting half.

    >>> auc([0.9, 0.5], [0.5, 0.1])
    0.875
    """
    ordered = np.sort(np.asarray(negative, dtype=np.float64))
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).mean() / (2 * len(ordered)))


def questions_of(
    history: UserHistory, world: World, reasoner: EmbeddedReasoner, settings: GenerationSettings
) -> list[Question]:
    """Drive the agent over one history, without a knowledge base, and note what it verifies."""
    found: list[Question] = []

    def noting(
        history: UserHistory, world: World, shown: Shown, thoughts: Any, imagined: Any, *rest: Any
    ) -> Any:
        found.append(Question(shown, tuple(thoughts), tuple(imagined)))
        return masked(history, world, shown, thoughts, imagined, *rest)

    thinking = reason_about(history, world, settings, None, Asker(scope=reasoner.scope(history.user_id)))
    with mock.patch.object(mind, "masked", noting):
        try:
            request = next(thinking)
            while True:
                request = thinking.send(reasoner.answer(request))
        except StopIteration:
            return found


class Listener:
    """Asks the questions of one user again.

    Args:
        history: whose; its last item is the validation target.
        world: for distractors.
        reasoner: answers.
        rng: draws endpoints.
    """

    def __init__(
        self, history: UserHistory, world: World, reasoner: EmbeddedReasoner, rng: random.Random
    ) -> None:
        self.history, self.world, self.reasoner, self.rng = history, world, reasoner, rng
        self.popularity = world.view(history.user_id).popularity
        order = np.argsort(self.popularity, kind="stable")
        self.order = order[self.popularity[order] > 0]

    def gather(self, asked: Question, settings: GenerationSettings, into: Gathered) -> None:
        """Scores of the claims of one window, as they are and with drawn endpoints."""
        question = self._masked(asked, self.history, asked.imagined, settings)
        if question is None:
            return
        scores, beaten = self._scores(question)
        links = sum(isinstance(claim, Thought) for claim in question.claims)
        into.true += scores[:links]
        if links < len(scores):
            target = self.history.item_ids[asked.shown.end]
            into.windows.append(
                np.array(
                    [
                        (score, share, claim.plausibility, claim.item_id == target)
                        for claim, score, share in zip(question.claims, scores, beaten, strict=True)
                        if isinstance(claim, Imagined)
                    ]
                )
            )
        hidden = [
            options[true].item_id for options, true in zip(question.options, question.truth, strict=True)
        ]
        for draw in DRAWS if links else ():
            swapped = list(self.history.item_ids)
            free = {*swapped, *(one.item_id for one, _ in asked.imagined)}
            for item_id in hidden[:links]:
                swapped[self.history.item_ids.index(item_id)] = self._drawn(item_id, free, draw)
            history = dataclasses.replace(self.history, item_ids=tuple(swapped))
            other = self._masked(asked, history, (), settings)
            assert other is not None
            assert other.payload.items == question.payload.items, "a swapped endpoint was visible"
            for score, options, was in zip(self._scores(other)[0], other.options, hidden, strict=False):
                if was not in {option.item_id for option in options}:
                    into.swapped[draw].append(score)

    def _masked(
        self, asked: Question, history: UserHistory, imagined: Sequence[Any], settings: GenerationSettings
    ) -> Masked | None:
        return masked(history, self.world, asked.shown, asked.thoughts, imagined, settings)

    def _scores(self, question: Masked) -> tuple[list[float], list[float]]:
        request = ReasonerRequest(question.payload, self.reasoner.scope(self.history.user_id))
        reply: Any = self.reasoner.answer(request).parsed
        scores, problems = scores_of(question, reply, self.world)
        assert not problems, problems
        # an imagined item's score is the share it beats times (1 + plausibility) / 2
        cuts = [(1 + c.plausibility) / 2 if isinstance(c, Imagined) else 1.0 for c in question.claims]
        return scores, [score / cut for score, cut in zip(scores, cuts, strict=True)]

    def _drawn(self, item_id: str, taken: set[str | None], draw: str) -> str:
        """An item that exists for this user and is not taken; ``matched``: as popular as ``item_id``."""
        order = self.order
        if draw == "matched":
            own = self.popularity[self.world.cooccurrence.index[item_id]]
            middle = int(np.searchsorted(self.popularity[order], own))
            order = order[max(0, middle - ALIKE) : middle + ALIKE + 1]
        while True:
            other = self.world.cooccurrence.item_ids[int(order[self.rng.randrange(len(order))])]
            if other not in taken:
                taken.add(other)
                return other


def gather(name: str, data_path: Path | None, users: int) -> dict[str, Gathered]:
    """Scores by mode, over users drawn from a data set."""
    overrides: dict[str, object] = {"llmrg": {"generation": {"max_history": NEWEST}}}
    if data_path is not None:
        overrides["data_path"] = str(data_path)
    job = read_job(name, overrides=overrides)
    reasoner, world = embedded_world(job, load_text_encoder(job.settings.text))
    rng = random.Random(seed_from(SEED, name))
    able = [history for history in job.dataset.histories if history.train_length < len(history)]
    gathered = {mode: Gathered() for mode in MODES}
    recipe = job.settings.generation
    for history in rng.sample(able, min(users, len(able))):
        train = dataclasses.replace(history, item_ids=history.train_item_ids, timestamps=())
        listener = Listener(history, world, reasoner, random.Random(seed_from(SEED, history.user_id)))
        for asked in questions_of(train, world, reasoner, recipe):
            for mode in MODES:
                listener.gather(asked, recipe.model_copy(update={"verification": mode}), gathered[mode])
    return gathered


def figures_of(gathered: dict[str, Gathered], suffix: str = "") -> dict[str, float]:
    """All figures over one data set."""
    figures: dict[str, float] = {}
    for mode, found in gathered.items():
        figures[f"auc_{mode}{suffix}"] = auc(found.true, found.swapped["even"])
        figures[f"auc_{mode}_matched{suffix}"] = auc(found.true, found.swapped["matched"])
        figures[f"score_true_{mode}{suffix}"] = float(np.mean(found.true))
        figures[f"score_swapped_{mode}{suffix}"] = float(np.mean(found.swapped["even"]))
        figures[f"score_matched_{mode}{suffix}"] = float(np.mean(found.swapped["matched"]))
        every = np.concatenate(found.windows)
        hit = every[:, 3] > 0
        for column, name in enumerate(("score", "beaten", "plausibility")):
            figures[f"hit_auc_{name}_{mode}{suffix}"] = auc(every[hit, column], every[~hit, column])
            inside = [
                auc(window[came, column], window[~came, column])
                for window in found.windows
                if (came := window[:, 3] > 0).any() and not came.all()
            ]
            figures[f"hit_auc_{name}_inside_{mode}{suffix}"] = float(np.mean(inside))
        for tau in TAUS:
            kept = every[:, 0] >= tau
            figures[f"kept_{mode}_tau_{tau}{suffix}"] = float(kept.mean())
            figures[f"hits_kept_{mode}_tau_{tau}{suffix}"] = float(kept[hit].mean())
    figures[f"links{suffix}"] = len(found.true)
    figures[f"imagined{suffix}"] = len(every)
    figures[f"hits{suffix}"] = int(hit.sum())
    return figures


def show_each(name: str, figures: dict[str, float], suffix: str) -> None:
    """The figures of one data set as a table."""

    def row(words: str, *names: str) -> None:
        print(f"    {words:44}" + "".join(f"{figures[n + suffix]:8.3f}" for n in names))

    print(
        f"{name}: {figures['links' + suffix]:.0f} links, {figures['imagined' + suffix]:.0f} imagined items, ",
        end="",
    )
    print(f"of them {figures['hits' + suffix]:.0f} the next item")
    for mode in MODES:
        print(f"  {mode}")
        row("AUC of links: even draw, popularity-matched", f"auc_{mode}", f"auc_{mode}_matched")
        row(
            "mean score: true, even, matched",
            *(f"score_{kind}_{mode}" for kind in ("true", "swapped", "matched")),
        )
        for way in ("", "_inside"):
            words = f"AUC of next items{' within a window' if way else ''}:"
            names = [f"hit_auc_{n}{way}_{mode}" for n in ("score", "beaten", "plausibility")]
            row(f"{words} score, its factors", *names)
        row("share of imagined items kept at tau", *(f"kept_{mode}_tau_{tau}" for tau in TAUS))
        row(
            f"  of next items kept, tau {TAUS[0]} to {TAUS[-1]}",
            *(f"hits_kept_{mode}_tau_{tau}" for tau in TAUS),
        )


def main() -> None:
    """Gather, count, and print."""
    parser = open_parser(__doc__)
    parser.add_argument(
        "--users", type=positive, default=300, metavar="N", help="users of ml-100k (default 300)"
    )
    parser.add_argument(
        "--other-users", type=positive, default=600, metavar="N", help="users of amazon-beauty (default 600)"
    )
    parser.add_argument(
        "--data-path", type=Path, metavar="DIR", help="holds amazon-beauty/ (default: $LLMRG_DATA)"
    )
    chosen = parser.parse_args()
    folder = chosen.data_path or Path(os.environ.get("LLMRG_DATA") or os.devnull)
    begun = time.perf_counter()
    figures = figures_of(gather(DATASET, None, chosen.users))
    show_each(DATASET, figures, "")
    if (folder / OTHER).is_dir():
        figures |= figures_of(gather(OTHER, folder, chosen.other_users), "_beauty")
        show_each(OTHER, figures, "_beauty")
    else:
        print(f"{OTHER}: not in {folder}; give --data-path")
    figures["seconds"] = time.perf_counter() - begun
    show({name: figures[name] for name in TARGETS}, TARGETS)
    end("verification_auc", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
