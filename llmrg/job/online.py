"""A language model made ready for one folder of graphs: ledger, budget, limits, log, endpoint and runner put together.

Promise: one run at a time works on a folder; what the endpoint keeps to is asked once and remembered, so a job that
goes on later is the same job; a dry run opens no connection and changes nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from llmrg.errors import StoreError
from llmrg.fingerprint import fingerprint
from llmrg.graph.store import GraphStore
from llmrg.reasoners.batch_ledger import BatchLedger
from llmrg.reasoners.budget import Budget, BudgetLimits
from llmrg.reasoners.calls import Calls
from llmrg.reasoners.endpoint import Endpoint
from llmrg.reasoners.language_model import LanguageModel
from llmrg.reasoners.ledger import LEDGER_FILE
from llmrg.reasoners.limits import Limits
from llmrg.reasoners.offline import EmbeddedReasoner
from llmrg.reasoners.prices import Price, price_table
from llmrg.reasoners.probe import settle
from llmrg.reasoners.retry import Breaker, RetryPolicy
from llmrg.reasoners.runner import OnlineRunner
from llmrg.reasoners.traffic import EVENTS_FILE, EventLog
from llmrg.reasoning.engine import Engine
from llmrg.reasoning.generation_report import Progress
from llmrg.settings import JobSettings, LanguageModelSettings, LlmrgSettings

LOCK_FILE = "job.lock"
PROBED = "probed"  # key in the store's meta
SECONDS_BETWEEN_EVENTS = 1.0
PATIENCE = 1.0  # seconds a lock is waited for: who only looks at it has it for a moment
ASSUMED = "json_schema"  # what a dry run supposes an endpoint keeps to that was never asked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineJob:
    """What :func:`open_online_job` has made ready.

    Args:
        reasoner: the language model.
        engine: asks it, or writes down what it would be asked.
        budget: what was and may be spent.
        events: the log.
    """

    reasoner: LanguageModel
    engine: Engine
    budget: Budget
    events: EventLog

    def watch(self, progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
        """A callback that writes how things stand into the log now and then, and hands on to ``progress``."""
        last = float("-inf")

        def seen(now: Progress) -> None:
            nonlocal last
            if now.seconds - last >= SECONDS_BETWEEN_EVENTS or now.done == now.total:
                last = now.seconds
                self.events.write("progress", **asdict(now), spent_usd=self.budget.spent.usd)
            if progress is not None:
                progress(now)

        return seen


@contextmanager
def open_online_job(
    folder: Path,
    store: GraphStore,
    settings: LlmrgSettings,
    *,
    limits: BudgetLimits | None = None,
    endpoint: Endpoint | None = None,
) -> Iterator[OnlineJob]:
    """Make a language model ready, and close everything afterwards.

    Args:
        folder: of the store; ledger and log lie beside it.
        store: remembers what the endpoint keeps to.
        settings: ``language_model`` and ``job`` are read.
        limits: of money, calls and tokens, over all runs in this folder.
        endpoint: who is asked, and closed in the end; by default the one the settings name.

    Raises:
        StoreError: another run works on the folder, or the ledger cannot be used.
        SettingsError: the settings lead to no endpoint.
        EndpointError: it does not answer.
    """
    job, model = settings.job, settings.language_model
    with (
        hold(folder / LOCK_FILE),
        BatchLedger.open(folder / LEDGER_FILE) as ledger,
        EventLog(folder / EVENTS_FILE) as events,
    ):
        if endpoint is None:
            from llmrg.reasoners.openai_endpoint import OpenAIEndpoint

            endpoint = OpenAIEndpoint(model)
        out = sum(file.out for file in ledger.files())
        if out:
            log.warning(
                "%d requests are out in batch files; what is needed of them now is asked, and paid, a second time",
                out,
            )
        totals = ledger.totals()
        budget = Budget(
            limits or BudgetLimits(),
            price_table(),
            own_price=own_price(job),
            before=totals,
            mode=model.service_tier or "standard",
        )
        calls = Calls(
            endpoint,
            ledger,
            budget,
            Limits(
                job.concurrency,
                requests_per_minute=job.requests_per_minute,
                tokens_per_minute=job.tokens_per_minute,
                clock=time.monotonic,
            ),
            policy=RetryPolicy(job.attempts, job.deadline),
            breaker=Breaker(job.breaker),
            events=events,
        )
        at_end = getattr(endpoint, "aclose", None)
        with OnlineRunner(calls, users_in_flight=job.concurrency, at_end=at_end) as runner:
            events.write("started", model=model.model, limits=asdict(budget.limits), ledger=asdict(totals))
            mode = _remembered(store, model)
            if mode is None:
                model = runner.wait_for(settle(calls, model))
                store.set_meta(**{PROBED: {"endpoint": _name(model), "mode": model.structured_output}})
            else:
                model = model.model_copy(update={"structured_output": mode})
            try:
                yield OnlineJob(LanguageModel(model), runner, budget, events)
            finally:
                events.write("ended", traffic=asdict(runner.traffic), spent_usd=budget.spent.usd)


def settled_offline(store: GraphStore, model: LanguageModelSettings) -> tuple[LanguageModelSettings, bool]:
    """The settings as the next run will have them, without asking anybody; and whether that is a guess."""
    mode = _remembered(store, model)
    return model.model_copy(update={"structured_output": mode or ASSUMED}), mode is None


def own_price(job: JobSettings) -> Price | None:
    """The price named in the settings; ``None``: the table's. One of the two alone leaves the other free."""
    if job.input_price is None and job.output_price is None:
        return None
    return Price(job.input_price or 0.0, job.output_price or 0.0)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other runs out while the block lasts; a killed process lets go by itself.

    Raises:
        StoreError: another run is inside.
    """
    try:
        import fcntl
    except ImportError:  # not on this system: two runs at once would pay twice, and lose nothing
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise StoreError(
                        f"{path.parent}: another run works on this folder; wait for it, or stop it"
                    ) from error
            time.sleep(PATIENCE / 50)
        yield


def is_held(path: Path) -> bool:
    """Whether a run is inside :func:`hold` just now; looking changes nothing, and keeps no run out."""
    try:
        import fcntl
    except ImportError:  # see hold
        return False
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remembered(store: GraphStore, model: LanguageModelSettings) -> str | None:
    if model.structured_output != "auto":
        return model.structured_output
    probed = store.meta().get(PROBED) or {}
    return str(probed["mode"]) if probed.get("endpoint") == _name(model) else None


def _name(model: LanguageModelSettings, environ: Mapping[str, str] = os.environ) -> str:
    """Which model at which address (the one that is asked, wherever it is named), without saying the address."""
    return fingerprint([model.model, model.base_url or environ.get("OPENAI_BASE_URL") or None])


def refuse_to_replace(store: GraphStore, reasoner: str, folder: Path) -> None:
    """Graphs that a language model was asked for are not made again by another reasoner without a word.

    Raises:
        StoreError: the store holds graphs by a language model other than ``reasoner``.
    """
    before = store.meta().get("reasoner")
    if len(store) and before not in (None, EmbeddedReasoner.name, reasoner):
        raise StoreError(
            f"{folder} holds {len(store)} graphs by {before}, which {reasoner} would replace: name that model "
            "(--model, or --set llmrg.language_model.model=NAME), or another folder (--folder)"
        )
