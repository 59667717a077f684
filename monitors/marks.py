"""What people say about a score beforehand: hear nothing for a while, or a change is coming and is meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


def moment(value: object) -> object:
    """Read a date as its midnight in UTC, and a time without a zone as UTC; anything else is left to pydantic."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(), UTC)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


Moment = Annotated[datetime, BeforeValidator(moment), WithJsonSchema({"type": "string"})]
"""A date, or a date and time, in UTC when it names no zone."""


class Expected(BaseModel):
    """A change that is meant, such as a release with shorter answers: weeks before it are not compared with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Moment = Field(description="when it takes effect: 2026-12-01, or with a time; UTC")
    why: str = Field(default="", max_length=300, description="what people read about it")


class Snooze(BaseModel):
    """A time in which nobody hears of a fall; one that is still there afterwards is told then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    until: Moment = Field(description="its end: 2026-12-01, or with a time; UTC")
    why: str = Field(default="", max_length=300, description="what people read about it")


@dataclass(frozen=True, slots=True)
class Marks:
    """What people said about a score, as of a look.

    `snoozed` is until when they want to hear nothing, None when they do; `expected` the newest change that they knew
    of and that has come.
    """

    snoozed: datetime | None = None
    expected: datetime | None = None
    snoozed_why: str = ""
    expected_why: str = ""


def marks(snoozes: Iterable[Snooze], expected: Iterable[Expected], now: datetime) -> Marks:
    """Return what counts at a time: the longest snooze that is not over, the newest change that has come."""
    snooze = max((each for each in snoozes if each.until > now), key=lambda each: each.until, default=None)
    change = max((each for each in expected if each.at <= now), key=lambda each: each.at, default=None)
    return Marks(
        snooze.until if snooze else None,
        change.at if change else None,
        snooze.why if snooze else "",
        change.why if change else "",
    )
