"""evaluator.yaml as a model: how the service works. Everything has a default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from judges import Price, Redaction
from monitors import Fraction
from traces import Duration, Interval, duration_text

_VARIABLE: Final = re.compile(r"^[A-Z][A-Z0-9_]{0,99}$")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _time_of_day(value: object) -> object:
    if isinstance(value, time):
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'expected a time of day in UTC such as "06:00", not {str(value)[:40]!r}')
    return time(int(found[1]), int(found[2]))


def _time_text(value: time) -> str:
    return value.strftime("%H:%M")


TimeOfDay = Annotated[
    time,
    BeforeValidator(_time_of_day),
    PlainSerializer(_time_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$", "examples": ["06:00"]}),
]
"""Hours and minutes, UTC."""


class EditorSchema(GenerateJsonSchema):
    """JSON Schema whose defaults are written as people write them."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default as it would stand in the file."""
        if isinstance(dft, timedelta):
            return duration_text(dft)
        return _time_text(dft) if isinstance(dft, time) else super().encode_default(dft)


class Section(BaseModel):
    """A part of a file: no key but the known ones, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplingConfig(Section):
    """How traces are chosen."""

    salt: str = Field(default="evaluator", description="key of the sampling hash; another salt is another sample")


class DiscoveryConfig(Section):
    """When a trace counts as finished and how it is found."""

    every: Interval = Field(default=timedelta(seconds=30), description="how often Langfuse is asked for new traces")
    quiet_for: Duration = Field(
        default=timedelta(seconds=90), description="a trace is finished when nothing in it moved for so long"
    )
    max_wait: Interval = Field(
        default=timedelta(minutes=30),
        description="a trace still open so long after its root ended is evaluated as it is",
    )
    overlap: Duration = Field(
        default=timedelta(minutes=15), description="how far each look reaches back for traces that arrive late"
    )
    longest_trace: Interval = Field(
        default=timedelta(hours=1), description="longest duration of a trace; bounds what Langfuse must search"
    )
    exclude_environments: tuple[str, ...] = Field(
        default=(), description="environments never evaluated, beside those of judges and experiments"
    )
    scores_every: Interval = Field(
        default=timedelta(minutes=5), description="how often late scores are looked for, when a `when` asks for scores"
    )
    scores_reach: Interval = Field(
        default=timedelta(days=30), description="how long before its late score a trace may have started"
    )


class SessionsConfig(Section):
    """How much of a session is read."""

    most_traces: int = Field(default=50, gt=0, le=500, description="the newest traces of a session that are judged")
    longest: Interval = Field(
        default=timedelta(days=7), description="how far back from its last trace the traces of a session are read"
    )


def _address(url: str) -> str:
    """Refuse what is no web address, and a password in it, without repeating a word of it."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected an address such as https://api.openai.com/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password; a key belongs into the variable that `key` names")
    return url


def _variable(name: str) -> str:
    if _VARIABLE.fullmatch(name) is None:
        # It may be the key itself: it is not repeated.
        raise ValueError("expected the name of an environment variable such as AZURE_OPENAI_API_KEY, never a key")
    return name


class ModelEntry(Section):
    """A model under the name rubrics use: where it is, what it may be asked, and who answers in its place."""

    base_url: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="its server, with its /v1; without it OPENAI_BASE_URL"
    )
    key: (
        Annotated[str, AfterValidator(_variable), WithJsonSchema({"type": "string", "pattern": _VARIABLE.pattern})]
        | None
    ) = Field(
        default=None,
        description="the environment variable that holds its key; NAME_FILE is read too. Without it OPENAI_API_KEY, or "
        "no key at all where base_url is another server",
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$",
        description="of an Azure resource, whose deployments are addressed: base_url is then https://NAME.openai.azure.com",
    )
    model: str | None = Field(
        default=None, min_length=1, description="its name there, on Azure the deployment's; without it the entry's own"
    )
    price: Price | None = Field(default=None, description="USD per million tokens: {input: 0.25, output: 2}")
    requests_per_minute: int | None = Field(default=None, gt=0, description="of the whole fleet; null: as the server's")
    tokens_per_minute: int | None = Field(
        default=None, gt=0, description="read and written, of the whole fleet; null: no limit"
    )
    calls_in_flight: int | None = Field(
        default=None, gt=0, le=2000, description="at once, per process; null: limits.model_calls_in_flight"
    )
    context: int | None = Field(
        default=None,
        ge=2000,
        description="tokens it reads and writes at once; longer material is packed. null: 128,000",
    )
    timeout: Interval = Field(default=timedelta(seconds=60), description="of one call, to the last byte")
    fallback: tuple[str, ...] = Field(
        default=(), max_length=4, description="models that answer in its place, in order, while it does not"
    )

    @model_validator(mode="after")
    def _azure_has_an_address(self) -> Self:
        if self.api_version is not None and self.base_url is None:
            raise ValueError("api_version belongs to an Azure resource: set base_url to https://NAME.openai.azure.com")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is at another server than OPENAI_BASE_URL, or somebody else asks there."""
        return self.base_url is not None or self.key is not None


class ModelsConfig(Section):
    """The models that judge."""

    prices: dict[str, Price] = Field(
        default_factory=dict, description="USD per million tokens by model name: {input: 0.25, output: 2}"
    )
    entries: dict[str, ModelEntry] = Field(
        default_factory=dict,
        description="models by the name rubrics use; one that is not listed is asked at OPENAI_BASE_URL",
    )

    @model_validator(mode="after")
    def _fallbacks_are_others(self) -> Self:
        for name, entry in self.entries.items():
            if name in entry.fallback or len(set(entry.fallback)) < len(entry.fallback):
                raise ValueError(f"entries.{name}.fallback: names {name!r} itself, or another model twice")
            if entry.price is not None and name in self.prices:
                raise ValueError(f"the price of {name!r} is told twice: in prices and in its entry")
        return self

    def strange_fallbacks(self, known: Iterable[str]) -> list[tuple[str, int, str]]:
        """Return the fallbacks that are neither an entry, nor have a price, nor are `known`: probably misspelt.

        Each with the name of its entry and its place there.
        """
        all_known = {*known, *self.entries, *self.prices}
        return [
            (name, place, model)
            for name, entry in self.entries.items()
            for place, model in enumerate(entry.fallback)
            if model not in all_known
        ]

    @property
    def known_prices(self) -> dict[str, Price]:
        """USD per million tokens of every model whose price is told, by name."""
        return self.prices | {name: entry.price for name, entry in self.entries.items() if entry.price is not None}

    def is_elsewhere(self, model: str) -> bool:
        """Whether a model is asked at another server than those without an entry, or called otherwise there."""
        entry = self.entries.get(model)
        return entry is not None and (entry.is_elsewhere or entry.model is not None)

    def context_of(self, models: Iterable[str], default: int) -> int:
        """Return the tokens that each of some models reads and writes at once; `default` where nobody told."""
        told = (self.entries[model].context if model in self.entries else None for model in models)
        return min((context or default for context in told), default=default)

    def asked_for(self, models: Iterable[str]) -> list[str]:
        """Return the models that may be asked for an answer of any of `models`: these and those in their place."""
        known = list(models)
        known += [other for model in known if model in self.entries for other in self.entries[model].fallback]
        return list(dict.fromkeys(known))


class JudgesConfig(Section):
    """What is kept of judge calls."""

    trace: Literal["all", "failures", "off"] = Field(
        default="failures",
        description="which judge calls become traces in Langfuse (environment llm-as-a-judge), billed there",
    )
    event_explanations: bool = Field(
        default=False, description="whether OpenTelemetry events carry the judge's reasoning, which may quote traces"
    )


class LimitsConfig(Section):
    """Limits the whole fleet keeps together."""

    langfuse_requests_per_minute: int | None = Field(
        default=None, gt=0, description="one less than the plan allows (Hobby: 29, Core: 99, Pro: 999); null: no limit"
    )
    model_requests_per_minute: int | None = Field(default=None, gt=0, description="null: no limit")
    model_tokens_per_minute: int | None = Field(
        default=None, gt=0, description="reserved by estimate, settled by what was used; null: no limit"
    )
    model_calls_in_flight: int = Field(
        default=64,
        gt=0,
        le=2000,
        description="judge calls of one model at once, per process, at most; fewer while its server is overrun",
    )
    patience: Interval = Field(
        default=timedelta(seconds=30),
        description="how long rules and other rubrics of a batch wait for a slow model; its questions then go on alone",
    )


class BatchesConfig(Section):
    """Rubrics whose judge says `lane: batch`."""

    every: Interval = Field(
        default=timedelta(minutes=15), description="how long a question waits for others to be sent with, in one batch"
    )


class CacheConfig(Section):
    """Whether verdicts are used again for the same question: same rubric version, model and rendered inputs."""

    expires: Interval | None = Field(
        default=None,
        description="for how long; null: never. Redis holds the reasons of judges, which may quote traces, for so long",
    )


class BudgetConfig(Section):
    """What judging may cost. A rubric may have a budget of its own beside this one."""

    usd_per_day: float | None = Field(
        default=None, gt=0, description="USD a UTC day for all judges together; null: no limit. Needs models.prices"
    )
    catch_up: bool = Field(
        default=False, description="judge later what there was no money for; without it, such pairs are skipped"
    )


class OverloadConfig(Section):
    """What happens when more traces come than can be evaluated."""

    max_lag: Interval | None = Field(
        default=None,
        description="when traces wait longer for a worker or a model, sampling rates are lowered until they do not",
    )
    order: Literal["oldest_first", "newest_first"] = Field(
        default="oldest_first", description="which waiting traces are evaluated first"
    )


class CoverageConfig(Section):
    """What is promised: how much of what is sampled is evaluated, and how soon."""

    objective: Fraction | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="part of the sampled traces that must be evaluated in time: 99%; null: nobody is told",
    )
    within: Interval = Field(
        default=timedelta(minutes=15), description="time from the moment a trace is handed to the workers"
    )
    silent_for: Interval = Field(
        default=timedelta(minutes=30),
        description="people are told when traces came for so long and nothing was evaluated",
    )


Digests = Literal["always", "changes", "off"]


class WatchConfig(Section):
    """When scores are looked at. Times are UTC."""

    daily_at: TimeOfDay = Field(default=time(6), description="when the last seven days are tested, every day")
    weekly_on: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = Field(
        default="monday", description="day of the weekly digest"
    )
    weekly_at: TimeOfDay = Field(default=time(7), description="time of the weekly digest")
    digest: Digests = Field(
        default="changes", description="whether it is sent every week, only when there is something to say, or never"
    )
    false_alerts_per_year: float | None = Field(
        default=None,
        gt=0,
        description="how many alerts a year may be chance, all watched scores together; by default each for itself",
    )


class ServiceConfig(Section):
    """evaluator.yaml: how the service works. Everything has a default; an empty file is legal."""

    sampling: SamplingConfig = SamplingConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    sessions: SessionsConfig = SessionsConfig()
    models: ModelsConfig = ModelsConfig()
    judges: JudgesConfig = JudgesConfig()
    redact: Redaction = Field(
        default=Redaction(), description="what is taken out of every text before it leaves for a judge"
    )
    limits: LimitsConfig = LimitsConfig()
    batches: BatchesConfig = BatchesConfig()
    cache: CacheConfig = CacheConfig()
    budget: BudgetConfig = BudgetConfig()
    overload: OverloadConfig = OverloadConfig()
    coverage: CoverageConfig = CoverageConfig()
    watch: WatchConfig = WatchConfig()
    batch_size: int = Field(default=50, gt=0, le=50, description="traces in one message; a fetch takes at most 50")
    rules_path: str | None = Field(
        default=None, description="folder with a team's own rule kinds, relative to this file"
    )
