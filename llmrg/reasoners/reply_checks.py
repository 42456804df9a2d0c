"""Does a reply speak of what was shown, and of all of it?

Promise (law 5): what a schema cannot say (indexes that exist, sources that are older, an answer to every
question) is checked here, and every problem is one sentence that a reasoner could be asked again with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from llmrg.reasoners.tasks import (
    TASK_OF,
    ChainedPayload,
    ChainedReply,
    DivergentPayload,
    DivergentReply,
    Extension,
    FillPayload,
    FillReply,
    FillVerdict,
    Link,
    Payload,
    ReplyContent,
    Verdict,
    VerificationPayload,
    VerificationReply,
)


def link_problem(payload: ChainedPayload, link: Link) -> str | None:
    """Why a link may not enter the graph; ``None`` if it may."""
    if link.item not in payload.new:
        return f"link of item {link.item}: expected one of the new items {list(payload.new)}"
    if not link.reason.strip():
        return f"link of item {link.item}: the reason has no words"
    if not _within(link.sources, link.item):
        return f"link of item {link.item}: sources {link.sources} must be distinct indexes below it"
    if not _within(link.attributes, len(payload.attributes)):
        return f"link of item {link.item}: attributes {link.attributes} were not shown"
    if not _within(link.earlier_reasons, len(payload.reasons)):
        return f"link of item {link.item}: earlier_reasons {link.earlier_reasons} were not shown"
    if bool(link.earlier_reasons) == (link.relation == "none"):
        return f"link of item {link.item}: relation {link.relation!r} does not fit earlier_reasons"
    return None


def extension_problem(payload: ChainedPayload | DivergentPayload, extension: Extension) -> str | None:
    """Why an extension may not enter the graph; ``None`` if it may."""
    if extension.item not in extendable(payload):
        return f"extension: no chain that may be continued ends in item {extension.item}"
    if any(not 0 <= item.score <= 100 for item in extension.items):
        return f"extension of item {extension.item}: a score lies outside 0 to 100"
    if not any(item.title.strip() for item in extension.items):
        return f"extension of item {extension.item}: no imagined item has a title"
    return None


def extendable(payload: ChainedPayload | DivergentPayload) -> Collection[int]:
    """Newest items (indexes) of the chains that a reply may continue."""
    if isinstance(payload, DivergentPayload):
        return [chain.items[-1] for chain in payload.chains]
    return range(len(payload.items)) if payload.extend else ()


def verdict_problem(payload: VerificationPayload | FillPayload, verdict: Verdict | FillVerdict) -> str | None:
    """Why a verdict cannot be read; ``None`` if it can."""
    if not 0 <= verdict.mask < len(payload.masks):
        return f"verdict: mask {verdict.mask} was not shown"
    if isinstance(verdict, FillVerdict):
        blank = not any(title.strip() for title in verdict.titles)
        return f"verdict of mask {verdict.mask}: no title" if blank else None
    if not verdict.ranking or not _within(verdict.ranking, len(payload.masks[verdict.mask].options)):
        return f"verdict of mask {verdict.mask}: ranking {verdict.ranking} must name distinct options"
    return None


def reply_problems(payload: Payload, reply: ReplyContent) -> list[str]:
    """Everything a reply says about things that were not shown, or leaves unsaid."""
    found: list[str | None]
    if isinstance(payload, ChainedPayload) and isinstance(reply, ChainedReply):
        found = [link_problem(payload, link) for link in reply.links]
        missing = set(payload.new) - {link.item for link in reply.links}
        found += [f"item {i} has no link" for i in sorted(missing)]
        found += [extension_problem(payload, extension) for extension in reply.extensions]
        if payload.extend and not reply.extensions:
            found.append(f"no chain is continued, expected up to {payload.extend}")
    elif isinstance(payload, DivergentPayload) and isinstance(reply, DivergentReply):
        found = [extension_problem(payload, extension) for extension in reply.extensions]
        missing = set(extendable(payload)) - {e.item for e in reply.extensions}
        found += [f"the chain of item {i} has no extension" for i in sorted(missing)]
    elif (isinstance(payload, VerificationPayload) and isinstance(reply, VerificationReply)) or (
        isinstance(payload, FillPayload) and isinstance(reply, FillReply)
    ):
        found = [verdict_problem(payload, verdict) for verdict in reply.verdicts]
        missing = set(range(len(payload.masks))) - {v.mask for v in reply.verdicts}
        found += [f"mask {i} has no verdict" for i in sorted(missing)]
    else:
        found = [f"a {type(reply).__name__} does not answer {TASK_OF[type(payload)]}"]
    return [problem for problem in found if problem]


def _within(indexes: Iterable[int], end: int) -> bool:
    found = list(indexes)
    return len(set(found)) == len(found) and all(0 <= i < end for i in found)
