"""What a server says of its limits beside an answer: the x-ratelimit headers that OpenAI introduced. No IO."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LONGEST: Final = 60.0
"""Seconds of a pause that headers may cause: they speak of a minute."""

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)


def exhausted(headers: Mapping[str, str], tokens: int) -> float | None:
    """Return for how many seconds nobody should send; None when there is room, or the server does not say.

    Args:
        headers: of an answer or a refusal.
        tokens: what a call like this takes.
    """
    pauses = [_until_room(headers, "requests", 1), _until_room(headers, "tokens", tokens)]
    told = [seconds for seconds in pauses if seconds is not None]
    return min(max(told), LONGEST) if told else None


def _until_room(headers: Mapping[str, str], kind: str, needed: int) -> float | None:
    remaining = headers.get(f"x-ratelimit-remaining-{kind}")
    if remaining is None:
        return None
    left = _number(remaining)
    reset = duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    if left is None or left >= needed or reset is None or reset <= 0:
        return None
    # `reset` is when all of the limit is free again; what is missing comes back at an even pace, and sooner.
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}", ""))
    return min(reset, (needed - left) / limit * 60) if limit and limit > needed else reset


def duration(text: str) -> float | None:
    """Return the seconds of a duration such as 1s, 6m0s, 20ms or 12.5; None when it is none."""
    if (plain := _number(text)) is not None:
        return plain
    found = _DURATION.fullmatch(text.strip()[:40])
    if found is None or not any(found.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text.strip()) else None
