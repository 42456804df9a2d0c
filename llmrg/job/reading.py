"""From a data set's name to what a graph job works on: histories up to the cut-off, catalogue, settings, folder.

Promise: the data set is read with the same keys that RecBole reads it with, and what RecBole would read otherwise
is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrg.config_files import MergedConfig, merge_configs, shipped_configs
from llmrg.data.atomic_files import (
    NORMALIZED,
    Dataset,
    DatasetFields,
    check_interactions,
    find_dataset,
    read_dataset,
)
from llmrg.data.cutoff import TimeShares, cutoff_of
from llmrg.data.filters import Filters, refuse_unlisted
from llmrg.errors import SettingsError
from llmrg.graph.store_records import STORE_FILE
from llmrg.settings import LlmrgSettings

DEFAULT_FOLDER = Path("llmrg-data")
FILTER_KEYS = ("user_inter_num_interval", "item_inter_num_interval", "rm_dup_inter", "val_interval")
DATA_KEYS = (
    *("data_path", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "eval_args"),
    *("normalize_all", "normalize_field", "filter_inter_by_user_or_item"),
    *FILTER_KEYS,
)
"""RecBole's keys that decide what :func:`read_job` reads; every other one is for training only."""
SEPARATORS = {"field_separator": "\t", "seq_separator": " "}


@dataclass(frozen=True)
class GraphJob:
    """What graphs are made of, and where they go.

    Args:
        dataset: histories up to the cut-off, and the catalogue.
        settings: ours.
        folder: holds ``graphs.sqlite``, ``arrays/``, ``arrays-<control>/`` where asked for, ``text-vectors/``.
    """

    dataset: Dataset
    settings: LlmrgSettings
    folder: Path

    @property
    def store_path(self) -> Path:
        """The graph store."""
        return self.folder / STORE_FILE

    @property
    def arrays_path(self) -> Path:
        """The graph arrays built from it."""
        return self.folder / "arrays"


def read_job(
    dataset: str,
    *,
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> GraphJob:
    """Read the data set a graph job works on, with the same keys RecBole reads it with.

    Args:
        dataset: name; atomic files are looked for in ``data_path`` (or ``$LLMRG_DATA``).
        config_files: RecBole yaml files; read are the field names, filters, ``data_path`` and ``llmrg:``.
        overrides: single keys.
        folder: default ``llmrg-data/<dataset>``, with ``-first-N`` or ``-global-time`` where that was asked for.

    Raises:
        SettingsError: an unreadable file, an unknown setting, ``val_interval``, ``normalize_field`` beside
            ``normalize_all``, interactions that ``filter_inter_by_user_or_item`` would leave out, a split of neither
            kind, or other separators than RecBole's own atomic files have.
        DataError: atomic files missing or unusable, or a split by time where the times are no clock.
    """
    merged = merge_configs([*shipped_configs(dataset, "graph"), *config_files], overrides)
    values, settings = merged.values, merged.settings
    _refuse_misspelt(merged)
    data_path, fields = _source(values)
    _refuse_unlisted(values, data_path, dataset, fields)
    read = read_dataset(
        data_path,
        dataset,
        fields=fields,
        cutoff=cutoff_of(values.get("eval_args")),
        filters=Filters(**{name: values.get(name) for name in FILTER_KEYS}),
        max_users=settings.training.max_users,
        normalize_time=_normalizes_time(values, dataset, fields.timestamp),
    )
    return GraphJob(read, settings, Path(folder) if folder else default_folder(dataset, merged))


def check_data(
    dataset: str,
    *,
    config_files: Sequence[str | Path] = (),
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Refuse interactions that graphs could not be made of, for models that read none: RecBole mends them in silence.

    Args:
        dataset: as for :func:`read_job`.
        config_files: the same.
        overrides: the same.

    Raises:
        SettingsError: other separators than RecBole's own atomic files have.
        DataError: the interaction file is missing or cannot be used.
    """
    values = merge_configs([*shipped_configs(dataset, "graph"), *config_files], overrides).values
    data_path, fields = _source(values)
    check_interactions(data_path, dataset, fields)


def _refuse_misspelt(merged: MergedConfig) -> None:
    """Training checks every key of RecBole's; a misspelt filter must not cost graphs of other data before."""
    known = (*DATA_KEYS, *SEPARATORS)
    for name, source in merged.sources.items():
        # none of RecBole's other keys is as near to one of these as .8 (difflib's ratio)
        if name not in known and difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            raise SettingsError.unknown(name, known, where=source)


def _refuse_unlisted(
    values: Mapping[str, Any], data_path: Path | None, dataset: str, fields: DatasetFields
) -> None:
    """By default RecBole drops the rows of users and items that a file it loads does not list.

    The shipped protocol has it load interactions alone; ``load_col`` and ``selected_features`` may have it load more.
    """
    if values.get("filter_inter_by_user_or_item", True) is not True:  # as RecBole asks
        return
    columns = values.get("load_col", {})
    if columns is not None and not isinstance(columns, Mapping):
        raise SettingsError(
            f"load_col: expected file endings and columns, found {columns!r}", name="load_col"
        )
    loaded = {part for part in ("user", "item") if columns is None or columns.get(part)}
    if values.get("selected_features"):
        loaded.add("item")
    for part, column in (("user", fields.user_id), ("item", fields.item_id)):
        if part in loaded:
            folder = find_dataset(data_path, dataset)
            refuse_unlisted(folder / f"{dataset}.inter", folder / f"{dataset}.{part}", column)


def _normalizes_time(values: Mapping[str, Any], dataset: str, timestamp: str) -> bool:
    """Whether RecBole scales times to [0, 1] before it sorts by them."""
    fields = values.get("normalize_field")
    everything = values.get("normalize_all", dataset == NORMALIZED)
    if fields is not None and (everything is True or not isinstance(fields, list | tuple)):
        raise SettingsError(
            f"normalize_field: expected a list of columns, and normalize_all: False beside it (RecBole's own settings "
            f"of {NORMALIZED} have it True), found {fields!r} and normalize_all: {everything!r}",
            name="normalize_field",
        )
    return timestamp in fields if fields else bool(everything)


def _source(values: Mapping[str, Any]) -> tuple[Path | None, DatasetFields]:
    """The folder of data sets, if one is named, and the columns; other separators are refused."""
    for name, separator in SEPARATORS.items():
        if (found := values.get(name, separator)) != separator:
            raise SettingsError(
                f"{name}: atomic files are read with {separator!r}, found {found!r}; write them anew",
                name=name,
            )
    fields = DatasetFields(
        user_id=str(values.get("USER_ID_FIELD", "user_id")),
        item_id=str(values.get("ITEM_ID_FIELD", "item_id")),
        timestamp=str(values.get("TIME_FIELD", "timestamp")),
    )
    return Path(str(values["data_path"])) if values.get("data_path") else None, fields


def default_folder(dataset: str, merged: MergedConfig) -> Path:
    """Where the graphs of a data set lie unless something else is said."""
    users = merged.settings.training.max_users
    by_time = isinstance(cutoff_of(merged.values.get("eval_args")), TimeShares)
    name = dataset if users is None else f"{dataset}-first-{users}"
    return DEFAULT_FOLDER / (f"{name}-global-time" if by_time else name)
