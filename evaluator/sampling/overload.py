"""When more traces come than can be evaluated: how far the workers lag, and how much to sample until they do not."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from evaluator.sampling.jobs import Burden

LEAST_SHARE: Final = 0.01
"""However overloaded, so much of each sampling rate is kept: something must be known of these hours too."""

_LOOKS: Final = 10
"""Traces end by the dozen, a message at a time: over fewer looks than these it is chance how many do."""


_LEAST_CUT, _UNKNOWN, _MOST_CUT = 0.25, 0.5, 0.75
"""What is left of a share that is cut: at least, when nobody knows how fast the lag grows, and at most."""


class Load(NamedTuple):
    """How far workers and models lag, and which share of the sampling rates is taken because of it.

    Attributes:
        lag: how long a trace would wait, or has waited, in the lane that is worst.
        share: of all sampling rates.
        shares: of those of evaluators whose models are held up.
        live_lag: the lag of the live lane alone.
    """

    lag: timedelta = timedelta()
    share: float = 1.0
    shares: Mapping[str, float] = {}
    live_lag: timedelta = timedelta()

    def of(self, evaluator: str) -> float:
        """Return which share of its rates an evaluator takes."""
        return min(self.share, self.shares.get(evaluator, 1.0))

    @property
    def least(self) -> float:
        """The share of the evaluator that takes least."""
        return min(self.share, *self.shares.values()) if self.shares else self.share

    def written(self) -> dict[Any, Any]:
        """Return it as texts by name."""
        return {
            "lag": str(self.lag.total_seconds()),
            "share": str(self.share),
            "shares": json.dumps(dict(self.shares)),
            "live_lag": str(self.live_lag.total_seconds()),
        }

    @classmethod
    def read(cls, kept: Mapping[str, str]) -> Load:
        """Read what `written` gave, or an older release, or nobody."""
        lag, live_lag = (timedelta(seconds=float(kept.get(name, 0))) for name in ("lag", "live_lag"))
        return cls(lag, float(kept.get("share", 1)), json.loads(kept.get("shares", "{}")), live_lag)


class Pace:
    """How fast a backlog is worked off, seen from look to look.

    The age of what waits longest tells of an overload late: at ten times the sustainable traffic a trace has waited for
    a quarter of an hour when there is work for two and a half hours behind it.
    """

    def __init__(self) -> None:
        """Begin without a look."""
        self._looks: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._lag = self._before = self._passed = timedelta()
        self._at: float | None = None
        # What waits at the first look of a process may have waited for long: only the next one tells.
        self._is_known = False

    @property
    def before(self) -> timedelta:
        """How long it was at the look before the last one."""
        return self._before

    def lag(self, waiting: int, ended: int, now: float) -> timedelta:
        """Return how long what comes now would wait.

        Args:
            waiting: how much waits.
            ended: how much has ended so far.
            now: seconds, of any start.
        """
        self._before = self._lag
        since_last = timedelta(seconds=now - self._at) if self._at is not None else timedelta()
        self._passed = since_last if self._is_known else timedelta()
        self._at = now
        if not waiting or (self._looks and ended < self._looks[-1][1]):
            # How fast they could be is seen only while they have enough to do. (Or Redis was emptied.)
            self._looks.clear()
        self._is_known = self._is_known or not waiting or bool(self._looks)
        if not waiting:
            self._lag = timedelta()
            return self._lag
        if self._looks:
            since, before = self._looks[0]
            done = ended - before
            self._lag = timedelta(seconds=now - since) * (waiting / done) if done else self._lag + since_last
        self._looks.append((now, ended))
        return self._lag

    def share_after(self, share: float, lag: timedelta, before: timedelta, max_lag: timedelta) -> float:
        """Return the share to take after `share` (see `next_share`); it does not rise while the lag is not known."""
        following = next_share(share, lag, before, max_lag, self._passed)
        return following if self._is_known else min(share, following)


class JudgePaces:
    """The pace of each evaluator that asks a judge: its model may be slower than the workers are."""

    def __init__(self, evaluators: Iterable[str]) -> None:
        """Watch these evaluators."""
        self._paces = {name: Pace() for name in evaluators}

    def lags(self, burden: Burden, now: float) -> dict[str, timedelta]:
        """Return how long a pair of each evaluator that comes now would wait; `now` in seconds."""
        pairs, decided = burden.pairs, burden.decided
        return {name: pace.lag(pairs.get(name, 0), decided.get(name, 0), now) for name, pace in self._paces.items()}

    def shares(
        self, shares: Mapping[str, float], lags: Mapping[str, timedelta], max_lag: timedelta
    ) -> dict[str, float]:
        """Return the share that each takes after `shares`, those left out that take all."""
        following = {
            name: pace.share_after(shares.get(name, 1.0), lags[name], pace.before, max_lag)
            for name, pace in self._paces.items()
        }
        return {name: share for name, share in following.items() if share < 1}


def next_share(
    share: float, lag: timedelta, before: timedelta, max_lag: timedelta, passed: timedelta = timedelta()
) -> float:
    """Return the share of the sampling rates to take, after one with `share` and lag `before`.

    While the lag grows beyond `max_lag`, so much less as it grows faster than it may: by a minute a minute means that
    twice too much comes. While it shrinks, patience; a quarter more once it is well below: rates fall fast, and rise
    slowly.

    Args:
        share: taken until now.
        lag: that is seen now.
        before: the one that was seen then.
        max_lag: what it may be.
        passed: since then; nothing when that is not known.
    """
    if lag > max_lag:
        fitting = passed / (passed + lag - before) if passed and lag > before else _UNKNOWN
        return share if lag < before else max(share * min(max(fitting, _LEAST_CUT), _MOST_CUT), LEAST_SHARE)
    return min(1.0, share * 1.25) if lag < max_lag / 2 else share
