"""Data in which nothing is to be gained: ml-100k with its items dealt out anew.

Run: ``python examples/studies/null/make_data.py FOLDER``; then ``LLMRG_DATA=FOLDER llmrg compare SASRec
ml-100k-null …`` (README.md beside this file). Every interaction keeps its user and its time and gets the item of
another one, drawn without replacement by a seeded permutation of all rows: how much each user took and how often each
item was taken stay as they are, while what follows what, what goes with what and who likes which genre are gone.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from llmrg.data.atomic_files import find_dataset

NAME = "ml-100k-null"


def write_null(
    out: Path, *, source: str = "ml-100k", data_path: Path | None = None, seed: int = 2024, name: str = NAME
) -> Path:
    """Write ``out/name/name.inter``, the items of ``source`` permuted, beside its ``.item`` and ``.user`` unchanged."""
    given, made = find_dataset(data_path, source), out / name
    made.mkdir(parents=True, exist_ok=True)
    header, *rows = (given / f"{source}.inter").read_text(encoding="utf-8").splitlines()
    place = [column.split(":")[0] for column in header.split("\t")].index("item_id")
    cells = [row.split("\t") for row in rows]
    dealt = np.random.default_rng(seed).permutation(len(cells))
    items = [row[place] for row in cells]
    for row, other in zip(cells, dealt, strict=True):
        row[place] = items[other]
    lines = "\n".join([header, *("\t".join(row) for row in cells)])
    (made / f"{name}.inter").write_text(lines + "\n", encoding="utf-8")
    for kind in ("item", "user"):
        if (given / f"{source}.{kind}").is_file():
            shutil.copyfile(given / f"{source}.{kind}", made / f"{name}.{kind}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of data sets to write into")
    parser.add_argument("--source", default="ml-100k", help="data set whose items are dealt out anew")
    parser.add_argument("--data-path", type=Path, help="where it lies; ml-100k is inside RecBole")
    parser.add_argument("--seed", type=int, default=2024)
    given = parser.parse_args()
    made = write_null(given.folder, source=given.source, data_path=given.data_path, seed=given.seed)
    print(f"{made}: next, LLMRG_DATA={given.folder} llmrg compare SASRec {NAME} ... (see README.md)")


if __name__ == "__main__":
    main()
