"""What people would have made of a score's last week, as the last calibration found it (weekly.py keeps it)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from evaluator.calibration.weekly import Kept, place_of
from evaluator.messages.figures import day, value
from judges import Rubric
from monitors import MonitorSpec
from monitors.correction import Corrected

_FRESH: Final = timedelta(days=8)
"""A correction that is older is told no more: the next weekly run did not have one."""


def places(rubrics: Iterable[Rubric]) -> dict[str, str]:
    """Return where the calibration of each judge is kept that is held against people each week, by its score."""
    held = ((each.name, each.spec.calibrate) for each in rubrics)
    return {name: place_of(name, wanted.against) for name, wanted in held if wanted is not None}


def by_people(spec: MonitorSpec, state: Mapping[str, Any] | None, now: datetime) -> str:
    """Return in words what people would have made of a week, beside what the judge did; empty where nobody can tell.

    Only for a monitor of all environments that reads the score as the calibration did.

    Args:
        spec: the monitor.
        state: what is kept of the calibration of its score.
        now: the time.
    """
    last = Kept.from_json(state).last
    if last is None or spec.environment is not None or spec.labels is not None or last.get("pass_at") is not None:
        return ""
    at, made = datetime.fromisoformat(last["at"]), last.get("corrected")
    if made is None or not now - _FRESH <= at <= now + _FRESH:
        return ""
    found, binary = Corrected(**made), bool(last.get("binary"))
    raw, mean, low, high = (value(each, binary) for each in (found.raw, found.mean, found.low, found.high))
    week = f"in the week to {day(at)}"
    return f"By people {mean} (95 % {low} to {high}) where the judge gave {raw}, {week}; {found.labels:,} of {found.by}"
