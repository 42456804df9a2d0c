"""The code blocks of a Markdown file, and which of them are to be run.

Promise: a block is skipped only where the line before it is ``<!-- not run: reason -->`` with a reason.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"<!-- not run:((?:(?!-->).)*)-->\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        language: what stands after the fence.
        text: its lines.
        line: 1-based line of its first line in the file.
        not_run: why it is skipped; None where it is run.
    """

    language: str
    text: str
    line: int
    not_run: str | None

    @property
    def commands(self) -> list[list[str]]:
        """The ``llmrg`` lines of a shell block, split into words; a trailing backslash continues a line."""
        joined = re.sub(r"\\\n\s*", " ", self.text)
        words = [shlex.split(line.removeprefix("$ "), comments=True) for line in joined.splitlines()]
        return [line for line in words if line[:1] == ["llmrg"]]


def blocks_of(markdown: str) -> list[Block]:
    """All fenced blocks, in order."""
    found = []
    for match in FENCE.finditer(markdown):
        mark = MARK.search(markdown[: match.start()])
        found.append(
            Block(
                language=match.group(1),
                text=match.group(2),
                line=markdown.count("\n", 0, match.start()) + 2,
                not_run=None if mark is None else mark.group(1).strip(),
            )
        )
    return found
