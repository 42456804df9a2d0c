"""What the scripts of this folder share: arguments that are refused at once, and figures beside their targets.

No benchmark itself: its name starts with ``_``.
"""

from __future__ import annotations

import argparse
import json
import operator
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def open_parser(description: str | None, *, graphs: bool = False) -> argparse.ArgumentParser:
    """A parser that knows ``--json``.

    Args:
        description: the script's docstring.
        graphs: it knows ``--folder``, too, of the graphs of ml-100k.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="end in one line of JSON")
    if graphs:
        folder = Path("llmrg-data/benchmarks/ml-100k")
        parser.add_argument("--folder", type=Path, default=folder, help="where graphs are kept")
    return parser


def positive(text: str) -> int:
    """A whole number from 1, for ``add_argument(type=...)``.

    Raises:
        ArgumentTypeError: something else.

    >>> positive("20")
    20
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def names_among(known: Collection[str]) -> Callable[[str], list[str]]:
    """What reads a comma-separated list of known names, each once, for ``add_argument(type=...)``.

    >>> names_among(["a", "b"])("b, a,b")
    ['b', 'a']
    """

    def names(text: str) -> list[str]:
        found = list(dict.fromkeys(word.strip() for word in text.split(",")))
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {name!r}")
        return found

    return names


def meets(value: float, target: str) -> bool:
    """Whether a figure meets a target such as ``"<= 1.3"``.

    >>> meets(1.2, "<= 1.3"), meets(1.2, ">= 30")
    (True, False)
    """
    sign, number = target.split()
    return bool(COMPARISONS[sign](value, float(number)))


def in_words(value: float | None, target: str | None) -> str:
    """A figure and whether it meets its target.

    >>> in_words(31.5, ">= 30"), in_words(None, ">= 30"), in_words(2, None)
    ('31.5   target >= 30: met', 'not measured on these data', '2')
    """
    if value is None:
        return "not measured on these data"
    against = "" if target is None else f"   target {target}: {'met' if meets(value, target) else 'MISSED'}"
    return f"{value:.4g}{against}"


def show(figures: Mapping[str, float | None], targets: Mapping[str, str]) -> None:
    """Print every figure on a line of its own, beside its target."""
    for name, value in figures.items():
        print(f"{name:<28} {in_words(value, targets.get(name))}", flush=True)


def end(name: str, figures: Mapping[str, float | None], *, as_json: bool) -> None:
    """Print what ``run_all.py`` reads, where it was asked for."""
    if as_json:
        print(json.dumps({"name": name, "figures": figures}))
