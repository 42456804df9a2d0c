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
