"""The verbs that make, show and hand over graphs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import NAME, QUICK, USERS, Command, told_in_one_line

from llmrg.graph.store import Failure, GraphStore
from llmrg.job.online import LOCK_FILE, hold


def test_generate_makes_graphs_and_arrays_and_then_reuses_them(llmrg: Command) -> None:
    first = llmrg("generate", NAME, *QUICK, "--json")
    assert first.code == 0
    made = first.document
    assert len(first.out.splitlines()) == 1
    assert (made["users"], made["done"], made["skipped"], made["failed"]) == (USERS, USERS, 0, 0)
    assert sum(made["requests"].values()) > 0
    assert Path(made["store"]).is_file()
    assert (Path(made["arrays"]) / "manifest.json").is_file()
    assert f"{USERS} of {USERS}" in first.err

    again = llmrg("generate", NAME, *QUICK, "--json")
    assert (again.document["done"], again.document["skipped"]) == (0, USERS)
    assert "reused" in again.err


def test_generate_tells_people_where_things_lie(llmrg: Command, graphs: Path) -> None:
    shown = llmrg("generate", NAME, *QUICK)
    assert shown.code == 0
    assert str(graphs / "graphs.sqlite") in shown.out
    assert f"{USERS} there already" in shown.out


def test_generate_takes_nested_settings_files_and_fewer_users(llmrg: Command, room: Path) -> None:
    (room / "mine.yaml").write_text("llmrg:\n  text: {encoder: hashing, components: 8}\n")
    line = ("--config", "mine.yaml", "--set", "llmrg.generation.window=1", "--max-users", "4", "--json")
    made = llmrg("generate", NAME, *line).document
    assert made["users"] == 4
    assert made["store"] == f"llmrg-data/{NAME}-first-4/graphs.sqlite"
    with GraphStore.open(Path(made["store"])) as store:
        assert store.meta()["settings"]["window"] == 1


def test_generate_fails_where_no_user_has_a_graph(llmrg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("nothing comes to mind")

    monkeypatch.setattr("llmrg.reasoning.thinker.reason_about", broken)
    told_in_one_line(llmrg("generate", NAME, *QUICK), "nothing comes to mind", NAME)


def test_view_shows_the_tree_with_titles(llmrg: Command, graphs: Path) -> None:
    user = known_users(graphs)[0]
    shown = llmrg("view", NAME, user)
    assert shown.code == 0
    assert f"User {user}" in shown.out
    assert "Chains of reasons" in shown.out


def test_view_takes_a_folder_and_ends_in_json(llmrg: Command, graphs: Path) -> None:
    user = known_users(graphs)[0]
    document = llmrg("view", graphs, user, "--json").document
    assert document["graph"]["user_id"] == user
    assert document["dataset"] == NAME


def test_view_writes_a_page(llmrg: Command, graphs: Path, room: Path) -> None:
    user = known_users(graphs)[0]
    shown = llmrg("view", NAME, user, "--html", "pages/one.html")
    assert shown.out.splitlines()[-1] == "page: pages/one.html"
    assert f"user {user}" in (room / "pages" / "one.html").read_text(encoding="utf-8")


def test_view_goes_without_the_data_set(
    llmrg: Command, graphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMRG_DATA")
    shown = llmrg("view", NAME, known_users(graphs)[0])
    assert shown.code == 0
    assert "titles are those the graph was made with" in shown.err


def test_view_names_some_users_where_one_is_unknown(llmrg: Command, graphs: Path) -> None:
    told_in_one_line(llmrg("view", NAME, "nobody"), "'nobody'", known_users(graphs)[0])


def test_view_tells_why_a_user_has_no_graph(llmrg: Command, graphs: Path) -> None:
    with GraphStore.open(graphs / "graphs.sqlite") as store:
        store.put_wave(9, (), [Failure("unlucky", "GraphError", "empty history")])
    told_in_one_line(llmrg("view", NAME, "unlucky"), "unlucky", "empty history")


def test_status_tells_counts_failures_and_whether_arrays_are_new(llmrg: Command, graphs: Path) -> None:
    found = llmrg("status", NAME, "--json").document
    assert (found["dataset"], found["users"], found["failures"]) == (NAME, USERS, 0)
    assert found["arrays"] == "up to date"
    with GraphStore.open(graphs / "graphs.sqlite") as store:
        user = store.user_ids()[0]
        store.put_wave(9, (), [Failure(user, "GraphError", "gone\nwrong")])
    found = llmrg("status", graphs, "--json").document
    assert (found["users"], found["failed_users"], found["arrays"]) == (USERS - 1, 1, "stale")
    assert found["first_failures"] == [{"user": user, "stage": "GraphError", "message": "gone\nwrong"}]
    assert f"user {user}, GraphError: gone wrong" in llmrg("status", NAME).out


def test_arrays_of_another_recipe_are_stale(llmrg: Command, graphs: Path) -> None:
    with GraphStore.open(graphs / "graphs.sqlite") as store:
        arrays = store.meta()["arrays"]
        store.set_meta(arrays={**arrays, "recipe": "b2:another"})
    assert llmrg("status", NAME, "--json").document["arrays"] == "stale"


def test_status_lists_every_store(llmrg: Command, graphs: Path) -> None:
    shown = llmrg("status", "--json")
    assert [store["folder"] for store in shown.document["stores"]] == [str(graphs)]


def test_a_store_that_cannot_be_read_hides_no_other(llmrg: Command, graphs: Path) -> None:
    broken = graphs.parent / "broken"
    broken.mkdir()
    (broken / "graphs.sqlite").write_text("x\n")
    shown = llmrg("status")
    assert shown.code == 1
    assert str(graphs) in shown.out
    assert "corrupt or foreign file" in " ".join(shown.out.split())
    assert shown.err.splitlines() == ["error: stores that cannot be read: 1 of 2"]
    told = llmrg("status", "--json")
    assert told.code == 1
    first, second = told.document["stores"]
    assert (first["folder"], second["folder"]) == (str(broken), str(graphs))
    assert "corrupt or foreign file" in first["error"]
    assert second["users"] == USERS


def test_status_without_any_store_says_how_to_make_one(llmrg: Command) -> None:
    shown = llmrg("status")
    assert shown.code == 0
    assert "llmrg generate" in shown.out


def test_verify_finds_nothing_wrong_with_what_generate_made(llmrg: Command, graphs: Path) -> None:
    shown = llmrg("verify", NAME, "--json")
    assert shown.code == 0
    assert shown.document == {"folder": str(graphs), "graphs": USERS, "problems": []}


def test_verify_exits_with_3_and_names_each_problem_once(llmrg: Command, graphs: Path) -> None:
    damage(graphs, "UPDATE graphs SET document = x'00' WHERE user_id = (SELECT min(user_id) FROM graphs)")
    shutil.copytree(graphs / "arrays", graphs / "arrays-neighbours")  # what a control arm reads
    (graphs / "arrays" / "node_score.npy").write_bytes(b"short")
    (graphs / "arrays-neighbours" / "node_item.npy").write_bytes(b"short")
    shown = llmrg("verify", graphs, "--json")
    assert shown.code == 3
    assert shown.document["graphs"] == USERS - 1
    assert len(shown.document["problems"]) == 3
    told = llmrg("verify", graphs)
    assert told.code == 3
    assert "3 problems" in told.out.splitlines()[-1]


def test_a_store_that_is_no_database_is_a_user_error_but_a_finding_of_verify(
    llmrg: Command, graphs: Path
) -> None:
    (graphs / "graphs.sqlite").write_bytes(b"not a database at all, whatever its name says" * 50)
    for line in (
        ("status", NAME),
        ("view", NAME, "1"),
        ("export", NAME, "out.jsonl"),
        ("generate", NAME, *QUICK),
    ):
        told_in_one_line(llmrg(*line), "graphs.sqlite")
    assert llmrg("verify", NAME).code == 3


def test_a_store_of_a_newer_llmrg_is_refused(llmrg: Command, graphs: Path) -> None:
    damage(graphs, "PRAGMA user_version = 99")
    told_in_one_line(llmrg("status", NAME), "newer llmrg")


def test_export_and_import_hand_all_graphs_over(llmrg: Command, graphs: Path, room: Path) -> None:
    exported = llmrg("export", NAME, "kept/graphs.jsonl", "--json").document
    assert exported["graphs"] == USERS
    taken = llmrg("import", "kept/graphs.jsonl", "copy", "--json").document
    assert (taken["graphs"], taken["users"]) == (USERS, USERS)
    assert known_users(Path("copy")) == known_users(graphs)
    llmrg("export", "copy", "again.jsonl")
    first, second = ((room / name).read_text().splitlines() for name in ("kept/graphs.jsonl", "again.jsonl"))
    assert first[1:] == second[1:]
    assert llmrg("status", "copy", "--json").document["arrays"] == "none"


def test_an_export_down_a_pipe_is_followed_by_nothing(llmrg: Command, graphs: Path) -> None:
    Path("out").symlink_to("/dev/fd/1")  # what /dev/stdout is, which a failure would replace
    line = [sys.executable, "-m", "llmrg", "export", NAME, "out"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert len([json.loads(text) for text in done.stdout.splitlines()]) == USERS + 1
    assert done.stderr == f"{USERS} graphs of {graphs} written to out\n"


def test_import_refuses_a_file_that_is_no_export(llmrg: Command, room: Path) -> None:
    (room / "other.jsonl").write_text("{}\n")
    told_in_one_line(llmrg("import", "other.jsonl", "copy"), "other.jsonl")


def test_import_keeps_out_of_a_folder_that_another_run_works_on(
    llmrg: Command, graphs: Path, room: Path
) -> None:
    llmrg("export", NAME, "graphs.jsonl")
    with hold(Path("copy") / LOCK_FILE):
        told_in_one_line(llmrg("import", "graphs.jsonl", "copy"), "another run works on this folder")
    assert not (room / "copy" / "graphs.sqlite").exists()
    assert llmrg("import", "graphs.jsonl", "copy").code == 0


def test_doctor_is_content_here_and_says_so_to_machines(llmrg: Command, data_path: Path) -> None:
    shown = llmrg("doctor", "--json")
    document = shown.document
    assert shown.code == (0 if document["ok"] else 1)
    found = {finding["name"]: finding for finding in document["findings"]}
    assert {"python", "torch", "recbole", "numpy", "pandas", "sentence-transformers"} <= set(found)
    assert found["RecBole config"]["fix"] == ""
    assert NAME in found["data path"]["found"]


def test_doctor_looks_for_data_where_the_verbs_do(
    llmrg: Command, room: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMRG_DATA")

    def told() -> str:
        findings = llmrg("doctor", "--json").document["findings"]
        return next(str(finding["found"]) for finding in findings if finding["name"] == "data path")

    assert "there is no dataset/" in told()
    (room / "dataset").symlink_to(data_path)
    assert NAME in told()
    assert llmrg("generate", NAME, *QUICK, "--max-users", "3").code == 0


def test_doctor_looks_into_the_folder_that_is_named(
    llmrg: Command, room: Path, data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMRG_DATA")

    def told(*line: str | Path) -> dict[str, str]:
        findings = llmrg("doctor", *line, "--json").document["findings"]
        return next(finding for finding in findings if finding["name"] == "data path")

    (room / "mine.yaml").write_text(f"data_path: {data_path}\n")
    for line in (("--data-path", data_path), ("--set", f"data_path={data_path}"), ("--config", "mine.yaml")):
        folder, _, names = told(*line)["found"].partition(": ")
        assert folder == str(data_path)
        assert NAME in names.split(", ")  # other tests may have put theirs beside it
    nowhere = told("--data-path", "nowhere")
    assert nowhere["found"] == "nowhere is no folder"
    assert "--data-path" in nowhere["fix"]


def test_doctor_says_what_is_missing_and_how_to_mend_it(
    llmrg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmrg.cli.doctor.PACKAGES", ("no-such-package",))
    monkeypatch.delenv("LLMRG_DATA")
    shown = llmrg("doctor")
    assert shown.code == 1
    assert "fix: pip install no-such-package" in shown.out
    assert "missing: no-such-package" in shown.out.splitlines()[-1]
    assert "LLMRG_DATA is not set" in shown.out


def test_with_json_even_a_print_inside_a_library_stays_off_stdout(
    llmrg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talkative() -> list[Path]:
        print("hello from below")
        return []

    monkeypatch.setattr("llmrg.cli.status.known_stores", talkative)
    shown = llmrg("status", "--json")
    assert json.loads(shown.out) == {"stores": []}
    assert "hello from below" in shown.err


def test_the_installed_entry_point_runs(graphs: Path) -> None:
    command = [sys.executable, "-c", "from llmrg.cli import main; main()", "verify", str(graphs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problems"] == []


def known_users(folder: Path) -> list[str]:
    with GraphStore.open(folder / "graphs.sqlite", create=False) as store:
        return store.user_ids()


def damage(folder: Path, sql: str) -> None:
    connection = sqlite3.connect(folder / "graphs.sqlite")
    connection.execute(sql)
    connection.commit()
    connection.close()
