"""What a language model would cost, before it is asked anything.

Promise: no connection is opened. A sample of users is thought about for real, with the embedded reasoner in the
language model's place: the prompts are those that would be sent, to the byte, and so are the number of calls and what
the knowledge base saves. What only the model knows (tokens per byte, how long it talks, how often it must be asked
again) is drawn from ranges, or from what a pilot recorded; so the answer is a median and a 95th percentile, and not
one number.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from llmrg.errors import DataError
from llmrg.graph.store import GraphStore
from llmrg.graph.store_records import STORE_FILE
from llmrg.job.assembly import embedded_world
from llmrg.job.online import own_price, settled_offline
from llmrg.job.reading import GraphJob
from llmrg.prompting.rendering import render
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.ledger import LEDGER_FILE, Ledger
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.prices import MODES, Mode, Price, price_table
from llmrg.reasoners.reasoner import ReasonerRequest, Reply
from llmrg.reasoning.generate import generate, informative_attributes
from llmrg.reasoning.generation_report import Progress
from llmrg.text.kept_vectors import kept_encoder

SAMPLE, ROUNDS, SEED = 50, 2000, 2024
TOKENS_PER_BYTE = (0.22, 0.33)  # of prompts in English and JSON, by tokenizers of the last years
WORDIER = (1.0, 2.5)  # how much more a language model writes than the embedded reasoner
ASKED_AGAIN = (0.0, 0.1)  # share of replies that are asked for a second time
CACHED_FROM = 1024  # tokens of a prefix that hosted models keep in their prompt cache


@dataclass(frozen=True, slots=True)
class Range:
    """A median and a 95th percentile."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """The range of many draws."""
        cuts = quantiles(values, n=100)
        return cls(cuts[49], cuts[94])


@dataclass(frozen=True)
class Estimate:
    """What all users of a data set would take.

    Args:
        model: name of the language model.
        users: of the data set.
        sampled: users that were thought about.
        calls: completions.
        tokens_in: of the prompts.
        tokens_out: of the replies.
        usd: by mode; ``None``: the model has no such price.
        cache_share: share of the tokens in that repeat a prefix long enough for a prompt cache.
        reuse_share: share of questions that the knowledge base answered; it grows with the number of users.
        measured: tokens were learned from a ledger, instead of being assumed.
        as_of: the day the prices were looked up; ``None``: they are of one's own.
    """

    model: str
    users: int
    sampled: int
    calls: Range
    tokens_in: Range
    tokens_out: Range
    usd: Mapping[Mode, Range | None]
    cache_share: float
    reuse_share: float
    measured: bool
    as_of: str | None


@dataclass(slots=True)
class _Played:
    """What was said so far, in bytes."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    prefix: int = 0


@dataclass(slots=True)
class _Actor:
    """The embedded reasoner in a language model's place."""

    model: LanguageModel
    embedded: EmbeddedReasoner
    played: list[_Played] = field(default_factory=lambda: [_Played()])

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    def scope(self, user_id: str) -> str:
        return self.model.scope(user_id)  # which decides whose knowledge is shared

    def answer(self, request: ReasonerRequest) -> Reply:
        messages = render(request, self.model.prompts)
        body = self.model.completion(request.task, messages, self.model.settings.max_tokens).body
        sent = {name: value for name, value in body.items() if name != "response_format"}
        reply = self.embedded.answer(ReasonerRequest(request.payload, "0"))
        now = self.played[-1]
        now.calls += 1
        now.bytes_in += sum(len(message["content"].encode()) for message in sent["messages"])
        now.prefix += len(messages[0]["content"].encode())
        now.bytes_out += len(reply.parsed.model_dump_json().encode())
        return reply


def estimate(job: GraphJob, *, sample: int = SAMPLE, seed: int = SEED) -> Estimate:
    """What :func:`~llmrg.job.assembly.make_graphs` would cost for all users.

    Args:
        job: data, settings (which name a language model) and folder.
        sample: users to think about.
        seed: draws the sample and the ranges.

    Raises:
        DataError: there are no users with a history.
    """
    rng = random.Random(seed)
    histories = [history for history in job.dataset.histories if len(history)]
    if not histories:
        raise DataError(
            f"{job.dataset.name}: expected users with a history, found none; nothing can be estimated"
        )
    chosen = sorted(rng.sample(range(len(histories)), min(sample, len(histories))))
    embedded, world = embedded_world(job, kept_encoder(job.settings.text, job.folder, keep=False))
    with tempfile.TemporaryDirectory() as scratch, GraphStore.open(Path(scratch) / STORE_FILE) as store:
        settings, _ = settled_offline(store, job.settings.language_model)
        actor = _Actor(LanguageModel(settings), embedded)

        def ended(progress: Progress) -> None:
            actor.played.append(_Played())

        report = generate(
            [histories[index] for index in chosen],
            job.dataset.catalog,
            actor,
            store,
            settings=job.settings.generation,
            world=world,
            attributes=informative_attributes(job.dataset.histories),
            progress=ended,
        )
    played = actor.played[:-1]
    questions = report.requests.total() + report.reuse.requests_saved
    rates = _learned(job.folder / LEDGER_FILE)
    draws = [_draw(played, rates, rng) for _ in range(ROUNDS)]
    users, table, own = len(histories), price_table(), own_price(job.settings.job)
    prices: dict[Mode, Price | None] = {
        mode: (own if mode == "standard" else None) if own else table.price(actor.name, mode)
        for mode in MODES
    }
    prefix = sum(one.prefix for one in played)
    long_enough = prefix * TOKENS_PER_BYTE[0] >= CACHED_FROM * sum(one.calls for one in played)
    return Estimate(
        model=actor.name,
        users=users,
        sampled=len(chosen),
        calls=Range.of([calls * users for calls, _, _ in draws]),
        tokens_in=Range.of([tokens * users for _, tokens, _ in draws]),
        tokens_out=Range.of([tokens * users for _, _, tokens in draws]),
        usd={
            mode: None
            if price is None
            else Range.of([price.usd(round(t_in * users), round(t_out * users)) for _, t_in, t_out in draws])
            for mode, price in prices.items()
        },
        cache_share=prefix / max(1, sum(one.bytes_in for one in played)) if long_enough else 0.0,
        reuse_share=report.reuse.requests_saved / questions if questions else 0.0,
        measured=rates is not None,
        as_of=None if own else table.as_of,
    )


def _draw(
    played: Sequence[_Played], rates: tuple[float, float] | None, rng: random.Random
) -> tuple[float, float, float]:
    """Calls, tokens in and tokens out of a mean user, once as it may turn out."""
    users = rng.choices(played, k=len(played))
    again = 1 + rng.uniform(*ASKED_AGAIN)
    calls = again * sum(one.calls for one in users) / len(users)
    if rates is None:
        ratio = rng.uniform(*TOKENS_PER_BYTE)
        out = ratio * rng.uniform(*WORDIER) * sum(one.bytes_out for one in users) / len(users) * again
    else:
        ratio, out = rates[0], rates[1] * calls
    return calls, ratio * again * sum(one.bytes_in for one in users) / len(users), out


def _learned(path: Path) -> tuple[float, float] | None:
    """Tokens per byte of a prompt, and tokens per reply, of what a ledger holds; ``None`` where it holds nothing."""
    if not path.exists():
        return None
    with Ledger.open(path, create=False) as ledger:
        totals = ledger.totals()
        sizes = [
            (sum(len(message["content"].encode()) for message in request.body["messages"]), tokens)
            for request, tokens in ledger.answered(ROUNDS)
        ]
    told = [(size, tokens) for size, tokens in sizes if tokens]
    if not told or not totals.completion_tokens:
        return None
    return sum(tokens for _, tokens in told) / sum(
        size for size, _ in told
    ), totals.completion_tokens / totals.done
