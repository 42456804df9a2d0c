"""What a graph job reads, and where it keeps its graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmrg.data.synthetic import planted_themes, write_atomic_files
from llmrg.errors import SettingsError
from llmrg.job.reading import read_job


@pytest.mark.parametrize("kind", [str, Path])
def test_the_folder_of_graphs_may_be_named_by_a_string(
    tmp_path: Path, kind: Callable[[Path], str | Path]
) -> None:
    toy = planted_themes(num_users=6, num_items=12, num_themes=2, length=6, signal=1.0, seed=1)
    write_atomic_files(tmp_path, "toy", toy.sequences, catalog=toy.catalog)
    job = read_job("toy", overrides={"data_path": str(tmp_path)}, folder=kind(tmp_path / "graphs"))
    assert job.store_path == tmp_path / "graphs" / "graphs.sqlite"


def test_a_misspelt_filter_in_a_file_costs_no_graphs_of_other_data(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text('user_inter_num_intervall: "[10,inf)"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="did you mean 'user_inter_num_interval'") as caught:
        read_job("toy", config_files=[file], overrides={"data_path": str(tmp_path)})
    assert str(file) in str(caught.value)
    assert caught.value.nearest == "user_inter_num_interval"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two films within a second, the later one first: one float32 as Unix times, two once scaled to [0, 1]."""
    (tmp_path / "toy").mkdir()
    rows = ["u\ta\t880000001", "u\tb\t880000000", "u\tc\t880000900", "u\td\t880001800"]
    table = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n"
    (tmp_path / "toy" / "toy.inter").write_text(table, encoding="utf-8")
    return tmp_path


def items(data: Path, **overrides: object) -> tuple[str, ...]:
    return read_job("toy", overrides={"data_path": str(data), **overrides}).dataset.histories[0].item_ids


def test_times_are_scaled_before_they_are_sorted_where_recbole_scales_them(data: Path) -> None:
    assert items(data)[:2] == items(data, normalize_field=["rating"])[:2] == ("a", "b")
    assert items(data, normalize_all=True)[:2] == items(data, normalize_field=["timestamp"])[:2] == ("b", "a")


@pytest.mark.parametrize("words", ["timestamp", 3])
def test_a_field_to_normalise_that_is_no_list_is_refused(data: Path, words: object) -> None:
    with pytest.raises(SettingsError, match="expected a list of columns"):
        items(data, normalize_field=words)


def test_what_recbole_does_not_normalise_together_is_refused(data: Path) -> None:
    with pytest.raises(SettingsError, match="normalize_field"):
        items(data, normalize_field=["timestamp"], normalize_all=True)
    with pytest.raises(SettingsError, match="normalize_field"):  # RecBole's own settings have normalize_all
        read_job("ml-100k", overrides={"normalize_field": ["timestamp"]})


@pytest.mark.parametrize(
    ("loading", "refused"),
    [
        ({}, False),
        ({"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}, False),
        ({"load_col": {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id"]}}, False),
        ({"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": "*"}}, True),
        ({"load_col": None}, True),
        ({"selected_features": ["class"]}, True),
        ({"load_col": None, "filter_inter_by_user_or_item": False}, False),
    ],
)
def test_rows_of_items_that_recbole_would_leave_out_are_refused(
    data: Path, loading: dict[str, object], refused: bool
) -> None:
    (data / "toy" / "toy.item").write_text("item_id:token\tclass:token\na\tx\nb\tx\nc\tx\n", encoding="utf-8")
    if refused:
        with pytest.raises(SettingsError, match=r"leave out 1 interactions .* \(first: 'd'\)"):
            items(data, **loading)
    else:
        assert len(items(data, **loading)) == 3


def test_columns_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="load_col: expected"):
        read_job("toy", overrides={"data_path": str(tmp_path), "load_col": ["user_id"]})
