"""Langfuse's ways of writing a moment. Inside the stand-in a moment is a whole number of milliseconds since 1970."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def now_ms() -> int:
    """Return the current time in milliseconds."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """Return the form of every answer: `2026-11-23T11:24:29.120Z`."""
    return (_EPOCH + ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(text: object) -> int:
    """Parse ISO 8601 with an offset.

    Raises:
        ValueError: Not a date and time, or without an offset.
    """
    if not isinstance(text, str) or len(text) < 11:
        raise ValueError("Invalid ISO datetime")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("Invalid ISO datetime: the offset is missing")
    return (moment - _EPOCH) // _MILLISECOND


def day(ms: int) -> int:
    """Return the UTC day a moment falls on, counted from 1970."""
    return ms // 86_400_000


def javascript_date(ms: int) -> str:
    """Return what JavaScript's Date.toString gives: the form of X-RateLimit-Reset."""
    moment = _EPOCH + ms * _MILLISECOND
    return moment.strftime("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)")
