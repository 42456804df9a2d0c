"""What a verb shows: results on stdout, notices and progress on stderr, one JSON document for machines.

Promise: with ``--json`` nothing but the document reaches stdout, whatever a library prints; progress is a bar
on a terminal and a plain line now and then elsewhere; no foreign word acts as markup.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from llmrg.plain_text import plain_line

SECONDS_BETWEEN_LINES = 5.0
PIPE_WIDTH = 110
LINE_LIMIT = 1000


class Screen:
    """See :func:`open_screen`."""

    def __init__(self, *, as_json: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.as_json = as_json
        self.clock = clock
        self.results = _console(to_stderr=as_json)
        self.notices = _console(to_stderr=True)
        self._stdout = sys.stdout

    def note(self, text: str) -> None:
        """Say on stderr what happens next."""
        self.notices.print(Text(plain_line(text, LINE_LIMIT)), soft_wrap=True)

    def line(self, text: str = "", *, before: str = "") -> None:
        """One line of the result; ``before`` is ours and keeps its spaces."""
        self.results.print(Text(before + plain_line(text, LINE_LIMIT)), soft_wrap=True)

    def text(self, text: str) -> None:
        """Lines of the result that are not to be cut; their indentation stays."""
        for line in text.splitlines():
            words = line.lstrip(" ")
            indented = " " * (len(line) - len(words)) + plain_line(words, max(len(words), 1))
            self.results.print(Text(indented), soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A table or tree of the result."""
        self.results.print(what)

    def facts(self, rows: Mapping[str, str]) -> None:
        """Names and values, one pair a line, values aligned."""
        wide = max(map(len, rows), default=0)
        for name, value in rows.items():
            self.line(value, before=f"{name:<{wide}}  ")

    def document(self, values: Mapping[str, Any]) -> None:
        """End the verb's output with one JSON line, where it was asked for."""
        if self.as_json:
            self._stdout.write(json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n")
            self._stdout.flush()

    @contextlib.contextmanager
    def progress(self) -> Iterator[Bars]:
        """Bars (or lines) until the block ends."""
        if not self.notices.is_terminal or self.notices.is_dumb_terminal:
            yield Bars(self, None)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}", markup=False),
        )
        with Progress(*columns, console=self.notices) as live:
            yield Bars(self, live)


class Bars:
    """Named counts that grow; made by :meth:`Screen.progress`."""

    def __init__(self, screen: Screen, live: Progress | None) -> None:
        self._screen, self._live = screen, live
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def finish(self, name: str, total: int, words: str) -> None:
        """Show that a count has ended, even short of its total (training that stopped early)."""
        if self._live is None:
            self._screen.note(f"{name}: {words}")
        else:
            self.update(name, total, total, words)

    def update(self, name: str, done: int, total: int, words: str = "") -> None:
        """Show that ``done`` of ``total`` are done; off a terminal at most every few seconds."""
        words = plain_line(words, 200)
        if self._live is not None:
            if name not in self._tasks:
                self._tasks[name] = self._live.add_task(plain_line(name, 60), total=total, words="")
            self._live.update(self._tasks[name], completed=done, total=total, words=words)
            return
        now = self._screen.clock()
        if done >= total or now - self._said.get(name, -SECONDS_BETWEEN_LINES) >= SECONDS_BETWEEN_LINES:
            self._said[name] = now
            self._screen.note(f"{name}: {done} of {total}{', ' if words else ''}{words}")


@contextlib.contextmanager
def open_screen(as_json: bool) -> Iterator[Screen]:
    """The screen of one verb, with the library's warnings among its notices.

    Args:
        as_json: the verb was called with ``--json``.
    """
    screen = Screen(as_json=as_json)
    handler = _Notices(screen)
    logger = logging.getLogger("llmrg")
    logger.addHandler(handler)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            for kind in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)  # for the libraries' authors, not for our users
            if as_json:
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            yield screen
    finally:
        logger.removeHandler(handler)


def table_of(header: tuple[str, ...], *, names: int = 1) -> Table:
    """An empty table; the first ``names`` columns hold words, the others figures."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(header):
        table.add_column(title, justify="left" if place < names else "right", overflow="fold")
    return table


def duration(seconds: float) -> str:
    """A time span for people.

    >>> duration(4.24), duration(75), duration(7321)
    ('4.2 s', '1 min 15 s', '2 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


class _Notices(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.note(f"{record.levelname.lower()}: {record.getMessage()}")


def _console(*, to_stderr: bool) -> Console:
    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(stderr=to_stderr, width=width, highlight=False, markup=False, emoji=False)
