"""How much of a day is still to come, and at which rates it may be taken so that a budget lasts. No IO.

Expected is the profile of the days before, as high as today has been so far. A rate is what is left over what is still
expected, worked out again and again: whatever a forecast got wrong, or a burst took, the rest of the day makes up for.
It follows from what was there before a trace came, never from the trace's own hash, so each rate is the exact
probability of what it takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evaluator.sampling.sampler import Rate, Tier

HOURS: Final = 24

LEAST_SHARE: Final = 0.01
"""However little money is left, so much of each sampling rate is kept, until it is spent."""

SLACK: Final = 0.01
"""How much more or less than its quota a day may take."""

_MOST_AHEAD: Final = 4.0
"""A day is taken to be as many times as busy as those before, at most, and as many times as quiet."""

_DOUBT: Final = 0.05
"""Part of a usual day that must have been seen before today's level counts as much as that of the days before."""

_LEAST_SEEN_HOURS: Final = 1 / 60
_MEMORY_HOURS: Final = 5 / 60
_BURST_HOURS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """How many traces a line of `sample` matched.

    Attributes:
        today: in each hour of today so far.
        before: in each hour of earlier days, of which at least something was seen.
        since: the hour of today, with its fraction, from which on traces were counted.
    """

    today: Sequence[float]
    before: Sequence[Sequence[float]] = ()
    since: float = 0.0


def still_to_come(seen: Seen, now: float) -> float:
    """Return how many traces are expected from `now`, in hours since midnight, to the end of the day."""
    so_far = sum(seen.today)
    if not seen.before:
        return so_far / max(now - seen.since, _LEAST_SEEN_HOURS) * (HOURS - now)
    usual = [sum(day[hour] for day in seen.before) / len(seen.before) for hour in range(HOURS)]
    counted = sum(usual[hour] * _part(hour, seen.since, now) for hour in range(HOURS))
    rest = sum(usual[hour] * _part(hour, now, HOURS) for hour in range(HOURS))
    doubt = _DOUBT * sum(usual)
    level = (so_far + doubt) / (counted + doubt) if doubt else 1.0
    return rest * min(max(level, 1 / _MOST_AHEAD), _MOST_AHEAD)


def _part(hour: int, start: float, end: float) -> float:
    """Return which part of an hour lies between two times."""
    return max(0.0, min(end, hour + 1) - max(start, hour))


@dataclass(slots=True)
class Flow:
    """How many traces come in an hour just now: what came lately counts, with a memory of five minutes."""

    an_hour: float = 0.0

    def came(self, number: float, hours: float) -> None:
        """Note that so many came, so many hours after those before."""
        self.an_hour = self.an_hour * math.exp(-hours / _MEMORY_HOURS) + number / _MEMORY_HOURS

    def beyond(self, expected: float, rest: float) -> float:
        """Return how many more than `expected` may come in the `rest` of the day, in hours: a burst may last."""
        usual = expected / max(rest, _LEAST_SEEN_HOURS)
        return max(0.0, self.an_hour - usual) * min(rest, _BURST_HOURS)


def quota_rate(quota: float, taken: float, expected: float, most: float) -> float:
    """Return at which rate to take what is still expected, so that `quota` is taken in the whole day.

    It is never 0: what comes when the day's quota is used up must stand for something too, or means would be of the
    rest of the day alone. For that `SLACK` of the quota is kept back, and as much taken beyond it at most.
    """
    left = max((1 - SLACK) * quota - taken, ((1 + SLACK) * quota - taken) / 2, 0.0)
    return min(most, left / expected) if expected > left else most


@dataclass(frozen=True, slots=True)
class Demand:
    """What a line of `sample` will cost for the rest of the day: at `rate`, in USD, paid from these budgets."""

    tier: Tier
    rate: float
    usd: float
    payers: tuple[str, ...]


def kept_shares(demands: Sequence[Demand], left: Mapping[str, float]) -> dict[Tier, float]:
    """Return which share of its rate each line keeps so that the money lasts; the lowest rates give way first.

    Args:
        demands: what every line will cost.
        left: USD that each budget has left for them.
    """
    shares = {demand.tier: 1.0 for demand in demands}
    for payer, usd in left.items():
        rest = max(usd, 0.0)
        for rate in sorted({demand.rate for demand in demands}, reverse=True):
            alike = [demand for demand in demands if demand.rate == rate and payer in demand.payers]
            wanted = sum(demand.usd for demand in alike)
            share = min(1.0, rest / wanted) if wanted > 0 else 1.0
            rest = max(rest - wanted, 0.0)
            for demand in alike:
                shares[demand.tier] = min(shares[demand.tier], max(share, LEAST_SHARE))
    return shares


def thinned(rates: Mapping[Tier, float], shares: Mapping[Tier, float]) -> dict[Tier, Rate]:
    """Return the rates of all lines, with what is kept of them."""
    return {tier: Rate(rate, rate * shares.get(tier, 1.0)) for tier, rate in rates.items()}
