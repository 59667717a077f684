"""Langfuse's rate limits: fixed windows that begin with their first request, one window a bucket."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.times import iso, javascript_date


class Bucket(StrEnum):
    """What a route is counted against."""

    GENERAL = "public-api"
    INGESTION = "ingestion"
    METRICS = "public-api-v2-metrics"
    REVIEWS = "datasets"
    NONE = "none"


@dataclass(slots=True)
class _Window:
    ends: int
    used: int = 0


@dataclass(slots=True)
class RateLimiter:
    """Counts requests per bucket. `refused` counts the answers 429 it caused."""

    refused: int = 0
    _windows: dict[Bucket, _Window] = field(default_factory=dict)

    def take(self, bucket: Bucket, limit: int | None, window_seconds: float, now: int) -> None:
        """Count one request at `now` (ms) against `bucket`.

        A request is refused when fewer than one remains *after* it, so a limit of N lets N-1 through, as the real one.

        Raises:
            Refusal: 429 with Langfuse's headers and body.
        """
        if limit is None or bucket is Bucket.NONE:
            return
        window = self._windows.get(bucket)
        if window is None or now >= window.ends:
            window = self._windows[bucket] = _Window(now + max(1, round(window_seconds * 1000)))
        window.used += 1
        if limit - window.used < 1:
            self.refused += 1
            too_many(limit, window.ends, now)


def too_many(limit: int, ends: int, now: int) -> NoReturn:
    """Refuse until `ends` (ms); Retry-After is in whole seconds, never 0."""
    wait = max(1, math.ceil((ends - now) / 1000))
    details = {"retryAfterSeconds": wait, "limit": limit, "remaining": 0, "resetAt": iso(ends)}
    headers = {
        "Retry-After": str(wait),
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": javascript_date(ends),
    }
    raise Refusal(429, {"message": "Rate limit exceeded", "code": "rate_limited", "details": details}, headers)
