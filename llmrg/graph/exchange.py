"""Graphs as JSON Lines, to hand over or to keep.

Promise: the same graphs give the same bytes (users in order, keys sorted); an import is whole or nothing, and
a line that cannot be taken is named by its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from llmrg.errors import DataError, FingerprintError, GraphError, StoreError
from llmrg.fingerprint import canonical_json
from llmrg.graph.checks import check_graph
from llmrg.graph.schema import SCHEMA_VERSION, ReasoningGraph
from llmrg.graph.store import GraphStore
from llmrg.graph.store_records import IDENTITY
from llmrg.whole_files import whole_file

FORMAT = "llmrg-graphs"
VERSION = 1
START = b'{"format":"' + FORMAT.encode()  # of every file of graphs, since keys are sorted


def export_graphs(store: GraphStore, path: Path) -> int:
    """Write all graphs of a store: a header line, then one line per user, in the order of the user ids.

    Args:
        store: where the graphs are.
        path: the file to write; it appears when it is complete. A link stays one, and what is there and no file, such
            as a pipe, is written to as it is.

    Returns:
        The number of graphs.

    Raises:
        StoreError: the store changed meanwhile.
        OSError: nothing can be written there.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "schema_version": SCHEMA_VERSION,
        "graphs": len(store),
        "meta": store.meta(),
    }
    if path.exists() and not path.is_file():
        return _write_graphs(store, path, header)
    with whole_file(path.resolve()) as partial:
        return _write_graphs(store, partial, header)


def _write_graphs(store: GraphStore, path: Path, header: dict[str, Any]) -> int:
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(canonical_json(header) + "\n")
        for graph in store:
            file.write(canonical_json(graph.to_document()) + "\n")
            written += 1
    if written != header["graphs"]:
        raise StoreError(f"{store.path}: the store changed during the export; export again when it rests")
    return written


def import_graphs(path: Path, store: GraphStore) -> int:
    """Take all graphs of a file into a store, in one transaction; a user's graph replaces the older one.

    Args:
        path: a file that :func:`export_graphs` wrote.
        store: where the graphs go. An empty one also takes the file's meta.

    Returns:
        The number of graphs.

    Raises:
        DataError: no such file, a header or line that cannot be taken (with its number), or one too few.
        FingerprintError: the store holds graphs of other data, another cut-off or another recipe.
    """
    try:
        with path.open(encoding="utf-8") as file:
            header = _read_header(path, file.readline())
            if len(store):
                _refuse_strangers(path, header["meta"], store.meta())
            meta = {} if len(store) else header["meta"]
            store.put_wave(store.last_wave, _read_graphs(path, file, header["graphs"]), meta=meta)
    except OSError as error:
        raise DataError(f"expected a readable file: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"expected UTF-8 text: {error}", path=str(path)) from error
    return int(header["graphs"])


def _read_header(path: Path, line: str) -> dict[str, Any]:
    header = _parse(path, 1, line)
    if header.get("format") != FORMAT or not isinstance(header.get("version"), int):
        raise DataError(
            f"expected a header with format {FORMAT!r}, found {line.strip()[:80]!r}; "
            "name a file of `llmrg export`",
            path=str(path),
            line=1,
        )
    for name, known in (("version", VERSION), ("schema_version", SCHEMA_VERSION)):
        if header.get(name) != known:
            raise DataError(
                f"expected {name} {known}, found {header.get(name)!r}; use the llmrg that wrote the file",
                path=str(path),
                line=1,
            )
    if not isinstance(header.get("graphs"), int) or not isinstance(header.get("meta"), dict):
        raise DataError("expected a header with 'graphs' and 'meta'; export again", path=str(path), line=1)
    return header


def _read_graphs(path: Path, file: IO[str], expected: int) -> Iterator[ReasoningGraph]:
    seen: set[str] = set()
    number = 1
    for number, line in enumerate(file, start=2):
        try:
            graph = ReasoningGraph.from_document(_parse(path, number, line))
        except GraphError as error:
            raise DataError(f"{error}; export again", path=str(path), line=number) from error
        problems = check_graph(graph)
        if graph.user_id in seen:
            problems.append(f"user {graph.user_id!r} occurs twice")
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise DataError(f"user {graph.user_id!r}: {problems[0]}{more}", path=str(path), line=number)
        seen.add(graph.user_id)
        yield graph
    if len(seen) != expected:
        raise DataError(
            f"expected {expected} graphs as in the header, found {len(seen)}; the file is not whole",
            path=str(path),
            line=number,
        )


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"expected a JSON object: {error}", path=str(path), line=number) from error
    if not isinstance(document, dict):
        raise DataError(f"expected a JSON object, found {line.strip()[:80]!r}", path=str(path), line=number)
    return document


def _refuse_strangers(path: Path, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    for key in IDENTITY:
        if key in theirs and key in ours and theirs[key] != ours[key]:
            raise FingerprintError(
                f"{path}: its graphs were made for another {key}; import them into another store",
                expected=str(ours[key]),
                found=str(theirs[key]),
            )
