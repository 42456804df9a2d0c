"""Titles of items for the verbs that show what a store holds.

Promise: only the items' file is read; where it cannot be, that is said, and ids or older labels have to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llmrg.cli.screen import Screen
from llmrg.errors import LlmrgError


def titles_of(
    screen: Screen, dataset: str, item_ids: Iterable[str], data_path: Path | None, otherwise: str
) -> dict[str, str]:
    """Item id → title, for those that have one.

    Args:
        screen: hears why there are none.
        dataset: its name.
        item_ids: the items wanted.
        data_path: folder of data sets, where one is named.
        otherwise: what is shown where the data set cannot be read.
    """
    from llmrg.config_files import merge_configs, shipped_configs
    from llmrg.data.atomic_files import DatasetFields, read_titles

    try:
        values = merge_configs(shipped_configs(dataset, "graph")).values
        fields = DatasetFields(item_id=str(values.get("ITEM_ID_FIELD", "item_id")))
        titles = read_titles(data_path, dataset, fields)
    except LlmrgError as error:
        screen.note(f"{otherwise}: {error}")
        return {}
    return {item: titles[item] for item in set(item_ids) if item in titles}
