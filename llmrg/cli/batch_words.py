"""What ``llmrg batch`` says: where things stand, and what is next.

Promise: whoever reads it knows the next command; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrg.job.batch import ExportEndsError
    from llmrg.job.batch_exchange import Polled
    from llmrg.reasoners.batch_files import Ingested
    from llmrg.reasoners.batch_ledger import BatchFile

EXPORT = "llmrg batch export, with the options of the first one"


def export_facts(end: ExportEndsError) -> dict[str, str]:
    """What an export wrote."""
    rows = {
        "written": ", ".join(f"{path} ({requests} requests)" for path, requests in end.files.items())
        or "nothing new"
    }
    rows["users"] = f"{end.users} wait for answers"
    if end.out:
        rows["out"] = (
            f"{end.out} requests lie in files written before, and no answer to them was taken in "
            "(nobody will answer them: --again)"
        )
    if end.held_back:
        rows["budget"] = (
            f"no room for {end.held_back} more requests; raise it, or go on with what was written"
        )
    if end.assumed:
        rows["assumed"] = (
            "the model keeps to JSON schemas; if not: --set llmrg.language_model.structured_output=prompt_only"
        )
    rows["next"] = "have the files answered (llmrg batch submit, vllm run-batch …), then llmrg batch ingest"
    return rows


def ingested_facts(found: Ingested, left: Sequence[BatchFile]) -> dict[str, str]:
    """What answers came to, and what is still out."""
    rows = {"answered": f"{found.answered} requests, {found.known} lines were known before"}
    if found.refused or found.again:
        rows["failed"] = f"{found.refused} for good, {found.again} to be asked again by the next export"
    if found.unusable:
        rows["unusable"] = ", ".join(f"{count} lines {what}" for what, count in found.unusable.items())
    if found.prompt_tokens or found.completion_tokens:
        paid = f", ${found.usd:.4f}" if found.usd else ", no price known"
        rows["cost"] = f"{found.prompt_tokens} tokens in, {found.completion_tokens} out{paid}"
    if left:
        rows["out"] = ", ".join(f"{file.out} of {file.requests} in {file.name}" for file in left)
        rows["next"] = f"llmrg batch ingest or poll the rest; users who have their answer go on: {EXPORT}"
    else:
        rows["next"] = EXPORT
    return rows


def ended_facts(found: Polled) -> dict[str, str]:
    """What became of batches at their host."""
    rows = {"ended": ", ".join(f"{name} {status}" for name, status in found.ended.items()) or "none"}
    if found.waiting:
        rows["waiting"] = ", ".join(found.waiting)
    if found.again:
        rows["left alone"] = f"{found.again} requests, written anew by the next export"
    return rows


def kept_facts(found: Polled) -> dict[str, str]:
    """Where answers lie that came, and may be paid for, but could not be taken; and what takes them."""
    from llmrg.reasoners.batch_files import OTHER_MODEL

    if not found.kept:
        return {}
    files = " ".join(str(path) for path in found.kept_in)
    rows = {
        "kept": f"{found.kept} requests stay out: what came to them could not be taken, and lies in {files}"
    }
    if OTHER_MODEL in found.ingested.unusable:
        rows["next"] = f"if that model may answer: llmrg batch ingest DATASET --any-model {files}"
    else:
        rows["next"] = "mend the lines and llmrg batch ingest the file; or ask, and pay, anew: export --again"
    return rows
