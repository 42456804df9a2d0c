"""Content hashes: the same bytes on every machine for the same values.

Promise: :func:`fingerprint` depends on nothing but the value it is given (no ids, no clock, no hash seed),
and carries its algorithm as a tag, so that a later algorithm can stand beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

ALGORITHM = "b2"  # BLAKE2b, 16 bytes


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys; dataclasses become objects, tuples become arrays."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def fingerprint(value: Any) -> str:
    """The tagged content hash of any JSON-like value or dataclass.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    >>> fingerprint({"a": 1})[:3]
    'b2:'
    """
    return fingerprint_text([canonical_json(value)])


def fingerprint_text(parts: Iterable[str]) -> str:
    """The tagged content hash of a stream of strings; boundaries between parts count."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return f"{ALGORITHM}:{digest.hexdigest()}"


def fingerprint_bytes(data: bytes) -> str:
    """The tagged content hash of a file's bytes."""
    return f"{ALGORITHM}:{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def seed_from(*parts: str | int) -> int:
    """A 63-bit seed that depends on the parts only; for a local generator, never a global one."""
    digest = hashlib.blake2b(
        "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return int.from_bytes(digest, "little") >> 1


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"no canonical JSON for {type(value).__name__}")
