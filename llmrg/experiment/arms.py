"""The arms of a comparison: what each one reads and what it changes.

Promise: an arm differs from ``base`` or from ``enhanced`` in exactly what its :class:`Arm` says; everything else
(data, settings, seeds, batches, stopping rule) is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llmrg.config_files import merge_sections
from llmrg.graph.controls import neighbours_folder, unverified_folder

REASONED, NEIGHBOURS, UNVERIFIED = "graphs", "neighbours", "unverified"
Reads = Literal["", "graphs", "neighbours", "unverified"]


@dataclass(frozen=True)
class Arm:
    """One way to train a base model.

    Args:
        control: what is done to the graphs (``llmrg.control``); None: RecBole's own class, without our wrapper.
        reads: which graphs; empty for none.
        settings: sections of ``llmrg:`` it changes.
        tuned_as: whose settings it gets where base and enhanced were searched for separately.
        widened: the base model with as many parameters as the enhanced one.
    """

    control: str | None = "none"
    reads: Reads = "graphs"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tuned_as: Literal["base", "enhanced"] = "enhanced"
    widened: bool = False


ARMS: dict[str, Arm] = {
    "base": Arm(None, "", tuned_as="base"),
    "enhanced": Arm(),
    "empty": Arm("empty", tuned_as="base"),
    "sequence": Arm("sequence"),
    "text": Arm("text"),
    "shuffled": Arm("shuffled"),
    "rewired": Arm("rewired"),
    "unverified": Arm("unverified", "unverified"),
    "no-divergent": Arm("no-divergent"),
    "neighbours": Arm("none", "neighbours"),
    "no-pointer": Arm(settings={"encoder": {"pointer": False}}),
    "wider": Arm(None, "", tuned_as="base", widened=True),
}
"""Every arm by name. What a gain is worth that does not beat one: :data:`llmrg.evaluation.sentences.CREDITS`."""


def folder_of(arm: str, graphs: Path | None) -> str | None:
    """Where the graphs lie that an arm reads, given the reasoner's; None for an arm that reads none."""
    reads = ARMS[arm].reads
    if graphs is None or not reads:
        return None
    places = {REASONED: graphs, NEIGHBOURS: neighbours_folder(graphs), UNVERIFIED: unverified_folder(graphs)}
    return str(places[reads])


def merged(overrides: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with more of our settings, section by section.

    >>> merged({"epochs": 2, "llmrg": {"encoder": {"width": 8}}}, {"encoder": {"pointer": False}})
    {'epochs': 2, 'llmrg': {'encoder': {'width': 8, 'pointer': False}}}
    """
    ours = dict(overrides.get("llmrg", {}))
    merge_sections(ours, sections, where="overrides")
    return {**overrides, "llmrg": ours} if ours else dict(overrides)
