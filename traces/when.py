"""The filter that rules and rubrics share: which traces an evaluator looks at."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from traces.choices import Limits, OneLevelOf, OneNumberOf, OneOf, OneTypeOf, ValuesByKey, text_of
from traces.per_day import PerDay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from traces.model import Observation, Trace, TraceRoot

Severity = Literal["info", "warning", "error", "critical"]
"""How bad it is when a rule finds something, the mildest first."""

_SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


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


class Has(BaseModel):
    """An observation that a trace has. All that is given must hold of one and the same observation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: OneTypeOf | None = Field(default=None, description="type of the observation: GENERATION, TOOL, ...")
    name: OneOf | None = Field(default=None, description="name of the observation; * and ? stand for any characters")
    level: OneLevelOf | None = Field(default=None, description="level of the observation")
    model: OneOf | None = Field(default=None, description="model of the observation")
    prompt_name: OneOf | None = Field(default=None, description="prompt of the observation")
    prompt_version: OneNumberOf | None = Field(default=None, description="version of that prompt")

    @model_validator(mode="after")
    def _says_something(self) -> Has:
        if not self.model_dump(exclude_none=True):
            raise ValueError("needs type, name, level, model, prompt_name or prompt_version, such as {type: TOOL}")
        return self

    def matches(self, observation: Observation) -> bool:
        """Whether an observation is meant."""
        if self.name is not None and not any(fnmatchcase(observation.name, name) for name in self.name):
            return False
        return (
            (self.type is None or observation.type in self.type)
            and (self.level is None or observation.level in self.level)
            and (self.model is None or observation.model in self.model)
            and (self.prompt_name is None or observation.prompt_name in self.prompt_name)
            and (self.prompt_version is None or observation.prompt_version in self.prompt_version)
        )


class When(BaseModel):
    """Conditions that must all hold. Each but `cost` and `observation` is decided from the root observation alone.

    Those two need the whole trace: they are decided when it is evaluated, and do not change who was sampled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace_name: OneOf | None = Field(default=None, description="name of the trace")
    environment: OneOf | None = Field(default=None, description="Langfuse environment")
    tags: OneOf | None = Field(default=None, description="the trace has any of these tags")
    user_id: OneOf | None = Field(default=None, description="user of the trace")
    session_id: OneOf | None = Field(default=None, description="session of the trace")
    release: OneOf | None = Field(default=None, description="release of the application")
    version: OneOf | None = Field(default=None, description="version of the trace")
    level: OneLevelOf | None = Field(default=None, description="level of the root")
    metadata: ValuesByKey | None = Field(
        default=None, description="values of keys in the root's metadata, up to 200 characters: `{plan: [pro, team]}`"
    )
    model: OneOf | None = Field(default=None, description="model of the root, when the root is a generation")
    prompt_name: OneOf | None = Field(default=None, description="prompt of the root, when the root is a generation")
    prompt_version: OneNumberOf | None = Field(default=None, description="version of that prompt")
    latency: Limits | None = Field(default=None, description="seconds from the root's start to its end")
    score: ScoreCondition | None = Field(default=None, description="a score the trace has, or a rule of ours gives it")
    found: Severity | None = Field(
        default=None, description="a rule of this `severity`, or a worse one, found something: its score is false"
    )
    cost: Limits | None = Field(
        default=None, description="US dollars of the whole trace; decided when it is evaluated, not in `sample`"
    )
    observation: Has | None = Field(
        default=None, description="an observation that the trace has; decided when it is evaluated, not in `sample`"
    )

    def matches(self, root: TraceRoot) -> bool:
        """Whether every condition holds that a root can decide."""
        if not self.model_fields_set:
            return True
        wanted_and_known: tuple[tuple[tuple[str | int, ...] | None, str | int | None], ...] = (
            (self.trace_name, root.name),
            (self.environment, root.ref.environment),
            (self.user_id, root.user_id),
            (self.session_id, root.session_id),
            (self.release, root.release),
            (self.version, root.version),
            (self.level, root.level),
            (self.model, root.model),
            (self.prompt_name, root.prompt_name),
            (self.prompt_version, root.prompt_version),
        )
        if any(wanted is not None and known not in wanted for wanted, known in wanted_and_known):
            return False
        if self.tags is not None and not set(self.tags) & set(root.tags):
            return False
        if self.found is not None and not at_least(root.found, self.found):
            return False
        if self.latency is not None and not self.latency.holds(root.latency):
            return False
        known = root.metadata
        if self.metadata is not None and any(text_of(known.get(key)) not in one for key, one in self.metadata.items()):
            return False
        return self.score is None or self.score.matches(root)

    @cached_property
    def needs_whole(self) -> tuple[str, ...]:
        """The conditions that only the whole trace decides."""
        return tuple(name for name in ("cost", "observation") if getattr(self, name) is not None)

    def unmet(self, traces: Sequence[Trace]) -> str | None:
        """Return the condition that none of the traces of what is evaluated meets; None when all hold."""
        for name in self.needs_whole:
            if not any(self._holds(name, trace) for trace in traces):
                return name
        return None

    def _holds(self, name: str, trace: Trace) -> bool:
        if name == "cost":
            return self.cost is None or self.cost.holds(trace.cost)
        return self.observation is None or any(map(self.observation.matches, trace.observations))


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
        if self.when.needs_whole:
            what = self.when.needs_whole[0]
            raise ValueError(
                f"when.{what} needs the whole trace, not read yet when it is sampled: use the outer `when`"
            )
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
