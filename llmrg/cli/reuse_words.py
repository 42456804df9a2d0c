"""What the knowledge base answered and what its audit found, for the verbs that tell it.

Promise: a rate that nobody measured is left out, never shown as nought.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrg.reasoning.recall import Reuse


def reuse_document(reuse: Reuse) -> dict[str, Any]:
    """For ``--json``: counts, and for each kind the mean audited score and the false-reuse rate, or null."""
    found = asdict(reuse)
    for name, audit in (
        ("audited_links", reuse.audited_links),
        ("audited_imagined", reuse.audited_imagined),
    ):
        measured = audit.count > 0
        found[name] |= {
            "score": audit.score if measured else None,
            "false_rate": audit.false_rate if measured else None,
        }
    return found


def reuse_rows(found: Mapping[str, Any] | None) -> dict[str, str]:
    """Names and values for people, of a :func:`reuse_document`; nothing where nothing was reused or recorded.

    >>> from llmrg.reasoning.recall import Audit, Reuse
    >>> reuse = Reuse(links=9, imagined=4, requests_saved=3, audited_links=Audit(4, 3.0, 1))
    >>> reuse_rows(reuse_document(reuse))["audited"]
    'links: 1 of 4 false (25.0%), mean score 0.75; imagined items: none'
    >>> reuse_rows(reuse_document(Reuse()))
    {}
    """
    if found is None or not (found["links"] or found["imagined"]):
        return {}
    audits = (("links", found["audited_links"]), ("imagined items", found["audited_imagined"]))
    return {
        "from knowledge": (
            f"{found['links']} links and {found['imagined']} imagined items, "
            f"{found['requests_saved']} requests saved"
        ),
        "audited": "; ".join(f"{name}: {_audit_words(audit)}" for name, audit in audits),
    }


def _audit_words(audit: Mapping[str, Any]) -> str:
    if not audit["count"]:
        return "none"
    return f"{audit['false']} of {audit['count']} false ({audit['false_rate']:.1%}), mean score {audit['score']:.2f}"
