"""When more traces come than can be evaluated: how far the workers lag, and how much to sample until they do not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from evaluator.batch import Backlog

LEAST_SHARE: Final = 0.01
"""However overloaded, so much of each sampling rate is kept: something must be known of these hours too."""


class Pace:
    """How fast a backlog is worked off, seen from look to look.

    The age of what waits longest tells of an overload late: at ten times the sustainable traffic a message has waited
    for a quarter of an hour when there is work for two and a half hours behind it.
    """

    def __init__(self) -> None:
        """Begin without a look."""
        self._before: tuple[Backlog, datetime] | None = None
        self._put = 0
        self._lag = timedelta()

    def put(self) -> None:
        """Note that one message was put behind the backlog."""
        self._put += 1

    def lag(self, backlog: Backlog, now: datetime) -> timedelta:
        """Return how long a message put now would wait, going by what was worked off since the last look."""
        if self._before is not None:
            before, at = self._before
            done, elapsed = before.messages + self._put - backlog.messages, now - at
            if not backlog.messages:
                self._lag = timedelta()
            else:
                self._lag = elapsed * (backlog.messages / done) if done > 0 else self._lag + elapsed
        self._before, self._put = (backlog, now), 0
        return self._lag


def next_share(share: float, lag: timedelta, before: timedelta, max_lag: timedelta) -> float:
    """Return the share of the sampling rates to take, after one with `share` and lag `before`.

    Half as much as long as the lag grows beyond `max_lag`; while it shrinks, patience; a quarter more once it is well
    below: rates fall fast and rise slowly.
    """
    if lag > max_lag:
        return share if lag < before else max(share / 2, LEAST_SHARE)
    return min(1.0, share * 1.25) if lag < max_lag / 2 else share
