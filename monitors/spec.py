"""What a person writes in monitors.yaml: which score is watched, and how jumpy the watch may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from monitors.marks import Expected, Snooze
from monitors.series import Span, values_of
from traces.choices import OneOf

MINIMUM_WEEKS: Final = 4
"""With fewer comparable weeks nobody is paged: their spread cannot be known."""

SEGMENTS: Final = ("prompt_version", "model", "trace_name", "tags", "release")


Segmented = Literal[
    "trace_name", "prompt_version", "model", "release", "version", "environment", "tags", "observation_name"
]
"""What scores are told apart by."""


def _fraction(value: object) -> object:
    """Read `2%` and `2 %` as 0.02; anything else is left to pydantic."""
    if isinstance(value, str) and value.rstrip().endswith("%"):
        try:
            return float(value.rstrip()[:-1]) / 100
        except ValueError:
            return value
    return value


Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^[0-9.]+ ?%$"}, {"type": "number"}]}),
]
"""A share, written as `2%` or 0.02."""


class OnLow(BaseModel):
    """What a score must be for people to be given its trace, and where they find it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_most: float = Field(default=0.0, description="the score's value is at most this; a boolean that is false is 0")
    queue: str | None = Field(default=None, min_length=1, description="name or id of an annotation queue in Langfuse")
    dataset: str | None = Field(default=None, min_length=1, description="name of a dataset in Langfuse")

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.queue is None and self.dataset is None:
            raise ValueError("needs a queue or a dataset of Langfuse")
        return self


class MonitorSpec(BaseModel):
    """A score to watch: its last seven days against the weeks before, every day."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str = Field(
        min_length=1,
        pattern="^[^,]+$",  # Langfuse takes names as a comma list and has no way to escape one
        description="name of the score in Langfuse, whoever writes it (no comma)",
    )
    labels: OneOf | None = Field(
        default=None, description="of a score whose values are labels: the share of these is watched, as a pass rate"
    )
    where: dict[Segmented, OneOf] = Field(
        default_factory=dict,
        description="only scores of these segments, as {model: gpt-5}: a part of the traffic with alerts of its own",
    )
    smallest_drop: Fraction = Field(
        default=0.01, gt=0, lt=1, description="smaller drops are never reported: 2% or 0.02"
    )
    false_alerts_per_year: float = Field(
        default=1.0, gt=0, le=10, description="how many alerts a year may be chance; fewer means slower to notice"
    )
    test: Literal["weeks", "e-detector"] = Field(
        default="weeks",
        description="what decides: a t over weeks, or an e-detector (its budget is kept by a theorem; slow below 300)",
    )
    segments: tuple[str, ...] = Field(
        default=SEGMENTS, description="by what a drop is explained, in the order of preference when several fit alike"
    )
    environment: OneOf | None = Field(default=None, description="only scores of these environments")
    baseline_weeks: int = Field(
        default=12, ge=MINIMUM_WEEKS, le=52, description="weeks to compare with; 8 to 12 is best"
    )
    excluded_weeks: tuple[date, ...] = Field(
        default=(), description="dates; a week that contains one (a holiday, an outage) is not compared"
    )
    expected: tuple[Expected, ...] = Field(
        default=(), description="changes that are meant: nothing before one is compared, and nobody is paged for it"
    )
    snooze: Snooze | None = Field(default=None, description="until when nobody wants to hear of a fall")
    on_low: OnLow | None = Field(
        default=None, description="where traces with a low score go in Langfuse, for people to look at"
    )
    scale: tuple[float, float] | None = Field(
        default=None, description="lowest and highest possible value; by default what was seen"
    )

    @property
    def key(self) -> str:
        """The monitor's name in the state: the score, with its labels, segments and environments when it has any."""
        labels = "" if self.labels is None else f"={'+'.join(sorted(self.labels))}"
        only = "; ".join(f"{name} {'+'.join(sorted(values))}" for name, values in sorted(self.where.items()))
        environments = "" if self.environment is None else f"@{'+'.join(sorted(self.environment))}"
        return self.score + labels + (f"[{only}]" if only else "") + environments

    def holds(self, segments: Mapping[str, str]) -> bool:
        """Whether a score of these segments is watched."""
        return all(
            not values_of(name, segments.get(name) or "").isdisjoint(values) for name, values in self.where.items()
        )

    def number(self, value: float | bool | str) -> float | None:
        """Return what a score's value counts: with `labels` 1 or 0; None when it is nothing that can be averaged."""
        if isinstance(value, str):
            # Several labels are one value, joined as judges.opinions joins them.
            told = {value, *value.split(", ")}
            return None if self.labels is None else float(not told.isdisjoint(self.labels))
        return float(value) if self.labels is None and math.isfinite(value) else None

    @property
    def excluded(self) -> tuple[Span, ...]:
        """The excluded dates as spans of time, midnight to midnight UTC."""
        days = (datetime.combine(day, time(), UTC) for day in self.excluded_weeks)
        return tuple(Span(day, day + timedelta(days=1)) for day in days)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale goes from low to high, not from {self.scale[0]:g} to {self.scale[1]:g}")
        if len(set(self.segments)) < len(self.segments):
            raise ValueError("segments names one twice")
        if self.where and self.on_low is not None:
            raise ValueError("on_low knows no segments: it belongs to a monitor of this score without `where`")
        return self
