"""Reading atomic files: what is understood, and how a bad one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmrg.data.atomic_files import DatasetFields, find_dataset, read_dataset
from llmrg.data.cutoff import GlobalTime, TimeShares
from llmrg.data.filters import Filters
from llmrg.errors import DataError, SettingsError

Write = Callable[..., Path]

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
INTER = [HEADER, "u\ta\t5\t10", "v\tb\t3\t20", "u\tb\t\t30", "u\tc\t1\t25", "u\td\t2\t40"]
ITEM = ["item_id:token\tTitle:token_seq\trelease_year:float\tclass:token_seq\tprice:float\tmaker:token"]
USER = ["user_id:token\tage:token\ttastes:token_seq", "u\t24\tred blue", "v\t\t"]


def test_users_come_in_the_order_of_their_first_row(write_dataset: Write) -> None:
    read = read_dataset(write_dataset(INTER), "toy")
    assert [(h.user_id, h.item_ids, h.train_length) for h in read.histories] == [
        ("u", ("a", "c", "b"), 2),
        ("v", ("b",), 1),
    ]
    assert read.by_user["u"].timestamps == (10, 25, 30)


def test_items_without_a_line_are_appended_without_a_title(write_dataset: Write) -> None:
    item = [*ITEM, 'c\tThe "C", A\t1995\tX Y\t3.5\tAcme Inc', "a\t\t\t\t\t"]
    catalog = read_dataset(write_dataset(INTER, item=item), "toy").catalog
    assert list(catalog) == ["c", "a", "b", "d"]
    assert catalog["c"].title == 'The "C", A'
    assert catalog["c"].attributes == {"release_year": ("1995",), "class": ("X", "Y"), "maker": ("Acme Inc",)}
    assert catalog["a"].title == ""
    assert catalog["a"].attributes == {}
    assert catalog["b"].title == ""


def test_user_attributes_are_tuples_and_missing_ones_absent(write_dataset: Write) -> None:
    read = read_dataset(write_dataset(INTER, user=USER), "toy")
    assert read.by_user["u"].attributes == {"age": ("24",), "tastes": ("red", "blue")}
    assert read.by_user["v"].attributes == {}


def test_without_item_and_user_files_there_are_ids_alone(write_dataset: Write) -> None:
    read = read_dataset(write_dataset(INTER), "toy")
    assert [(item.item_id, item.title) for item in read.catalog.values()] == [
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("d", ""),
    ]


@pytest.mark.parametrize(
    ("columns", "expected"), [("name Title", "t2"), ("NAME other", "t1"), ("x movie_title", "t2")]
)
def test_the_title_column_is_found_in_any_case(columns: str, expected: str, write_dataset: Write) -> None:
    first, second = columns.split()
    item = [f"item_id:token\t{first}:token_seq\t{second}:token", "a\tt1\tt2"]
    assert read_dataset(write_dataset(INTER, item=item), "toy").catalog["a"].title == expected


def test_the_title_column_can_be_named(write_dataset: Write) -> None:
    path = write_dataset(INTER, item=["item_id:token\ttitle:token\tlong:token", "a\tA\tAlpha"])
    catalog = read_dataset(path, "toy", fields=DatasetFields(title="long")).catalog
    assert catalog["a"].title == "Alpha"
    assert catalog["a"].attributes == {"title": ("A",)}
    with pytest.raises(DataError, match=r"toy.item:1: expected a column 'missing'"):
        read_dataset(path, "toy", fields=DatasetFields(title="missing"))


def test_other_column_names_can_be_given(write_dataset: Write) -> None:
    path = write_dataset(["who:token\twhat:token\twhen:float", "u\ta\t1", "u\tb\t2"])
    read = read_dataset(path, "toy", fields=DatasetFields("who", "what", "when"))
    assert read.by_user["u"].item_ids == ("a", "b")


def test_duplicates_stay_unless_their_removal_is_asked_for(write_dataset: Write) -> None:
    path = write_dataset([HEADER, *(f"u\t{item}\t1\t{time}" for time, item in enumerate("abacb"))])
    assert read_dataset(path, "toy").by_user["u"].item_ids == tuple("abac")
    first = read_dataset(path, "toy", filters=Filters(rm_dup_inter="first"))
    assert first.by_user["u"].item_ids == ("a", "b")


def test_only_the_first_users_are_read_where_that_is_asked_for(write_dataset: Write) -> None:
    read = read_dataset(write_dataset(INTER), "toy", max_users=1)
    assert [h.user_id for h in read.histories] == ["u"]
    assert len(read.catalog) == 4


def test_a_global_time_cut_off_is_kept_with_what_was_read(write_dataset: Write) -> None:
    read = read_dataset(write_dataset(INTER), "toy", cutoff=TimeShares(train=0.4, valid=0.4))
    assert read.cutoff == GlobalTime(valid_time=25, test_time=40)
    assert (read.by_user["u"].item_ids, read.by_user["u"].train_length) == (("a", "c", "b"), 1)
    assert read.by_user["u"].cutoff == "global_time"


def test_the_first_of_two_lines_of_an_item_counts(write_dataset: Write) -> None:
    path = write_dataset(INTER, item=["item_id:token\ttitle:token", "a\tone", "a\ttwo"])
    assert read_dataset(path, "toy").catalog["a"].title == "one"


def test_reading_twice_gives_one_fingerprint_and_another_title_another(write_dataset: Write) -> None:
    before = read_dataset(write_dataset(INTER, item=["item_id:token\ttitle:token", "a\tone"]), "toy")
    again = read_dataset(write_dataset(INTER, item=["item_id:token\ttitle:token", "a\tone"]), "toy")
    other = read_dataset(write_dataset(INTER, item=["item_id:token\ttitle:token", "a\ttwo"]), "toy")
    assert before.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ([], 1, "found an empty file"),
        ([HEADER], None, "expected rows under the header"),
        (["user_id\titem_id:token\ttimestamp:float", "u\ta\t1"], 1, "found 'user_id'"),
        (["user_id:token\titem_id:words\ttimestamp:float", "u\ta\t1"], 1, "found 'item_id:words'"),
        (["user_id:token\tuser_id:token\ttimestamp:float", "u\ta\t1"], 1, "distinct header cells"),
        (["user_id:token\titem_id:token", "u\ta"], 1, "expected a column 'timestamp'"),
        (["user_id:token\ttimestamp:float", "u\t1"], 1, "expected a column 'item_id'"),
        (["user_id:token\titem_id:token\ttimestamp:token", "u\ta\t1"], 1, "expected column timestamp:float"),
        ([HEADER, "u\ta\t1\t2", "u\ta\t1"], 3, "expected 4 tab-separated cells as in the header, found 3"),
        ([HEADER, "u\ta\t1\t2\t3"], 2, "found 5"),
        ([HEADER, "u\ta\tgood\t2"], 2, "expected a number in column 'rating', found 'good'"),
        ([HEADER, "u\ta\t1\t2", "u\ta\t1\tnoon"], 3, "expected a number in column 'timestamp', found 'noon'"),
        ([HEADER, "u\ta\t1\t"], 2, "expected a number in column 'timestamp', found ''"),
        ([HEADER, "u\ta\t1\tinf"], 2, "found 'inf'"),
        ([HEADER, "u\ta\t1\t2", "", "\ta\t1\t2"], 4, "expected an id in column 'user_id', found ''"),
        (
            [HEADER, "u\tNA\t1\t2"],
            2,
            "expected an id in column 'item_id', found 'NA', which RecBole reads as missing",
        ),
    ],
)
def test_a_bad_interaction_file_is_refused_with_its_line(
    lines: list[str], line: int | None, message: str, write_dataset: Write
) -> None:
    path = write_dataset(lines)
    with pytest.raises(DataError) as caught:
        read_dataset(path, "toy")
    assert message in str(caught.value)
    assert caught.value.path == str(path / "toy" / "toy.inter")
    assert caught.value.line == line


def test_an_item_line_without_an_id_is_refused(write_dataset: Write) -> None:
    path = write_dataset(INTER, item=["item_id:token\ttitle:token", "\tone"])
    with pytest.raises(DataError, match=r"toy.item:2: expected an id"):
        read_dataset(path, "toy")


def test_a_file_in_another_encoding_is_refused(write_dataset: Write) -> None:
    path = write_dataset(INTER)
    (path / "toy" / "toy.item").write_bytes("item_id:token\ttitle:token\na\tAmélie\n".encode("latin-1"))
    with pytest.raises(DataError, match="expected UTF-8"):
        read_dataset(path, "toy")


@pytest.mark.parametrize("interval", ["five", "[5", "[5,4]", "5,6", "[a,b]", ""])
def test_an_unreadable_interval_is_refused(interval: str, write_dataset: Write) -> None:
    with pytest.raises(SettingsError, match="user_inter_num_interval"):
        read_dataset(write_dataset(INTER), "toy", filters=Filters(user_inter_num_interval=interval))


def test_the_folder_is_found_by_path_or_by_variable_or_where_recbole_looks(
    write_dataset: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dataset(INTER)
    assert find_dataset(path, "toy", {}) == path / "toy"
    assert find_dataset(None, "toy", {"LLMRG_DATA": str(path)}) == path / "toy"
    assert find_dataset(None, "ml-100k", {"LLMRG_DATA": str(path)}).parent.name == "dataset_example"
    with pytest.raises(DataError, match=r"looked at .*toy\.inter; give --data-path DIR .* or set LLMRG_DATA"):
        find_dataset(tmp_path / "elsewhere", "toy", {"LLMRG_DATA": str(path)})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(DataError, match=r"looked at dataset/toy/toy\.inter; give --data-path DIR"):
        find_dataset(None, "toy", {})
    (elsewhere / "dataset").symlink_to(path)
    assert find_dataset(None, "toy", {}) == Path("dataset/toy")


def test_a_folder_that_was_named_is_not_passed_over_for_the_copy_inside_recbole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked at [^,;]*/ml-100k/ml-100k\.inter; give --data-path"):
        find_dataset(tmp_path, "ml-100k", {})
    # a checkpoint names the default folder, whether somebody did or not
    assert find_dataset(tmp_path, "ml-100k", {"LLMRG_DATA": str(tmp_path)}).parent.name == "dataset_example"


def test_a_copy_in_the_data_path_comes_before_the_one_inside_recbole(tmp_path: Path) -> None:
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "ml-100k.inter").write_text("\n".join(INTER) + "\n")
    assert len(read_dataset(tmp_path, "ml-100k").histories) == 2
