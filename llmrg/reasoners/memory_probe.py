"""Has a language model read this data set before? Ask it for what no reasoning could tell.

Two questions. *Titles*: the item id alone, which stands in the data set's files and nowhere else; right answers are
compared with the titles of other items asked about (what a lucky guess earns). *Next items*: a user's id and newest
known items in order; compared with the same titles out of order and without the id (what taste alone earns), and with
naming the most popular item. Source: the idea of Di Palma et al., 2025 (arXiv 2505.10212).

Promise: nothing held out for testing is in a question or is an answer; questions depend on the data set and a seed
alone; a right answer is the title itself, years, articles and punctuation aside.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from llmrg.data.atomic_files import Dataset
from llmrg.errors import DataError
from llmrg.evaluation.statistics import sign_flip_p_values
from llmrg.fingerprint import seed_from
from llmrg.plain_text import plain_line
from llmrg.reasoners.endpoint import CompletionRequest, Endpoint, EndpointError, FaultKind
from llmrg.reasoners.language_model import completion_body
from llmrg.settings import LanguageModelSettings
from llmrg.text.same_titles import same_form, same_title

SHOWN = 10  # titles of a user
ROOM = 64  # tokens of an answer
AT_A_TIME = 8
SIGNIFICANT = 0.01
SYSTEM = "Answer with one title and nothing else. If you do not know it, give your best guess."
T = TypeVar("T")


@dataclass(frozen=True)
class MemoryQuestion:
    """Two prompts with one answer.

    Args:
        prompt: what only memory answers.
        control: the same without what memory needs; empty where the control is another question's answer.
        answer: the true title.
        guess: what a guesser without any model would say; empty for none.
    """

    prompt: str
    control: str
    answer: str
    guess: str = ""


@dataclass(frozen=True)
class Recall:
    """How one kind of question went.

    Args:
        asked: questions that were answered.
        right: right answers.
        control: right answers of the control.
        guessed: right answers by popularity; None where nothing is guessed.
        p: two-sided sign-flip test of right against control, paired by question; 1 where nothing was asked.
    """

    asked: int
    right: int
    control: int
    guessed: int | None
    p: float

    @property
    def remembered(self) -> bool:
        """Better than its control, by more than chance."""
        return self.right > self.control and self.p < SIGNIFICANT


@dataclass(frozen=True)
class MemoryReport:
    """What a model knows of a data set by heart.

    Args:
        dataset: name of the data set.
        model: as the settings name it.
        titles: item id → title.
        next_items: user id and history → next title.
        failed: questions without an answer.
        tokens: in and out, as far as the server said.
        notes: kinds of questions that could not be asked.
    """

    dataset: str
    model: str
    titles: Recall
    next_items: Recall
    failed: int
    tokens: int
    notes: tuple[str, ...] = field(default=())

    @property
    def remembered(self) -> bool:
        """Whether either kind shows memory."""
        return self.titles.remembered or self.next_items.remembered

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know, in plain words."""
        t, n = self.titles, self.next_items
        found = [
            f"{self.model} names {t.right} of {t.asked} titles of {self.dataset} by their ids alone; "
            f"{t.control} would be right by chance (p = {t.p:.3g}).",
            f"It names the next item of {n.right} of {n.asked} users; with the same titles out of order and without "
            f"the user's id {n.control}, by popularity {n.guessed or 0} (p = {n.p:.3g}).",
        ]
        if self.failed:
            found.append(f"{self.failed} questions were not answered and count for nothing.")
        found.extend(self.notes)
        if self.remembered:
            found.append(
                f"It has memorised part of {self.dataset}: a gain with this model there need not hold on data it has "
                "not read."
            )
        else:
            found.append("No sign of memory in these questions; that is no proof that there is none.")
        return tuple(found)


def title_questions(dataset: Dataset, count: int, seed: int) -> list[MemoryQuestion]:
    """Items that have a title of their own, drawn evenly."""
    times = Counter(same_form(item.title) for item in dataset.catalog.values())
    titled = [item for item in dataset.catalog.values() if item.title and times[same_form(item.title)] == 1]
    return [
        MemoryQuestion(
            f'In the public recommendation data set "{dataset.name}", each line of the item file begins with the item '
            f"id, followed by the title. Complete the line of the item with id {plain_line(item.item_id, 60)}.",
            "",
            item.title,
        )
        for item in _drawn(titled, count, seed_from("memory titles", seed))
    ]


def next_questions(dataset: Dataset, count: int, seed: int) -> list[MemoryQuestion]:
    """Users with enough known items; the newest known one is asked for, which is never the test target."""
    titles = {item.item_id: item.title for item in dataset.catalog.values()}
    popular = [
        item_id
        for item_id, _ in Counter(
            item_id for history in dataset.histories for item_id in history.train_item_ids
        ).most_common(1000)
    ]
    fit = [
        history
        for history in dataset.histories
        if len(history) > SHOWN
        and all(titles.get(item) for item in history.item_ids[-SHOWN - 1 :])
        and history.item_ids[-1] not in history.item_ids[:-1]
    ]
    rng = np.random.default_rng(seed_from("memory order", seed))
    found = []
    for history in _drawn(fit, count, seed_from("memory users", seed)):
        *shown, answer = (titles[item] for item in history.item_ids[-SHOWN - 1 :])
        known = set(history.item_ids[:-1])
        guess = next((titles[item] for item in popular if item not in known), "")
        ask = "Which title comes next?"
        found.append(
            MemoryQuestion(
                f'In the public recommendation data set "{dataset.name}", the user with id '
                f"{plain_line(history.user_id, 60)} interacted with these items, oldest first:\n{_lines(shown)}\n{ask}",
                f"Somebody likes these items:\n{_lines([shown[at] for at in rng.permutation(len(shown))])}\n{ask}",
                answer,
                guess,
            )
        )
    return found


async def probe_memory(
    endpoint: Endpoint,
    settings: LanguageModelSettings,
    dataset: Dataset,
    *,
    questions: int = 50,
    seed: int = 2024,
) -> MemoryReport:
    """Ask and count: three short completions for every two questions.

    Args:
        endpoint: whom.
        settings: model and sampling.
        dataset: read up to the cut-off.
        questions: of each kind, at most.
        seed: of the items and users asked about.

    Raises:
        EndpointError: nothing is answered, or the endpoint says that nothing will be (a bad key, no money, no such
            model).
        DataError: no item has a title.
    """
    by_id, by_user = title_questions(dataset, questions, seed), next_questions(dataset, questions, seed)
    if not by_id:
        raise DataError(
            f"{dataset.name}: no item has a title of its own, so no memory of titles can be asked for"
        )
    asker = _Asker(endpoint, settings)
    prompts = [q.prompt for q in (*by_id, *by_user)] + [q.control for q in by_user]
    answers = await asyncio.gather(*(asker.ask(prompt) for prompt in prompts))
    if asker.last is not None and asker.failed == len(prompts):
        raise asker.last  # silence is no sign that nothing is remembered
    titles, nexts = answers[: len(by_id)], answers[len(by_id) : len(by_id) + len(by_user)]
    controls = answers[len(by_id) + len(by_user) :]
    heard = [
        (said, other, q)
        for said, other, q in zip(nexts, controls, by_user, strict=True)
        if said is not None and other is not None
    ]
    others = [by_id[at - 1].answer for at in range(len(by_id))]  # the title of another item asked about
    notes = () if by_user else (f"No user of {dataset.name} has {SHOWN + 1} known items with titles.",)
    return MemoryReport(
        dataset=dataset.name,
        model=settings.model or "",
        titles=_recall(
            [
                (same_title(said, q.answer), len(by_id) > 1 and same_title(said, other))
                for said, q, other in zip(titles, by_id, others, strict=True)
                if said is not None
            ],
            None,
        ),
        next_items=_recall(
            [(same_title(said, q.answer), same_title(other, q.answer)) for said, other, q in heard],
            sum(same_title(q.guess, q.answer) for _, _, q in heard),
        ),
        failed=asker.failed,
        tokens=asker.tokens,
        notes=notes,
    )


class _Asker:
    def __init__(self, endpoint: Endpoint, settings: LanguageModelSettings) -> None:
        self.endpoint, self.settings = endpoint, settings
        self.failed = self.tokens = 0
        self.last: EndpointError | None = None
        self._room = asyncio.Semaphore(AT_A_TIME)

    async def ask(self, prompt: str) -> str | None:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        request = CompletionRequest(completion_body(self.settings, messages, ROOM, None))
        async with self._room:
            try:
                answer = await self.endpoint.complete(request)
            except EndpointError as error:
                if error.kind is FaultKind.STOP:
                    raise
                self.failed += 1
                self.last = error
                return None
        self.tokens += answer.prompt_tokens + answer.completion_tokens
        return answer.text


def _recall(pairs: Sequence[tuple[bool, bool]], guessed: int | None) -> Recall:
    if not pairs:
        return Recall(0, 0, 0, guessed, 1.0)
    table = np.array(pairs, dtype=np.float64)  # [questions, 2]
    generator = np.random.default_rng(seed_from("memory test", len(pairs)))
    p = sign_flip_p_values(table[:, :1] - table[:, 1:], generator=generator)
    right, control = (int(count) for count in table.sum(axis=0))
    return Recall(len(pairs), right, control, guessed, float(p[0]))


def _drawn(values: Sequence[T], count: int, seed: int) -> list[T]:
    chosen = np.random.default_rng(seed).permutation(len(values))[:count]
    return [values[at] for at in chosen.tolist()]


def _lines(titles: Sequence[str]) -> str:
    return "\n".join(f"- {plain_line(title)}" for title in titles)
