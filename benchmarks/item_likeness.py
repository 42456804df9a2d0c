"""How often the next item is among those most alike the newest ones, by what is known of the items.

Promise: nothing is trained and nobody's succession is read: items are ranked by their summed squared cosine to a user's
newest ten, older ones counting less; the items of the history are left out; the targets are those of validation.

Run: ``python benchmarks/item_likeness.py [--dataset NAME] [--data-path DIR] [--item-texts FILE] [--users N] [--json]``.
The vectors of a file's texts take minutes on one core; ``--folder`` keeps them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _script import end, open_parser, positive, show

from llmrg.data.interactions import UserHistory
from llmrg.job.reading import GraphJob, read_job
from llmrg.settings import TextSettings
from llmrg.text.encoder import Vectors
from llmrg.text.kept_vectors import kept_encoder
from llmrg.text.node_encoder import open_grounding

TARGETS = {"recall20_described_over_titles": ">= 1"}

NEWEST, DECAY = 10, 0.75
CUTS = (20, 50)
SEED = 2024


def ways_of(item_texts: str | None) -> Iterator[tuple[str, TextSettings]]:
    """What items are alike by: a name, and the settings for it."""
    yield "titles", TextSettings()
    yield "titles_attributes", TextSettings(item_attributes=True)
    if item_texts is not None:
        yield "titles_texts", TextSettings(item_texts=item_texts, item_attributes=False)
        yield "titles_attributes_texts", TextSettings(item_texts=item_texts)


def rows_of(job: GraphJob, users: int) -> list[UserHistory]:
    """Histories with a training part and a validation target, drawn."""
    found = [history for history in job.dataset.histories if 0 < history.train_length < len(history)]
    drawn = np.random.default_rng(SEED).permutation(len(found))[:users]
    return [found[at] for at in drawn.tolist()]


def recall(vectors: Vectors, rows: list[UserHistory], row: dict[str, int]) -> tuple[float, ...]:
    """Share of targets among the best so many, for each of :data:`CUTS`; ties count half."""
    places = []
    for history in rows:
        seen = [row[item] for item in history.item_ids[: history.train_length] if item in row]
        target = row.get(history.item_ids[history.train_length], -1)
        newest = np.array(seen[-NEWEST:], dtype=np.int64)
        if target < 0 or target in seen or not seen:
            places.append(np.inf)
            continue
        weight = DECAY ** np.arange(len(newest) - 1, -1, -1)
        fit = weight @ np.square(np.maximum(vectors[newest] @ vectors.T, 0.0))
        fit[seen] = -1.0
        places.append(float((fit > fit[target]).sum() + ((fit == fit[target]).sum() - 1) / 2))
    return tuple(float(np.mean(np.array(places) < cut)) for cut in CUTS)


def main() -> None:
    """Encode, count, and print."""
    parser = open_parser(__doc__)
    parser.add_argument("--dataset", default="ml-100k", metavar="NAME")
    parser.add_argument("--data-path", metavar="DIR")
    parser.add_argument("--item-texts", metavar="FILE", help="llmrg.text.item_texts")
    parser.add_argument("--users", type=positive, default=2000, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep the vectors of texts here")
    chosen = parser.parse_args()
    job = read_job(chosen.dataset, overrides={"data_path": chosen.data_path} if chosen.data_path else {})
    rows = rows_of(job, chosen.users)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, settings in ways_of(chosen.item_texts):
            begun = time.perf_counter()
            folder = (chosen.folder or Path(scratch)) / name
            encoder = kept_encoder(settings, folder)
            grounding = open_grounding(job.dataset.catalog, encoder, settings, folder, keep=True)
            vectors = np.asarray(grounding.likeness)
            figures[f"seconds_{name}"] = time.perf_counter() - begun
            for cut, value in zip(CUTS, recall(vectors, rows, dict(grounding.row)), strict=True):
                figures[f"recall{cut}_{name}"] = value
    best = figures.get("recall20_titles_attributes_texts", figures["recall20_titles_attributes"])
    figures["recall20_described_over_titles"] = best / max(figures["recall20_titles"], 1e-9)
    print(f"{len(rows)} users")
    show(figures, TARGETS)
    end("item_likeness", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
