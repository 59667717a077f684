"""How many traces each line of `sample` matched and took, hour by hour. Knows its Redis keys.

The keys stand in the package's table. Counted only where a budget is set: from it follows what is still to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, cast

import redis

from evaluator.sampling.sampler import Rate, Tier
from evaluator.state.connection import reachable

DAYS_KEPT: Final = 7
"""Days before today whose volume is known."""

_KEPT: Final = timedelta(days=DAYS_KEPT + 2)
_HOURS: Final = 24


def hours_of(now: datetime) -> float:
    """Return the hours since midnight, with their fraction."""
    return now.hour + now.minute / 60 + now.second / 3600


@dataclass(slots=True)
class DayVolume:
    """What one day brought.

    Attributes:
        matched: traces that a line matched, in each hour.
        taken: how many of them it took, all day.
        since: from which hour of the day on it was counted.
        done_before: how many pairs of each evaluator had ended when the day began.
    """

    matched: dict[Tier, list[float]] = field(default_factory=dict)
    taken: dict[Tier, int] = field(default_factory=dict)
    since: float = 0.0
    done_before: dict[str, int] = field(default_factory=dict)

    def count(self, hour: int, matched: Mapping[Tier, int], taken: Mapping[Tier, int]) -> None:
        """Add what was found in an hour."""
        for tier, number in matched.items():
            self.matched.setdefault(tier, [0.0] * _HOURS)[hour] += number
        for tier, number in taken.items():
            self.taken[tier] = self.taken.get(tier, 0) + number

    def taken_by(self, evaluator: str) -> int:
        """Return how many traces an evaluator took."""
        return sum(number for (name, _), number in self.taken.items() if name == evaluator)


class Volumes:
    """Named operations on counted traffic. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace

    def begin(self, now: datetime, done: Mapping[str, int]) -> None:
        """Note when a day began to be counted, and what had ended before it; only the first time counts."""
        key = self._day(now.date())
        with reachable():
            if not self._redis.hsetnx(key, "since", hours_of(now)):
                return
            pipe = self._redis.pipeline()
            for evaluator, number in done.items():
                pipe.hset(key, f"done/{evaluator}", number)
            pipe.expire(key, _KEPT)
            pipe.execute()

    def add(self, now: datetime, matched: Mapping[Tier, int], taken: Mapping[Tier, int]) -> None:
        """Count what was found just now."""
        key = self._day(now.date())
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for kind, counts in (("matched", matched), ("taken", taken)):
                for (evaluator, line), number in counts.items():
                    pipe.hincrby(key, f"{kind}/{now.hour}/{line}/{evaluator}", number)
            pipe.expire(key, _KEPT)
            pipe.execute()

    def days(self, days: Iterable[date]) -> list[DayVolume]:
        """Return what some days brought."""
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for day in days:
                pipe.hgetall(self._day(day))
            return [_read(kept) for kept in cast("list[dict[bytes, bytes]]", pipe.execute())]

    def publish(self, rates: Mapping[Tier, Rate]) -> None:
        """Keep the rates that lines have now, where they are not those configured, for everybody to see."""
        key = f"{self._namespace}:rates"
        written = {f"{line}/{evaluator}": f"{rate.wanted!r} {rate.kept!r}" for (evaluator, line), rate in rates.items()}
        with reachable():
            pipe = self._redis.pipeline()
            pipe.delete(key)
            for tier, rate in written.items():
                pipe.hset(key, tier, rate)
            pipe.execute()

    def rates(self) -> dict[Tier, Rate]:
        """Return what was published last."""
        with reachable():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(f"{self._namespace}:rates"))
        found: dict[Tier, Rate] = {}
        for name, value in kept.items():
            line, _, evaluator = name.decode().partition("/")
            wanted, share = value.decode().split(" ")
            found[evaluator, int(line)] = Rate(float(wanted), float(share))
        return found

    def _day(self, day: date) -> str:
        return f"{self._namespace}:volume:{day:%Y%m%d}"


def _read(kept: Mapping[bytes, bytes]) -> DayVolume:
    found = DayVolume(since=float(kept.get(b"since", 0)))
    for name, value in kept.items():
        kind, _, rest = name.decode().partition("/")
        if kind == "done":
            found.done_before[rest] = int(value)
        elif kind in {"matched", "taken"}:
            hour, line, evaluator = rest.split("/", 2)
            counts = {(evaluator, int(line)): int(value)}
            found.count(int(hour), counts if kind == "matched" else {}, counts if kind == "taken" else {})
    return found
