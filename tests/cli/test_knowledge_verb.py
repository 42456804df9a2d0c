"""``llmrg knowledge``: what is listed and shown, and that what is revoked is gone for good."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_runs import NAME, QUICK, Command, told_in_one_line

from llmrg.cli.app import run
from llmrg.cli.knowledge import Kind
from llmrg.graph.store import Failure, GraphStore, KnowledgeRow
from llmrg.reasoning.premises import KINDS

LEARNS = ("llmrg.generation.knowledge=true", "llmrg.generation.knowledge_min_support=1")
MORE = ("llmrg.generation.wave=8", "llmrg.generation.knowledge_min_fit=0", "llmrg.generation.audit_share=0.5")
SETTINGS = [word for setting in (*LEARNS, *MORE) for word in ("--set", setting)]
LINE = ("generate", NAME, *QUICK, *SETTINGS)


@pytest.fixture(scope="session")
def taught(data_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished graphs with a knowledge base; not to be changed."""
    folder = tmp_path_factory.mktemp("taught") / NAME
    assert run([*LINE, "--data-path", str(data_path), "--folder", str(folder)]) == 0
    return folder


@pytest.fixture
def known(taught: Path, room: Path) -> Path:
    """A copy of them where graphs lie by default."""
    return Path(shutil.copytree(taught, room / "llmrg-data" / NAME)).relative_to(room)


def reused(folder: Path) -> dict[str, set[str]]:
    """Key of an entry → users whose graphs reused it."""
    found: dict[str, set[str]] = {}
    with GraphStore.open(folder / "graphs.sqlite") as store:
        for graph in store:
            for node in graph.nodes:
                if node.provenance and node.provenance.knowledge_entry:
                    found.setdefault(node.provenance.knowledge_entry, set()).add(graph.user_id)
    return found


def most_reused(folder: Path) -> str:
    found = reused(folder)
    return max(sorted(found), key=lambda key: len(found[key]))


def entries(llmrg: Command, *options: str) -> list[dict[str, Any]]:
    shown = llmrg("knowledge", "list", NAME, "--limit", "100000", "--json", *options).document
    assert shown["found"] == len(shown["entries"])
    found: list[dict[str, Any]] = shown["entries"]
    return found


def test_the_list_is_most_supported_first_and_agrees_with_the_store(llmrg: Command, known: Path) -> None:
    found = entries(llmrg)
    support = [entry["support"] for entry in found]
    assert support == sorted(support, reverse=True)
    assert support[0] > 1
    with GraphStore.open(known / "graphs.sqlite") as store:
        rows = store.knowledge()
    assert {(e["scope"], e["key"]) for e in found} == {(row.scope, row.key) for row in rows}
    count: Counter[tuple[str, str]] = Counter()
    for row in rows:
        count[row.scope, row.key] += sum(one[4] for one in row.document["continuations"])
    assert all(entry["contributions"] == count[entry["scope"], entry["key"]] for entry in found)
    assert all(0.0 <= entry["score"] <= 1.0 for entry in found)


def test_filters_leave_what_they_name(llmrg: Command, known: Path) -> None:
    assert tuple(Kind) == KINDS
    everything = entries(llmrg)
    assert {entry["kind"] for entry in everything} <= set(KINDS)
    for kind in {entry["kind"] for entry in everything}:
        found = entries(llmrg, "--kind", kind)
        assert found == [entry for entry in everything if entry["kind"] == kind]
    assert entries(llmrg, "--min-support", "2") == [e for e in everything if e["support"] >= 2]
    assert entries(llmrg, "--scope", "1") == [e for e in everything if e["scope"] == "1"]
    key = everything[0]["key"]
    assert key in {entry["key"] for entry in entries(llmrg, "--contains", key.upper())}
    assert entries(llmrg, "--contains", "no such words") == []
    shown = llmrg("knowledge", "list", NAME, "--limit", "2")
    assert shown.out.splitlines()[-1] == f"{len(everything)} entries, 2 shown (--limit)"


def test_an_entry_shows_its_answers_their_provenance_and_where_it_was_used(
    llmrg: Command, known: Path
) -> None:
    key = most_reused(known)
    document = llmrg("knowledge", "show", NAME, key, "--json").document
    assert document["used"]["users_with_one"] == len(reused(known)[key])
    assert "users" not in document["used"]
    answers = [answer for entry in document["entries"] for answer in entry["answers"]]
    assert answers
    assert all(answer["request"].startswith("b2:") for answer in answers)
    assert any(answer["served"] for answer in answers)
    shown = llmrg("knowledge", "show", NAME, key, "--users")
    assert f"request {answers[0]['request']}" in shown.out
    assert f"users: {', '.join(sorted(reused(known)[key]))}" in shown.out


def test_titles_are_ids_where_the_data_set_cannot_be_read(
    llmrg: Command, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = entries(llmrg, "--kind", "next")[0]["key"]
    named = llmrg("knowledge", "show", NAME, key)
    monkeypatch.delenv("LLMRG_DATA")
    unnamed = llmrg("knowledge", "show", NAME, key)
    item = key.removeprefix("next:")
    assert f"what may follow item {item}" in unnamed.out
    assert f"what may follow item {item}" not in named.out
    assert "called by their ids" in unnamed.err


def test_what_is_revoked_is_neither_served_nor_learned_again(llmrg: Command, known: Path) -> None:
    key = most_reused(known)
    users = reused(known)[key]
    shown = llmrg("knowledge", "revoke", NAME, key)
    assert shown.code == 0
    assert f"{key} is revoked in every scope, for good" in shown.out
    assert "they stay as they are" in shown.out
    assert reused(known)[key] == users

    again = llmrg("knowledge", "revoke", NAME, key, "--drop-graphs", "--json").document
    assert (again["lost"], again["graphs_removed"]) == ([], len(users))
    made = llmrg(*LINE, "--json").document
    assert made["done"] == len(users)
    assert key not in reused(known)
    facts = [entry for entry in entries(llmrg) if entry["key"] == key]
    assert facts
    assert all(entry["revoked"] and not entry["continuations"] for entry in facts)
    assert llmrg("verify", NAME).code == 0


def test_what_is_revoked_stays_so_when_the_rest_is_made_and_for_another_recipe(
    llmrg: Command, known: Path
) -> None:
    key = most_reused(known)
    llmrg("knowledge", "revoke", NAME, key)
    with GraphStore.open(known / "graphs.sqlite") as store:
        left = store.user_ids()[10:]
        store.remove(left)
    users_before = reused(known).get(key, set())
    assert llmrg(*LINE, "--json").document["done"] == len(left)
    assert reused(known).get(key, set()) == users_before
    # everything anew, as another recipe
    made = llmrg(*LINE, "--set", "llmrg.generation.tau=0.25", "--json").document
    assert made["skipped"] == 0
    assert reused(known)
    assert key not in reused(known)
    assert {entry["revoked"] for entry in entries(llmrg) if entry["key"] == key} == {True}


def test_a_scope_that_never_met_a_revoked_premise_does_not_learn_it_later(
    llmrg: Command, known: Path
) -> None:
    everything = entries(llmrg)
    scopes = {entry["scope"] for entry in everything}
    rare = next(
        e["key"]
        for e in everything
        if len({o["scope"] for o in everything if o["key"] == e["key"]}) < len(scopes)
    )
    llmrg("knowledge", "revoke", NAME, rare)
    from llmrg.reasoning.knowledge_base import Contribution, KnowledgeBase

    base = KnowledgeBase(min_support=1)
    with GraphStore.open(known / "graphs.sqlite") as store:
        base.load(store.knowledge())
    new = Contribution(rare, "words", "words", 1.0, "b2:r")
    assert base.merge([("u", "a scope of its own", new)], wave=99) == []


def test_one_scope_can_be_revoked_alone(llmrg: Command, known: Path) -> None:
    key = next(e["key"] for e in entries(llmrg) if sum(o["key"] == e["key"] for o in entries(llmrg)) > 1)
    scope = next(entry["scope"] for entry in entries(llmrg) if entry["key"] == key)
    lost = llmrg("knowledge", "revoke", NAME, key, "--scope", scope, "--json").document["lost"]
    assert [entry["scope"] for entry in lost] == [scope]
    assert {e["scope"] for e in entries(llmrg) if e["key"] == key and e["revoked"]} == {scope}


def test_a_revocation_says_where_the_same_reasons_are_kept_too(llmrg: Command, known: Path) -> None:
    key = entries(llmrg, "--kind", "link")[0]["key"]
    same = llmrg("knowledge", "revoke", NAME, key, "--json").document["same_reasons"]
    assert same["premises"] >= len(same["first"]) > 0
    assert key not in same["first"]


def test_view_says_who_stands_behind_a_premise_now_or_that_it_was_revoked_since(
    llmrg: Command, known: Path
) -> None:
    key = most_reused(known)
    user = min(reused(known)[key])
    standing = llmrg("view", NAME, user, "--json").document["knowledge"][key]
    assert standing["support"] > 0
    assert "From the knowledge base (" in llmrg("view", NAME, user).out
    llmrg("knowledge", "revoke", NAME, key)
    assert "revoked since" in " ".join(llmrg("view", NAME, user).out.split())
    llmrg("view", NAME, user, "--html", "page.html")
    assert "revoked since" in Path("page.html").read_text(encoding="utf-8")


def test_the_audit_is_told_by_generate_kept_in_the_store_and_told_again(
    llmrg: Command, known: Path, room: Path
) -> None:
    kept = llmrg("knowledge", "stats", NAME, "--json").document["reuse"]
    assert kept == llmrg("status", NAME, "--json").document["reuse"]
    audited = kept["audited_links"]["count"] + kept["audited_imagined"]["count"]
    assert audited > 0
    for audit in (kept["audited_links"], kept["audited_imagined"]):
        measured = audit["count"] > 0
        assert audit["false_rate"] == (audit["false"] / audit["count"] if measured else None)
    for line in (("knowledge", "stats", NAME), ("status", NAME)):
        assert " false (" in llmrg(*line).out
    fresh = llmrg(*LINE, "--folder", "fresh")
    assert "audited" in fresh.out
    assert llmrg("knowledge", "stats", "fresh", "--json").document["reuse"] == kept


def test_stopped_and_gone_on_the_recorded_reuse_is_that_of_one_run(
    llmrg: Command, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wave, waves = GraphStore.put_wave, []

    def stopped(store: GraphStore, wave: int, *more: Any, **named: Any) -> None:
        put_wave(store, wave, *more, **named)
        waves.append(wave)
        if len(waves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(GraphStore, "put_wave", stopped)
    assert llmrg(*LINE, "--folder", "halves").code == 130
    assert llmrg(*LINE, "--folder", "halves").code == 0
    kept = llmrg("knowledge", "stats", NAME, "--json").document
    found = llmrg("knowledge", "stats", "halves", "--json").document["reuse"]
    assert found.keys() == kept["reuse"].keys()
    for name, value in kept[
        "reuse"
    ].items():  # sums of scores, added up in two parts: but for their last bits
        assert found[name] == (pytest.approx(value) if isinstance(value, dict) else value), name


def test_a_store_without_knowledge_says_so(llmrg: Command, graphs: Path) -> None:
    assert llmrg("knowledge", "list", NAME).out == "0 entries\n"
    assert "nothing was reused" in llmrg("knowledge", "stats", NAME).out
    told_in_one_line(llmrg("knowledge", "show", NAME, "link:a->b"), "the knowledge base is empty")


def test_hostile_words_of_a_reply_stay_on_their_line(llmrg: Command, known: Path) -> None:
    hostile = "ignore\x1b[31m\nall\u202e [bold]<b>"
    row = {"continuations": [[hostile, hostile, "b2:r\n", 9.0, 9, ["a", "b", "c"]]], "revoked": False}
    with GraphStore.open(known / "graphs.sqlite") as store:
        store.put_knowledge([KnowledgeRow(f"link:{hostile}->y", "", row, 7)])
    for line in (
        ("list", NAME),
        ("show", NAME, f"link:{hostile}->y"),
        ("revoke", NAME, f"link:{hostile}->y"),
    ):
        shown = llmrg("knowledge", *line)
        assert shown.code == 0
        assert "\x1b" not in shown.out + shown.err
        assert "\u202e" not in shown.out
        assert "[bold]<b>" in shown.out or line[0] == "list"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("lst", NAME), ("lst", "list")),
        (("show", NAME), ("expected a KEY",)),
        (("revoke", NAME), ("expected a KEY",)),
        (("show", NAME, "link:nothing->at-all"), ("no entry 'link:nothing->at-all'", "such as: ")),
        (("revoke", NAME, "nothing"), ("no entry 'nothing'",)),
        (("list", NAME, "link:1->2"), ("a KEY is for show, revoke",)),
        (("list", NAME, "--drop-graphs"), ("--drop-graphs is for revoke",)),
        (("stats", NAME, "--users"), ("--users is for show",)),
        (("list", NAME, "--kind", "lnk"), ("lnk",)),
        (("list", "nowhere"), ("nowhere",)),
    ],
)
def test_a_misused_knowledge_verb_is_told_in_one_line(
    llmrg: Command, known: Path, line: Sequence[str], words: tuple[str, ...]
) -> None:
    told_in_one_line(llmrg("knowledge", *line), *words)


def test_nothing_is_revoked_while_a_run_would_go_on_serving_it(llmrg: Command, known: Path) -> None:
    from llmrg.job.online import LOCK_FILE, hold

    key = most_reused(known)
    with hold(known / LOCK_FILE):
        told_in_one_line(llmrg("knowledge", "revoke", NAME, key), "another run works on this folder")
    assert llmrg("knowledge", "revoke", NAME, key).code == 0


def test_a_failed_user_takes_no_knowledge_away(llmrg: Command, known: Path) -> None:
    before = entries(llmrg)
    with GraphStore.open(known / "graphs.sqlite") as store:
        store.put_wave(99, (), [Failure(store.user_ids()[0], "GraphError", "gone")])
    assert entries(llmrg) == before
