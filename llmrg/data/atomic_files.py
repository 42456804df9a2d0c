"""RecBole's atomic files, read into histories and a catalogue.

Promise: the items of a user stand in exactly the order in which RecBole trains on them, row for row, and
nothing at or after the cut-off leaves this room.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmrg.data.atomic_table import MISSING, AtomicTable
from llmrg.data.catalog import CatalogItem, ItemCatalog
from llmrg.data.cutoff import Cutoff, GlobalTime, LeaveOneOut, TimeShares, cut_history, refuse_positions
from llmrg.data.filters import Filters, keep_rows
from llmrg.data.interactions import UserHistory
from llmrg.data.row_order import rounded_times, rows_by_user, rows_of_first_users
from llmrg.errors import DataError
from llmrg.fingerprint import fingerprint, fingerprint_text

logger = logging.getLogger(__name__)

DATA_PATH_VARIABLE = "LLMRG_DATA"
NORMALIZED = "ml-100k"  # the data set whose times RecBole's own settings have scaled to [0, 1]
TITLE_NAMES = ("title", "movie_title", "name")
YEAR_NAME = "release_year"


@dataclass(frozen=True)
class DatasetFields:
    """Column names, as in RecBole's ``USER_ID_FIELD``, ``ITEM_ID_FIELD`` and ``TIME_FIELD``.

    Args:
        user_id: users, in ``.inter`` and ``.user``.
        item_id: items, in ``.inter`` and ``.item``.
        timestamp: time of an interaction.
        title: title column of ``.item``; by default the first of :data:`TITLE_NAMES` in any case.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    title: str | None = None


@dataclass(frozen=True)
class Dataset:
    """What one data set says, up to the cut-off.

    Args:
        name: the data set's name.
        histories: one per user, in the order of their first row in ``.inter``.
        catalog: every item of ``.item``, then those only ``.inter`` knows.
        cutoff: the rule that ended the histories.
    """

    name: str
    histories: tuple[UserHistory, ...]
    catalog: ItemCatalog
    cutoff: Cutoff = field(default_factory=LeaveOneOut)

    @cached_property
    def by_user(self) -> dict[str, UserHistory]:
        """Histories by user id."""
        return {history.user_id: history for history in self.histories}

    @cached_property
    def fingerprint(self) -> str:
        """Content hash over all histories and the catalogue (not the name, nor the users' attributes)."""
        return fingerprint_text(
            [self.catalog.fingerprint, *(history.fingerprint for history in self.histories)]
        )

    @cached_property
    def attributes_fingerprint(self) -> str:
        """Content hash over the users' attributes; empty where nobody has any."""
        found = [[one.user_id, dict(one.attributes)] for one in self.histories if one.attributes]
        return fingerprint(found) if found else ""

    def __repr__(self) -> str:
        known = sum(len(history) for history in self.histories)
        return (
            f"Dataset({self.name!r}, {len(self.histories)} users, {len(self.catalog)} items, "
            f"{known} known interactions, {self.cutoff!r})"
        )


def read_dataset(
    data_path: Path | None,
    dataset: str,
    *,
    fields: DatasetFields | None = None,
    cutoff: Cutoff | TimeShares | None = None,
    filters: Filters | None = None,
    max_users: int | None = None,
    normalize_time: bool | None = None,
) -> Dataset:
    """Read ``<data_path>/<dataset>/<dataset>.inter`` and, where they exist, ``.item`` and ``.user``.

    Args:
        data_path: folder of data sets; None for the environment variable ``LLMRG_DATA``, or else ``dataset``.
        dataset: the data set's name; ``ml-100k`` is also found inside the installed recbole, unless a folder other
            than that of ``data_path=None`` is named.
        fields: column names.
        cutoff: leave-one-out by default; shares of time are taken as RecBole holds times, rounded to float32.
        filters: RecBole's filters by count; none by default, and duplicates stay, as in RecBole.
        max_users: only the first N users that are left (the catalogue stays whole).
        normalize_time: whether RecBole scales times to [0, 1] before it sorts (``normalize_all``, or
            ``normalize_field`` with the time column), which decides what ties (:mod:`llmrg.data.row_order`);
            by default as RecBole's own settings have it: only for ``ml-100k``.

    Raises:
        DataError: a file is missing, or cannot be used.
    """
    fields = fields or DatasetFields()
    folder = find_dataset(data_path, dataset)
    of_user, of_item, times = _read_interactions(folder / f"{dataset}.inter", fields)
    users, user_ids = _codes(of_user)
    items, item_ids = _codes(of_item)
    catalog, item_ids = _read_catalog(folder / f"{dataset}.item", fields, item_ids)
    kept = keep_rows(filters or Filters(), users, items, times, item_count=len(item_ids))
    attributes = _read_attributes(folder / f"{dataset}.user", fields)
    rows_kept = rows_of_first_users(kept.rows, users, max_users)
    normalize = dataset == NORMALIZED if normalize_time is None else normalize_time
    by_user = rows_by_user(rows_kept, users, times, normalize=normalize)
    resolved: Cutoff
    if isinstance(cutoff, TimeShares):
        refuse_positions([float(times[rows[0]]) for rows in by_user])
        resolved = _time_of(cutoff, times[rows_kept], normalize=normalize)
    else:
        resolved = cutoff or LeaveOneOut()

    histories = []
    for rows in by_user:
        user_id = user_ids[users[rows[0]]]
        histories.append(
            cut_history(
                resolved,
                user_id,
                [item_ids[code] for code in items[rows]],
                times[rows].tolist(),
                attributes.get(user_id, {}),
            )
        )
    dropped = {item_ids[code] for code in np.flatnonzero(~kept.items)}
    read = Dataset(
        name=dataset,
        histories=tuple(histories),
        catalog=ItemCatalog([catalog[item_id] for item_id in catalog if item_id not in dropped]),
        cutoff=resolved,
    )
    logger.info("read %r", read)
    return read


def check_interactions(data_path: Path | None, dataset: str, fields: DatasetFields | None = None) -> None:
    """Refuse a ``.inter`` file that :func:`read_dataset` would refuse, whatever RecBole makes of it.

    Raises:
        DataError: no such data set, or a file that cannot be used.
    """
    _read_interactions(find_dataset(data_path, dataset) / f"{dataset}.inter", fields or DatasetFields())


def read_titles(data_path: Path | None, dataset: str, fields: DatasetFields | None = None) -> dict[str, str]:
    """Item id to title, of the items that have one; empty where there is no ``.item`` file.

    Raises:
        DataError: no such data set, or a file that cannot be used.
    """
    path = find_dataset(data_path, dataset) / f"{dataset}.item"
    catalog, _ = _read_catalog(path, fields or DatasetFields(), [])
    return {item.item_id: item.title for item in catalog.values() if item.title}


def data_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where data sets lie unless a path is given: ``LLMRG_DATA``, or else ``dataset``, where RecBole looks."""
    return Path(environ.get(DATA_PATH_VARIABLE) or "dataset")


def find_dataset(data_path: Path | None, dataset: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds ``<dataset>.inter``: in ``data_path``, or where data sets lie by default, for ``ml-100k``
    also inside the installed recbole.

    Raises:
        DataError: no such file, with the places looked at.
    """
    default = data_folder(environ)
    places = [(data_path or default) / dataset]
    # a checkpoint holds the default folder as its data_path, which is none that somebody named
    if dataset == "ml-100k" and (data_path is None or data_path.resolve() == default.resolve()):
        recbole = importlib.util.find_spec("recbole")  # finds the package without running it
        places += [Path(place) / "dataset_example" / dataset for place in _locations(recbole)]
    for place in places:
        if (place / f"{dataset}.inter").is_file():
            return place
    looked = ", ".join(str(place / f"{dataset}.inter") for place in places)
    raise DataError(
        f"data set {dataset!r}: expected an interaction file, looked at {looked}; "
        f"give --data-path DIR (data_path in a config file) or set {DATA_PATH_VARIABLE}"
    )


def _time_of(shares: TimeShares, times: NDArray[np.float64], *, normalize: bool) -> GlobalTime:
    """The cut in the file's own unit, at the same rows where RecBole's rounded times are cut."""
    rounded = rounded_times(times, normalize=normalize)
    found = shares.resolve(rounded.tolist())
    return GlobalTime(
        *(float(times[rounded >= moment].min()) for moment in (found.valid_time, found.test_time))
    )


def _read_interactions(path: Path, fields: DatasetFields) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """User, item and time of every row."""
    inter = AtomicTable.read(path)
    return inter.ids(fields.user_id), inter.ids(fields.item_id), inter.floats(fields.timestamp)


def _codes(values: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(value, len(known)) for value in values), np.int64, len(values))
    return codes, list(known)


def _read_catalog(
    path: Path, fields: DatasetFields, item_ids: list[str]
) -> tuple[dict[str, CatalogItem], list[str]]:
    """The catalogue by id, and all item ids with those of ``.inter`` (``item_ids``) first."""
    catalog: dict[str, CatalogItem] = {}
    if path.is_file():
        table = AtomicTable.read(path)
        title = _title_column(table, fields)
        names = [name for name in _attribute_columns(table) if name not in (fields.item_id, title)]
        titles = table.column(title) if title else [""] * len(table.lines)
        for row, item_id in enumerate(table.ids(fields.item_id)):
            # the first of several rows of one item counts, as in RecBole
            catalog.setdefault(
                item_id, CatalogItem(item_id, titles[row].strip(), _attributes(table, names, row))
            )
    else:
        logger.warning("no %s: the items have no titles", path.name)
    known = dict.fromkeys([*item_ids, *catalog])
    for item_id in item_ids:
        catalog.setdefault(item_id, CatalogItem(item_id))
    return catalog, list(known)


def _read_attributes(path: Path, fields: DatasetFields) -> dict[str, dict[str, tuple[str, ...]]]:
    if not path.is_file():
        return {}
    table = AtomicTable.read(path)
    names = [name for name in _attribute_columns(table) if name != fields.user_id]
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row, user_id in enumerate(table.ids(fields.user_id)):
        found.setdefault(user_id, _attributes(table, names, row))
    return found


def _title_column(table: AtomicTable, fields: DatasetFields) -> str | None:
    if fields.title is not None:
        table.column(fields.title)
        return fields.title
    by_lower = {name.lower(): name for name in reversed(table.types)}
    return next((by_lower[name] for name in TITLE_NAMES if name in by_lower), None)


def _attribute_columns(table: AtomicTable) -> list[str]:
    return [name for name, kind in table.types.items() if kind.startswith("token") or name == YEAR_NAME]


def _attributes(table: AtomicTable, names: list[str], row: int) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in names:
        cell = table.cells[name][row]
        if cell in MISSING:
            continue
        if table.types[name] == "token_seq":
            found[name] = tuple(cell.split())
        elif table.types[name] == "float":
            found[name] = (f"{float(cell):g}",)
        else:
            found[name] = (cell.strip(),)
    return {name: values for name, values in found.items() if any(values)}


def _locations(spec: object) -> list[str]:
    return list(getattr(spec, "submodule_search_locations", None) or [])
