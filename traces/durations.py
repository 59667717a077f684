"""Lengths of time as people write them: 90s, 15m, 1h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS: Final = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST: Final = timedelta(days=10_000)
_DURATION: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?(ms|s|m|h|d)")


def duration_text(value: timedelta) -> str:
    """Return a duration as people write it, in the largest unit that needs no fraction: 90s, 15m, 7d."""
    microseconds = value // _MICROSECOND
    for unit, size in reversed(_UNITS.items()):
        if microseconds % size == 0 and (microseconds or unit == "s"):
            return f"{microseconds // size}{unit}"
    return f"{Decimal(microseconds) / _UNITS['ms']:f}ms"


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"expected a duration such as 90s, 15m, 1h or 7d, not {str(value)[:40]!r}")
    microseconds = Decimal(found[1]) * _UNITS[found[2]]
    if microseconds > _LONGEST // _MICROSECOND:
        raise ValueError(f"expected a duration of at most {_LONGEST.days:,} days, not {value!r}")
    return timedelta(microseconds=int(microseconds))


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected a duration longer than nothing")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)? ?(ms|s|m|h|d)$", "examples": ["90s", "15m", "7d"]}),
]
"""A length of time as people write it: 90s, 15m, 1h, 7d. Up to 10,000 days, exact to the microsecond."""

Interval = Annotated[Duration, AfterValidator(_positive)]
"""A duration that is not zero."""
