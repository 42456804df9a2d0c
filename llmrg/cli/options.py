"""Arguments and options that several verbs share, and how they become settings.

Promise: an option means the same in every verb; what ``--set`` names nobody consumes is refused by whoever
reads the settings, never dropped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from llmrg.config_files import read_value
from llmrg.errors import ModelError, SettingsError

DatasetName = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Data set name; ml-100k needs no download.", show_default=False),
]
StorePlace = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|DATASET", help="Folder with graphs.sqlite, or a data set's name.", show_default=False
    ),
]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="RecBole yaml file, ours under llmrg:, or a shipped one by name (paper). Repeatable, later wins.",
    ),
]
SetValues = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, such as llmrg.generation.window=1 or learning_rate=1e-3.",
    ),
]
DataPath = Annotated[
    Path | None,
    typer.Option(
        "--data-path",
        metavar="DIR",
        help="Folder that holds DATASET/DATASET.inter; default $LLMRG_DATA, or else dataset/.",
    ),
]
GraphFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Folder of the graphs; default llmrg-data/DATASET(-first-N).",
    ),
]
GraphProcesses = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        help="That the embedded reasoner thinks in, each with the statistics in memory; default: one a core, at most "
        "one a fold.",
    ),
]
MaxUsers = Annotated[
    int | None,
    typer.Option("--max-users", metavar="N", help="Only the first N users of the file, for a quick try."),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=1, help="At most N epochs; default: RecBole's (300)."),
]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--budget-usd",
        metavar="USD",
        min=0,
        help="Stop, resumable, before more US dollars than this are spent on this folder in all.",
    ),
]
MaxCalls = Annotated[
    int | None,
    typer.Option("--max-calls", metavar="N", min=0, help="The same for calls, failed ones included."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", min=0, help="The same for tokens, in and out."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="URL",
        help="Ask through the workers of a dask cluster, such as tcp://10.0.0.1:8786; extra [dask].",
    ),
]
Pilot = Annotated[
    int | None,
    typer.Option(
        "--pilot",
        metavar="N",
        min=1,
        help="Only the next N users, and what all would cost; a later run asks nothing of it again.",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Language model that reasons; default: the embedded reasoner, no model.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="OpenAI-compatible endpoint, such as http://localhost:8000/v1; default OpenAI's.",
    ),
]
LocalOnly = Annotated[
    bool, typer.Option("--local-only", help="Refuse any host that is not loopback or private.")
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON document as the last line of stdout; the rest goes to stderr."),
]


def gather_overrides(
    values: Sequence[str] | None,
    *,
    data_path: Path | None = None,
    max_users: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    model: str | None = None,
    base_url: str | None = None,
    local_only: bool = False,
) -> dict[str, Any]:
    """Settings from ``--set``, then from the options that are settings by a shorter name.

    Raises:
        SettingsError: a value without a name, or a nested name that is none of ours.

    >>> gather_overrides(["llmrg.generation.window=1", "learning_rate=1e-3"], epochs=2)
    {'llmrg': {'generation': {'window': 1}}, 'learning_rate': 0.001, 'epochs': 2}
    """
    overrides: dict[str, Any] = {}
    for text in values or ():
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise SettingsError(f"--set: expected KEY=VALUE, found {text!r}")
        _put(overrides, name.strip(), read_value(value, where=f"--set {name.strip()}"))
    if data_path is not None:
        overrides["data_path"] = str(data_path)
    if max_users is not None:
        _put(overrides, "llmrg.training.max_users", max_users)
    named: dict[str, Any] = {"model": model, "base_url": base_url, "local_only": local_only or None}
    for name, value in named.items():
        if value is not None:
            _put(overrides, f"llmrg.language_model.{name}", value)
    if epochs is not None:
        overrides["epochs"] = epochs
    if seed is not None:
        overrides["seed"] = seed
    return overrides


def gather_graph_overrides(values: Sequence[str] | None, **named: Any) -> dict[str, Any]:
    """:func:`gather_overrides` for verbs that make graphs, which read few of RecBole's keys.

    Raises:
        SettingsError: as there, or a key that such a verb does not read.
    """
    from llmrg.job.reading import DATA_KEYS

    overrides = gather_overrides(values, **named)
    refuse_unknown(overrides, DATA_KEYS, where="--set (graphs read only these keys of RecBole's)")
    return overrides


def split_words(text: str, option: str) -> tuple[str, ...]:
    """The words of a comma-separated option, each once.

    Raises:
        SettingsError: none at all.

    >>> split_words("base, enhanced,base", "--arms")
    ('base', 'enhanced')
    """
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise SettingsError(f"{option}: expected names separated by commas, found {text!r}")
    return words


def split_numbers(text: str, option: str) -> tuple[int, ...]:
    """The whole numbers of a comma-separated option, each once and each fit to be a seed.

    Raises:
        SettingsError: something else than such numbers.
    """
    try:
        numbers = tuple(dict.fromkeys(int(word) for word in split_words(text, option)))
    except ValueError:
        numbers = (-1,)
    if not all(0 <= number < 2**32 for number in numbers):
        raise SettingsError(
            f"{option}: expected whole numbers from 0 up to 2**32 separated by commas, found {text!r}"
        )
    return numbers


def refuse_unknown(overrides: Iterable[str], known: Iterable[str], *, where: str) -> None:
    """Refuse keys a verb does not read.

    Raises:
        SettingsError: the first such key, with the nearest known one.
    """
    names = [*known, "llmrg"]
    for name in overrides:
        if name not in names:
            raise SettingsError.unknown(name, names, where=where)


def refuse_without_enhanced_form(base: str) -> None:
    """Refuse a base model that llmrg cannot enhance.

    Raises:
        ModelError: with the reason where it is known, and the models it can.
    """
    from llmrg.recbole_adapter.base_models import ENHANCED_BASES, refusal

    if base not in ENHANCED_BASES:
        raise ModelError(
            f"{refusal(base)}. Most sequential models of RecBole's can be trained alone: llmrg train MODEL DATASET"
        )


def _put(overrides: dict[str, Any], name: str, value: Any) -> None:
    *sections, last = name.split(".")
    if sections and sections[0] != "llmrg":
        raise SettingsError(
            f"--set {name}: only names under 'llmrg.' are nested; give RecBole's key as a whole, "
            "such as topk=[5,10]",
            name=name,
        )
    into = overrides
    for section in sections:
        inner = into.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"--set {name}: {section!r} was given a value before", name=name)
        into = inner
    into[last] = value
