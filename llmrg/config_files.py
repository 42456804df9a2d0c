"""Yaml files, merged: RecBole's flat keys, and ours under the one nested key ``llmrg:``.

Promise: later files win, key by key, ours section by section; a file that cannot be read, that names a key twice, or
whose ``llmrg:`` part names something nobody consumes, is refused with its path. RecBole is not needed to read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llmrg.errors import SettingsError
from llmrg.resources import resource_folder
from llmrg.settings import LlmrgSettings


class _Loader(yaml.SafeLoader):
    """Safe yaml in which 1e-3 is a number, as in RecBole's files, and no name stands twice in one mapping."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # here, where what `<<` brings in is not yet among a mapping's own names
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            name, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(f"{key.value!r} stands there twice, in lines {lines[name]} and {line}")
            lines[name] = line
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class MergedConfig:
    """What several files and overrides say together.

    Args:
        values: RecBole's keys, without ``llmrg``.
        sources: for each of them, the file (or ``overrides``) that named it last.
        settings: ours.
    """

    values: dict[str, Any]
    sources: dict[str, str]
    settings: LlmrgSettings


def shipped_configs(*names: str) -> list[Path]:
    """The shipped ``<name>.yaml`` of each name that has one."""
    paths = [resource_folder("recbole_configs") / f"{name}.yaml" for name in names]
    return [path for path in paths if path.is_file()]


def merge_configs(files: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> MergedConfig:
    """Merge files in order, then ``overrides``.

    Raises:
        SettingsError: an unreadable file, or an unknown or impossible setting of ours.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    ours: dict[str, Any] = {}
    for source, given in [
        *((str(path), read_yaml(Path(path))) for path in files),
        ("overrides", overrides or {}),
    ]:
        for name, value in given.items():
            if name == "llmrg":
                merge_sections(ours, value or {}, where=source)
            else:
                values[str(name)] = value
                sources[str(name)] = source
    return MergedConfig(values, sources, LlmrgSettings.parse(ours))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a yaml file holds; a bare name that is no file here, such as ``paper``, is a shipped one.

    Raises:
        SettingsError: no such file, not yaml, or not a mapping.
    """
    if path == Path(path.stem) and not path.is_file():
        path = next(iter(shipped_configs(path.name)), path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(f"config file {path} cannot be read as yaml: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise SettingsError(f"config file {path}: expected names and values, found {type(values).__name__}")
    return values or {}


def read_value(text: str, *, where: str) -> Any:
    """The value a piece of yaml means, read as in the files.

    Raises:
        SettingsError: not yaml; ``where`` names the place.

    >>> read_value("1e-3", where="--set learning_rate"), read_value("[5, 10]", where="--set topk")
    (0.001, [5, 10])
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date with a 99th day
        raise SettingsError(f"{where}: expected a yaml value, found {text!r}") from error


def merge_sections(into: dict[str, Any], sections: Any, *, where: str) -> None:
    """Put sections of ours over those that are there, key by key.

    Raises:
        SettingsError: no mapping; ``where`` names the place.
    """
    if not isinstance(sections, Mapping):
        raise SettingsError(f"{where}: expected sections under 'llmrg:', found {sections!r}", name="llmrg")
    for name, section in sections.items():
        before = into.get(name)
        if isinstance(before, Mapping) and isinstance(section, Mapping):
            section = {**before, **section}
        into[name] = section
