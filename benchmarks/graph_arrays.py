"""Graph arrays of a million users: how long they take to open, how much memory, how fast batches come.

Promise: the arrays are made here (seeded, eight nodes a user), opened by a fresh process that saw nothing
of their making, and measured there; seconds are those of opening alone, memory is that process's peak.

Run: ``python benchmarks/graph_arrays.py [--users N] [--json]``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _script import end, open_parser, positive, show

from llmrg.graph.arrays import GraphArrays, load_arrays, save_arrays
from llmrg.graph.schema import NodeKind, Relation

TARGETS = {"load_seconds": "<= 1", "rss_gb": "<= 2"}

NODES, ITEM_NODES = 8, 4  # of a user: four items, three reasons, one imagined item
TEXTS_PER_USER, COMPONENTS = 0.25, 64
BATCH, BATCHES = 256, 300
SEED = 2024


def make_arrays(users: int) -> GraphArrays:
    """Arrays of users who share a shape: items in a row, a reason behind each but the first, one idea."""
    rng = np.random.default_rng(SEED)
    kinds, relations = list(NodeKind), list(Relation)
    item, reason = kinds.index(NodeKind.ITEM), kinds.index(NodeKind.REASON)
    kind = np.array([item, item, reason, item, reason, item, reason, kinds.index(NodeKind.IMAGINED_ITEM)])
    position = np.array([0, 1, 1, 2, 2, 3, 3, 3])
    edges = np.array(
        [
            *[(0, 1, "follows"), (0, 2, "supports"), (1, 2, "supports"), (1, 3, "follows")],
            *[(1, 4, "supports"), (2, 4, "refines"), (3, 4, "supports"), (3, 5, "follows")],
            *[(3, 6, "supports"), (4, 6, "causes"), (5, 6, "supports"), (6, 7, "suggests")],
        ]
    )
    item_count, text_count = max(100, users // 10), max(100, int(users * TEXTS_PER_USER))
    width = len(str(users))
    items = rng.integers(item_count, size=(users, NODES), dtype=np.int32)
    items[:, kind == reason] = -1
    vectors = rng.standard_normal((text_count, COMPONENTS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return GraphArrays(
        user_ids=np.array([f"u{k:0{width}d}" for k in range(users)]),
        history=np.array([f"b2:{k:032x}" for k in range(users)]),
        as_of=np.full(users, ITEM_NODES, dtype=np.int32),
        node_offset=np.arange(users + 1, dtype=np.int64) * NODES,
        edge_offset=np.arange(users + 1, dtype=np.int64) * len(edges),
        node_kind=np.tile(kind.astype(np.int8), users),
        node_position=np.tile(position.astype(np.int32), users),
        node_item=items.ravel(),
        node_text=rng.integers(text_count, size=users * NODES, dtype=np.int32),
        node_score=np.ones(users * NODES, dtype=np.float16),
        edge_source=np.tile(edges[:, 0].astype(np.int32), users),
        edge_target=np.tile(edges[:, 1].astype(np.int32), users),
        edge_relation=np.tile(np.array([relations.index(Relation(r)) for r in edges[:, 2]], np.int8), users),
        item_ids=np.array([f"i{k:0{width}d}" for k in range(item_count)]),
        text_vectors=vectors.astype(np.float16),
        fingerprint="b2:synthetic",
        cutoff="leave_one_out",
    )


def measure(folder: Path) -> dict[str, float]:
    """Open the arrays, draw batches of random users, and say what it took; for a process of its own."""
    begun = time.perf_counter()
    arrays = load_arrays(folder)
    load_seconds = time.perf_counter() - begun
    rng = np.random.default_rng(SEED)
    width = len(str(len(arrays)))
    batches = [[f"u{k:0{width}d}" for k in rng.integers(len(arrays), size=BATCH)] for _ in range(BATCHES)]
    begun = time.perf_counter()
    nodes = sum(len(arrays.select(arrays.rows_of(users)).node_index) for users in batches)
    seconds = time.perf_counter() - begun
    if nodes != BATCHES * BATCH * NODES:
        raise SystemExit(f"expected {BATCHES * BATCH * NODES} nodes, found {nodes}")
    return {
        "load_seconds": load_seconds,
        "rss_gb": peak_memory_gb(),
        "batches_per_second": BATCHES / seconds,
        "users": len(arrays),
    }


def peak_memory_gb() -> float:
    """The most memory this process ever held, in 2**30 bytes."""
    try:
        # getrusage would count the parent's memory too: a child starts as a copy of it
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**20
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    """Make, measure in a fresh process, and print."""
    parser = open_parser(__doc__)
    parser.add_argument("--users", type=positive, default=1_000_000, metavar="N")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure is not None:
        print(json.dumps(measure(chosen.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        save_arrays(make_arrays(chosen.users), Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**30
        print(f"made {chosen.users:,} users, {size:.2f} GB on disk, in {time.perf_counter() - begun:.1f} s")
        command = [sys.executable, __file__, "--measure", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    show(figures, TARGETS)
    end("graph_arrays", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
