"""What a comparison found, as plain values: metric rows, paired differences, costs, environment.

Promise: a :class:`ComparisonReport` holds everything a rendering needs and renders nothing; it survives JSON
and back unchanged. The ranks of single users stay out of the JSON and go to an ``.npz`` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from llmrg.errors import DataError
from llmrg.evaluation.groups import GroupRow
from llmrg.evaluation.protocol import protocol_in_words
from llmrg.evaluation.runs import RunResult, load_ranks, save_ranks
from llmrg.evaluation.statistics import Interval

DOCUMENT_VERSION = 2

Verdict = Literal["wins", "loses", "no difference shown"]


@dataclass(frozen=True)
class MetricRow:
    """One metric of one arm: mean and standard deviation over seeds, bootstrap interval over users."""

    dataset: str
    model: str
    arm: str
    metric: str
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    users: int
    mean: float
    sd: float | None
    interval: Interval


@dataclass(frozen=True)
class PairedComparison:
    """The enhanced arm against one other arm, in one metric.

    Args:
        seeds: the seeds both arms were trained with; differences are their mean per user.
        per_seed: mean difference of each seed.
        difference: mean over users of (arm − other).
        interval: bootstrap interval of ``difference``, not adjusted for the family.
        gain: ``difference`` as a fraction of the other arm's mean; None where that mean is zero.
        effect: Cohen's d of the paired differences; None where undefined.
        p: two-sided sign-flip permutation test over users.
        p_holm: ``p`` after Holm over all metrics × models × arms of the report.
        verdict: ``wins`` or ``loses`` only where ``p_holm`` is under alpha.
        seed_p: two-sided t-test of ``per_seed``, not adjusted: whether another training would show it; None with one
            seed.
    """

    dataset: str
    model: str
    arm: str
    other: str
    metric: str
    users: int
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    difference: float
    interval: Interval
    gain: float | None
    gain_interval: Interval | None
    effect: float | None
    p: float
    p_holm: float
    verdict: Verdict
    seed_p: float | None = None


@dataclass(frozen=True)
class IdentityCheck:
    """Law 3 on the ranks themselves: an arm that must equal another, and for how many users it does not."""

    dataset: str
    model: str
    arm: str
    other: str
    seeds: tuple[int, ...]
    users: int
    users_differing: int


@dataclass(frozen=True)
class GenerationCost:
    """What the reasoning graphs cost; ``dollars``: None where nothing was paid or no price is known."""

    reasoner: str = ""
    requests: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    dollars: float | None = None
    dataset: str = ""


@dataclass(frozen=True)
class TrainingCost:
    """Training of one arm: means over its seeds; ``graphs``: which graphs it read; ``cut_off``: runs that the most
    epochs allowed ended."""

    dataset: str
    model: str
    arm: str
    runs: int
    seconds: float
    seconds_per_epoch: float
    epochs: float
    best_epoch: float
    parameters: int
    graphs: str = ""
    cut_off: int = 0


@dataclass(frozen=True)
class Trial:
    """One setting tried in a search, judged on validation targets.

    Args:
        number: from 0, which is the settings as given.
        settings: key to value in words, what this trial changes.
        score: best validation NDCG@10.
        epochs: trained; 0 where training diverged.
        chosen: the arm was trained with these settings.
    """

    dataset: str
    model: str
    arm: str
    number: int
    settings: Mapping[str, str]
    score: float
    epochs: int
    chosen: bool


@dataclass(frozen=True)
class Environment:
    """Where and on what the figures were made.

    Args:
        versions: package → version.
        cores: processor cores used.
        device: what the process that wrote the report trains on, by its name; empty where not known.
        datasets: data set → counts (users, items, interactions …).
        protocol: the evaluation in sentences.
        command: the command line that repeats the run.
        fingerprints: name → content hash (graphs, settings, data).
        notes: cautions that belong beside the figures.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    cores: int = 0
    device: str = ""
    datasets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    protocol: tuple[str, ...] = field(default_factory=protocol_in_words)
    command: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Procedure:
    """How intervals and p-values were computed."""

    seed: int = 2024
    resamples: int = 2000
    permutations: int = 10_000
    confidence: float = 0.95
    alpha: float = 0.05

    @property
    def least_p(self) -> float:
        """What drawn sign flips give where none is as extreme: no p-value is smaller, and the true one may be."""
        return 1 / (1 + self.permutations)

    def enough_for(self, tests: int) -> Procedure:
        """With 100 permutations a test at least: the least p of N is 1 / (N + 1), times the tests after Holm."""
        return replace(self, permutations=max(self.permutations, 100 * tests))


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """A whole comparison; see :func:`llmrg.evaluation.comparison.build_report`."""

    runs: tuple[RunResult, ...]
    rows: tuple[MetricRow, ...]
    comparisons: tuple[PairedComparison, ...]
    identities: tuple[IdentityCheck, ...]
    training: tuple[TrainingCost, ...]
    sentences: tuple[str, ...]
    costs: tuple[GenerationCost, ...]
    environment: Environment
    procedure: Procedure
    enhanced: str = "enhanced"
    reference: str = "base"
    groups: tuple[GroupRow, ...] = ()
    trials: tuple[Trial, ...] = ()

    def row(self, dataset: str, model: str, arm: str, metric: str) -> MetricRow:
        """The table's cell.

        Raises:
            DataError: the report has no such cell.
        """
        for row in self.rows:
            if (row.dataset, row.model, row.arm, row.metric) == (dataset, model, arm, metric):
                return row
        raise DataError(f"the report has no {metric} of {model}/{arm} on {dataset}")

    def to_document(self) -> dict[str, Any]:
        """JSON-like values, in stable order, without the ranks of single users (:meth:`save_ranks`)."""
        document: dict[str, Any] = {"document_version": DOCUMENT_VERSION}
        for part in fields(self):
            if part.name == "runs":
                document["runs"] = [run.to_document() for run in self.runs]
            else:
                document[part.name] = _plain(getattr(self, part.name))
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, ranks: Path | None = None) -> ComparisonReport:
        """The inverse of :meth:`to_document`; without ``ranks`` the runs have no users.

        Raises:
            DataError: another version, a field missing or of the wrong kind, ranks of another report.
        """
        version = document.get("document_version") if isinstance(document, Mapping) else None
        if version != DOCUMENT_VERSION:
            raise DataError(f"report: expected document_version {DOCUMENT_VERSION}, found {version!r}")
        try:
            values: dict[str, Any] = {
                name: adapter.validate_python(document[name]) for name, adapter in _PARTS.items()
            }
            runs = tuple(RunResult.from_document(entry) for entry in document["runs"])
        except (KeyError, TypeError, ValidationError) as error:
            raise DataError(f"report: {error!r}") from error
        if ranks is not None:
            runs = load_ranks(runs, ranks)
        return cls(runs=runs, **values)

    def save_ranks(self, path: Path) -> None:
        """Write the rank of every user of every run (see :func:`llmrg.evaluation.runs.save_ranks`)."""
        save_ranks(self.runs, path)


_PARTS: dict[str, TypeAdapter[Any]] = {
    "rows": TypeAdapter(tuple[MetricRow, ...]),
    "comparisons": TypeAdapter(tuple[PairedComparison, ...]),
    "identities": TypeAdapter(tuple[IdentityCheck, ...]),
    "training": TypeAdapter(tuple[TrainingCost, ...]),
    "sentences": TypeAdapter(tuple[str, ...]),
    "costs": TypeAdapter(tuple[GenerationCost, ...]),
    "environment": TypeAdapter(Environment),
    "procedure": TypeAdapter(Procedure),
    "enhanced": TypeAdapter(str),
    "reference": TypeAdapter(str),
    "groups": TypeAdapter(tuple[GroupRow, ...]),
    "trials": TypeAdapter(tuple[Trial, ...]),
}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return [_plain(entry) for entry in value]
    return value
