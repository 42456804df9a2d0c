"""Calls and tokens that a language model is asked for one user of ten items, the paper's way and ours.

Promise: the job is the real one (prompts, ladder, online runner, OpenAI client, ledger) against the fault server of
the tests, which has no faults here and answers at random but validly; calls and tokens are read from the ledger.
All users are one wave, so the knowledge base is empty. Histories are the first interactions of ml-100k's users,
with their titles and attributes. The server counts a token for every four characters of messages and reply; a real
reply is wordier than its own.

The paper's way asks about every item by itself, verifies each answer in free fill, and extends the chains once, at
the last item: at most 10 + 10 + 1 calls. An answer that starts a new chain links nothing, so there is nothing to
verify: the server's do so for a quarter of the items, and for every first one. ``paper_everywhere`` extends the
chains at every item, as training on all prefixes needs. What a knowledge base saves depends on how good the answers
are, so it is counted with the embedded reasoner, whose requests are one call each: over all users of the data set
cut to ten items, those after the first ``--known``.

Run: ``python benchmarks/calls_per_user.py [--users N] [--known N] [--json]``.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _script import end, open_parser, positive, show

from llmrg.data.interactions import UserHistory
from llmrg.data.synthetic import write_atomic_files
from llmrg.graph.store import GraphStore
from llmrg.job.assembly import embedded_world, make_graphs
from llmrg.job.reading import GraphJob, read_job
from llmrg.reasoners.endpoint import CompletionRequest
from llmrg.reasoners.ledger import LEDGER_FILE, Ledger
from llmrg.reasoning.generate import generate
from llmrg.text.encoder import load_text_encoder

TARGETS = {"calls_ours": "<= 4", "calls_ours_9_visible": "<= 4"}

DATASET = "ml-100k"
VISIBLE = 10  # items; of as many interactions the test target is never shown, and 9 are
SERVER = Path(__file__).resolve().parents[1] / "tests" / "reasoners" / "fault_server.py"
ONE_WAVE = 100_000  # users

PAPER = {"window": 1, "joint_extension": False, "verification": "free", "divergent_every": VISIBLE}
WAYS: Mapping[str, Mapping[str, object]] = {
    "paper": PAPER,
    "paper_closed": {**PAPER, "verification": "closed"},
    "paper_everywhere": {**PAPER, "divergent_every": 1},
    "ours": {},
    "ours_free": {"verification": "free"},
}


@dataclass(frozen=True)
class Cost:
    """Of a user, on average.

    Args:
        calls: attempts, by the ledger.
        prompt: tokens in.
        data: of them, those after the part of a prompt that is the same for all users, which servers can cache.
        completion: tokens out.
    """

    calls: float
    prompt: float
    data: float
    completion: float

    @property
    def tokens(self) -> float:
        """In and out."""
        return self.prompt + self.completion


@contextmanager
def server() -> Iterator[str]:
    """The address of a fault server without faults, in its own process."""
    process = subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def shortened(histories: Sequence[UserHistory], length: int) -> list[UserHistory]:
    """The histories up to their first ``length`` items, the last one held out for validation."""
    return [
        dataclasses.replace(h, item_ids=h.item_ids[:length], train_length=length - 1, timestamps=())
        for h in histories
        if len(h) >= length
    ]


def cost_of(whole: GraphJob, users: int, visible: int, way: Mapping[str, object], url: str) -> Cost:
    """One run over users of ``visible`` items, in a data set of its own."""
    # a last interaction to be withheld: any will do that the user does not have twice
    sequences = {h.user_id: h.item_ids[: visible + 1] for h in whole.dataset.histories if len(h) > visible}
    sequences = dict(list(sequences.items())[:users])
    attributes = {h.user_id: h.attributes for h in whole.dataset.histories if h.user_id in sequences}
    with tempfile.TemporaryDirectory() as folder:
        write_atomic_files(
            Path(folder), DATASET, sequences, catalog=whole.dataset.catalog, user_attributes=attributes
        )
        job = read_job(
            DATASET,
            overrides={
                "data_path": folder,
                "llmrg": {
                    "generation": {"wave": ONE_WAVE, **way},
                    "text": {"encoder": "hashing"},
                    "language_model": {"model": "any", "base_url": url, "structured_output": "json_schema"},
                },
            },
            folder=Path(folder) / "graphs",
        )
        assert {len(history) for history in job.dataset.histories} == {visible}
        report = make_graphs(job)
        with Ledger.open(job.folder / LEDGER_FILE, create=False) as ledger:
            totals = ledger.totals()
            static = sum(static_tokens(request) for request, _ in ledger.answered(totals.done))
    assert report.failed == 0
    assert totals.attempts == totals.done
    return Cost(
        totals.attempts / users,
        totals.prompt_tokens / users,
        (totals.prompt_tokens - static) / users,
        totals.completion_tokens / users,
    )


def static_tokens(request: CompletionRequest) -> float:
    """Tokens of what every prompt of a task begins with."""
    return sum(len(m["content"]) / 4 for m in request.body["messages"] if m["role"] == "system")


def calls_with_knowledge(whole: GraphJob, known: int) -> tuple[float, float]:
    """Requests of the embedded reasoner for a user: of the first ``known``, and of those after them."""
    reasoner, world = embedded_world(whole, load_text_encoder(whole.settings.text))
    histories = shortened(whole.dataset.histories, VISIBLE)
    settings = whole.settings.generation.model_copy(update={"knowledge": True})
    known -= known % settings.wave  # a wave is done whole
    found = []
    with tempfile.TemporaryDirectory() as folder, GraphStore.open(Path(folder) / "graphs.sqlite") as store:
        for pilot in (known, None):
            report = generate(
                histories,
                whole.dataset.catalog,
                reasoner,
                store,
                settings=settings,
                world=world,
                pilot=pilot,
            )
            found.append(report.requests.total() / report.done)
    return found[0], found[1]


def main() -> None:
    """Run, count, and print."""
    parser = open_parser(__doc__)
    parser.add_argument(
        "--users", type=positive, default=64, metavar="N", help="users asked about (default 64)"
    )
    parser.add_argument(
        "--known",
        type=positive,
        default=640,
        metavar="N",
        help="users the knowledge base knows (default 640)",
    )
    chosen = parser.parse_args()
    whole = read_job(DATASET)
    figures: dict[str, float] = {}
    with server() as url:
        for visible in (VISIBLE, VISIBLE - 1):
            suffix = "" if visible == VISIBLE else f"_{visible}_visible"
            costs = {name: cost_of(whole, chosen.users, visible, way, url) for name, way in WAYS.items()}
            print(
                f"{visible} visible items, per user: calls, tokens in (of them data), tokens out; times fewer"
            )
            for name, cost in costs.items():
                fewer, less = costs["paper"].calls / cost.calls, costs["paper"].tokens / cost.tokens
                words = f"{cost.calls:7.2f}{cost.prompt:9.0f} ({cost.data:5.0f}){cost.completion:7.0f}"
                print(f"    {name:18}{words}    {fewer:5.2f} x calls {less:5.2f} x tokens", flush=True)
                figures[f"calls_{name}{suffix}"] = cost.calls
                figures[f"prompt_tokens_{name}{suffix}"] = cost.prompt
                figures[f"data_tokens_{name}{suffix}"] = cost.data
                figures[f"completion_tokens_{name}{suffix}"] = cost.completion
            figures[f"fewer_calls{suffix}"] = costs["paper"].calls / costs["ours"].calls
            figures[f"fewer_tokens{suffix}"] = costs["paper"].tokens / costs["ours"].tokens
    before, after = calls_with_knowledge(whole, chosen.known)
    words = f"{before:.2f} calls among the first {chosen.known} users, {after:.2f} after"
    print(f"with the knowledge base (embedded reasoner): {words}")
    figures |= {"knowledge_calls_first_users": before, "knowledge_calls_later_users": after}
    show({name: figures[name] for name in TARGETS}, TARGETS)
    end("calls_per_user", figures, as_json=chosen.json)


if __name__ == "__main__":
    main()
