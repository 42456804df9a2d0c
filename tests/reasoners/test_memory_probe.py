"""The memory probe: who knows by heart is told from who reasons well, and nothing held out is ever asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmrg.data.atomic_files import Dataset, read_dataset
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.interactions import UserHistory
from llmrg.data.synthetic import write_atomic_files
from llmrg.errors import DataError
from llmrg.reasoners.endpoint import Completion, CompletionRequest, EndpointError, FaultKind
from llmrg.reasoners.memory_probe import (
    SHOWN,
    MemoryReport,
    next_questions,
    probe_memory,
    title_questions,
)
from llmrg.settings import LanguageModelSettings
from llmrg.text.same_titles import same_title

SETTINGS = LanguageModelSettings(model="fake")
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "glade", "heath")


def films(users: int = 40, items: int = 60) -> Dataset:
    titles = {f"i{n}": f"{WORDS[n % 8].title()} of {WORDS[n // 8]} {n} (19{n:02d})" for n in range(items)}
    histories = [
        UserHistory(f"u{u}", tuple(f"i{(3 * u + 7 * step * (u % 4 + 1)) % items}" for step in range(14)), 13)
        for u in range(users)
    ]
    catalog = ItemCatalog([CatalogItem(item, title) for item, title in titles.items()])
    return Dataset("films", tuple(histories), catalog)


class Reader:
    """An endpoint that may know the item file, the users' sequences, or neither."""

    def __init__(self, dataset: Dataset, *, items: bool = False, users: bool = False, fails: int = 0) -> None:
        self.dataset, self.items, self.users, self.fails = dataset, items, users, fails
        self.prompts: list[str] = []

    async def complete(self, request: CompletionRequest) -> Completion:
        prompt = request.body["messages"][-1]["content"]
        self.prompts.append(prompt)
        number = len(self.prompts)
        await asyncio.sleep(0)
        if number <= self.fails:
            raise EndpointError("busy", kind=FaultKind.RETRY)
        return Completion(self._answer(prompt), prompt_tokens=10, completion_tokens=2)

    def _answer(self, prompt: str) -> str:
        if "item with id" in prompt:
            item_id = prompt.rsplit(" ", 1)[1].rstrip(".")
            return self.dataset.catalog[item_id].title if self.items else "Alien (1979)"
        if self.users and "user with id" in prompt:
            user_id = prompt.split("user with id ")[1].split(" ")[0]
            return self.dataset.catalog[self.dataset.by_user[user_id].item_ids[-1]].title
        return "Alien"


def probed(reader: Reader, questions: int = 30) -> MemoryReport:
    return asyncio.run(probe_memory(reader, SETTINGS, reader.dataset, questions=questions))


def test_a_model_that_has_read_the_item_file_is_found_out() -> None:
    report = probed(Reader(films(), items=True))
    assert (report.titles.asked, report.titles.right, report.titles.control) == (30, 30, 0)
    assert report.titles.remembered
    assert not report.next_items.remembered
    assert "30 of 30 titles of films" in report.sentences[0]
    assert "memorised part of films" in report.sentences[-1]
    assert report.tokens == 90 * 12


def test_a_model_that_knows_the_users_sequences_is_found_out() -> None:
    report = probed(Reader(films(), users=True))
    assert report.next_items.right == 30
    assert report.next_items.remembered
    assert not report.titles.remembered
    assert report.remembered


def test_a_model_that_knows_nothing_is_not_accused() -> None:
    report = probed(Reader(films()))
    assert not report.remembered
    assert report.titles.p == report.next_items.p == 1.0
    assert "no proof that there is none" in report.sentences[-1]


def test_a_model_with_good_taste_is_not_taken_for_one_that_remembers() -> None:
    class Tasteful(Reader):
        def _answer(self, prompt: str) -> str:
            shown = frozenset(line[2:] for line in prompt.splitlines() if line.startswith("- "))
            for question in next_questions(self.dataset, 30, 2024):
                if (
                    frozenset(line[2:] for line in question.prompt.splitlines() if line.startswith("- "))
                    == shown
                ):
                    return question.answer
            return "Alien"

    report = probed(Tasteful(films()))
    assert report.next_items.right == report.next_items.control > 20
    assert not report.remembered


def test_failures_count_for_nothing_but_a_stop_ends_the_probe() -> None:
    report = probed(Reader(films(), items=True, fails=3))
    assert report.failed == 3
    assert report.titles.asked == report.titles.right == 27

    class Locked(Reader):
        async def complete(self, request: CompletionRequest) -> Completion:
            raise EndpointError("no such key", kind=FaultKind.STOP)

    with pytest.raises(EndpointError, match="no such key"):
        probed(Locked(films()))


def test_a_server_that_answers_nothing_is_not_taken_for_a_model_that_remembers_nothing() -> None:
    class Gone(Reader):
        async def complete(self, request: CompletionRequest) -> Completion:
            raise EndpointError("nobody there", kind=FaultKind.RETRY)

    with pytest.raises(EndpointError, match="nobody there"):
        probed(Gone(films()))


def test_nothing_held_out_is_asked_or_told(tmp_path: Path) -> None:
    sequences = {f"u{u}": [f"i{(u + step) % 30}" for step in range(13)] + ["canary"] for u in range(12)}
    catalog = ItemCatalog([CatalogItem(f"i{n}", f"Plain {WORDS[n % 8]} {n}") for n in range(30)])
    write_atomic_files(tmp_path, "toy", sequences, catalog=catalog)
    dataset = read_dataset(tmp_path, "toy")
    reader = Reader(dataset, users=True)
    probed(reader)
    assert reader.prompts
    assert not any("canary" in prompt for prompt in reader.prompts)
    answers = [question.answer for question in next_questions(dataset, 12, 1)]
    assert set(answers) <= {item.title for item in catalog.values()}


def test_questions_depend_on_the_data_and_the_seed_alone() -> None:
    dataset = films()
    assert title_questions(dataset, 9, 1) == title_questions(dataset, 9, 1) != title_questions(dataset, 9, 2)
    for question in next_questions(dataset, 9, 1):
        assert question.prompt.count("\n- ") == question.control.count("\n- ") == SHOWN
        assert "user with id" not in question.control
        assert f"- {question.answer}\n" not in question.prompt


def test_titles_that_several_items_share_and_missing_ones_are_not_asked_for() -> None:
    titles = {"a": "Same", "b": "Same (1990)", "c": "Other", "d": ""}
    catalog = ItemCatalog([CatalogItem(item, title) for item, title in titles.items()])
    dataset = Dataset("toy", (UserHistory("u", ("a",), 1),), catalog)
    assert [question.answer for question in title_questions(dataset, 9, 1)] == ["Other"]
    assert next_questions(dataset, 9, 1) == []
    report = asyncio.run(probe_memory(Reader(dataset), SETTINGS, dataset))
    assert report.next_items.asked == 0
    assert any("No user" in sentence for sentence in report.sentences)
    with pytest.raises(DataError, match="no item has a title"):
        asyncio.run(probe_memory(Reader(dataset), SETTINGS, Dataset("toy", (), ItemCatalog([]))))


@pytest.mark.parametrize(
    ("said", "title", "same"),
    [
        ("Toy Story", "Toy Story (1995)", True),
        ("**The Usual Suspects** (1995)\nA classic.", "Usual Suspects, The (1995)", True),
        ("Toy Story 2", "Toy Story (1995)", False),
        ("I do not know", "Toy Story (1995)", False),
        ("", "", False),
    ],
)
def test_a_right_answer_is_the_title_itself(said: str, title: str, same: Any) -> None:
    assert same_title(said, title) == same
