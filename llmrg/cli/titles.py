"""Titles of items for the verbs that show what a store holds.

Promise: where the data set cannot be read, that is said, and ids or older labels have to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llmrg.cli.options import gather_overrides
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
    from llmrg.job.reading import read_job

    try:
        job = read_job(dataset, overrides=gather_overrides(None, data_path=data_path))
    except LlmrgError as error:
        screen.note(f"{otherwise}: {error}")
        return {}
    catalog = job.dataset.catalog
    return {item: catalog[item].title for item in set(item_ids) if item in catalog and catalog[item].title}
