"""The filter that rules and rubrics share: which traces an evaluator looks at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from traces.per_day import PerDay

if TYPE_CHECKING:
    from traces.model import TraceRoot


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def one_or_list(one: dict[str, object]) -> WithJsonSchema:
    """Return what tells editors that one text needs no brackets."""
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})


Level = Literal["DEBUG", "DEFAULT", "WARNING", "ERROR"]
"""Langfuse's levels of an observation."""

Severity = Literal["info", "warning", "error", "critical"]
"""How bad it is when a rule finds something, the mildest first."""

_SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)

OneOf = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1), one_or_list({"type": "string"})]
"""One text or a list of texts; matches when the trace has any of them."""

OneLevelOf = Annotated[
    tuple[Level, ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    one_or_list({"enum": list(get_args(Level))}),
]
"""One level or a list of levels."""


class ScoreCondition(BaseModel):
    """A condition on a score the trace already has, for example user feedback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="name of the score in Langfuse")
    equals: float | bool | str | None = Field(default=None, description="the score's value is exactly this")
    at_most: float | None = Field(default=None, description="the score's value is at most this")
    at_least: float | None = Field(default=None, description="the score's value is at least this")

    @model_validator(mode="after")
    def _says_something(self) -> ScoreCondition:
        if self.equals is None and self.at_most is None and self.at_least is None:
            raise ValueError("needs one of equals, at_most, at_least")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least ({self.at_least:g}) is above at_most ({self.at_most:g}): nothing can match")
        return self

    def matches(self, root: TraceRoot) -> bool:
        """Whether the root carries the score and it fits; a missing score never fits."""
        value = root.scores.get(self.name)
        if value is None:
            return False
        if self.equals is not None and value != self.equals:
            return False
        if isinstance(value, str):
            return self.at_most is None and self.at_least is None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


class When(BaseModel):
    """Conditions that must all hold. Each is decided from the root observation alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace_name: OneOf | None = Field(default=None, description="name of the trace")
    environment: OneOf | None = Field(default=None, description="Langfuse environment")
    tags: OneOf | None = Field(default=None, description="the trace has any of these tags")
    user_id: OneOf | None = Field(default=None, description="user of the trace")
    session_id: OneOf | None = Field(default=None, description="session of the trace")
    release: OneOf | None = Field(default=None, description="release of the application")
    version: OneOf | None = Field(default=None, description="version of the trace")
    level: OneLevelOf | None = Field(default=None, description="level of the root")
    model: OneOf | None = Field(default=None, description="model of the root, when the root is a generation")
    prompt_name: OneOf | None = Field(default=None, description="prompt of the root, when the root is a generation")
    score: ScoreCondition | None = Field(default=None, description="a score the trace has, or a rule of ours gives it")
    found: Severity | None = Field(
        default=None, description="a rule of this `severity`, or a worse one, found something: its score is false"
    )

    def matches(self, root: TraceRoot) -> bool:
        """Whether every given condition holds."""
        if not self.model_fields_set:
            return True
        wanted_and_known: tuple[tuple[tuple[str, ...] | None, str | None], ...] = (
            (self.trace_name, root.name),
            (self.environment, root.ref.environment),
            (self.user_id, root.user_id),
            (self.session_id, root.session_id),
            (self.release, root.release),
            (self.version, root.version),
            (self.level, root.level),
            (self.model, root.model),
            (self.prompt_name, root.prompt_name),
        )
        if any(wanted is not None and known not in wanted for wanted, known in wanted_and_known):
            return False
        if self.tags is not None and not set(self.tags) & set(root.tags):
            return False
        if self.found is not None and not at_least(root.found, self.found):
            return False
        return self.score is None or self.score.matches(root)


def worst(severities: Iterable[Severity]) -> Severity | None:
    """Return the worst of some severities; None of none."""
    return max(severities, key=_SEVERITIES.index, default=None)


def at_least(severity: Severity | None, wanted: Severity) -> bool:
    """Whether what was found is as bad as `wanted`, or worse; nothing found never is."""
    return severity is not None and _SEVERITIES.index(severity) >= _SEVERITIES.index(wanted)


class SampleRule(BaseModel):
    """One line of an evaluator's `sample`: traces that match `when` are taken at `rate`.

    With a `budget` the service chooses the rate, and `rate` is the highest it may choose. Several lines may match: the
    highest rate counts, under the same hash.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: When = Field(default=When(), description="which traces; without it, all")
    rate: float = Field(
        default=1, ge=0, le=1, description="share of the matching traces that are evaluated, from 0 to 1"
    )
    budget: PerDay | None = Field(
        default=None, description="the service chooses the rate for so many a UTC day: 500/day, or 5 USD/day"
    )

    @model_validator(mode="after")
    def _says_how_many(self) -> SampleRule:
        if not self.model_fields_set & {"rate", "budget"}:
            raise ValueError("needs rate, such as 0.05, or budget, such as 500/day")
        return self


class _OneOrSeveral:
    """Tells editors that one line needs no list."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Sample = Annotated[
    tuple[SampleRule, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, dict) else value),
    Field(min_length=1),
    _OneOrSeveral(),
]
"""The lines of an evaluator's `sample`; one alone needs no list."""
