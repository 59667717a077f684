"""What the fleet has counted since it began, in Redis: the numbers behind /metrics. Knows its Redis keys.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:counters | hash | for ever | JSON [name, label...] -> count | counting starts at 0 |
| N:usage | hash | for ever | evaluator/what -> judge calls, tokens, USD | counting starts at 0 |

Counts are gathered in the process and added in one go, every few seconds (pulse.py): to count costs nothing where
hundreds of calls are in flight. A process that is killed takes the last few seconds of its counts with it; scores,
states and money are never counted here.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
import redis

from evaluator.state.connection import reachable
from traces import Usage

SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Upper ends of the buckets of a duration; one more holds what took longer."""

SUM: Final = "sum"
"""Stands in the place of a bucket for the sum of all durations."""

_COUNTED: Final = ("calls", "input_tokens", "output_tokens", "cached", "cached_tokens")

DECIDED: Final = "decided"
"""Name of the count of pairs of which a judge was asked and that have their outcome, by evaluator."""

Counts = Mapping[tuple[str, ...], float]
"""Name and labels -> how many, or how much."""


class Counters:
    """Counts and adds up. Safe for many threads; `count` and `took` never wait for Redis."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace
        self._lock = threading.Lock()
        self._new: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Count something."""
        with self._lock:
            self._new[name, *labels] += by  # type: ignore[assignment]  # seconds are counted too

    def took(self, name: str, *labels: str, seconds: float) -> None:
        """Count something by how long it took."""
        place = bisect_left(SECONDS, seconds)
        with self._lock:
            self._new[name, *labels, str(place)] += 1
            self._new[name, *labels, SUM] += seconds  # type: ignore[assignment]

    def flush(self) -> None:
        """Add what was counted since the last time.

        Raises:
            Unavailable: Redis cannot be reached; it is added the next time.
        """
        with self._lock:
            new, self._new = self._new, Counter()
        if not new:
            return
        try:
            with reachable():
                pipe = self._redis.pipeline()
                for name, number in new.items():
                    pipe.hincrbyfloat(self._key("counters"), _field(name), number)
                pipe.execute()
        except BaseException:
            with self._lock:
                self._new.update(new)
            raise

    def read(self) -> Counts:
        """Return every count of the fleet."""
        with reachable():
            counts = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("counters")))
        return {tuple(orjson.loads(name)): float(number) for name, number in counts.items()}

    def spend(self, used: Mapping[str, Usage]) -> None:
        """Add what judge calls cost, by evaluator, at once."""
        if not used:
            return
        key = self._key("usage")
        with reachable():
            pipe = self._redis.pipeline()
            for evaluator, usage in used.items():
                for what in _COUNTED:
                    if count := getattr(usage, what):
                        pipe.hincrby(key, f"{evaluator}/{what}", count)
                pipe.hincrbyfloat(key, f"{evaluator}/usd", usage.usd)
            pipe.execute()

    def spending(self) -> dict[str, Usage]:
        """Return what judge calls cost so far, by evaluator."""
        with reachable():
            counts = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("usage")))
        used: dict[str, Usage] = {}
        for name, count in counts.items():
            evaluator, what = name.decode().rsplit("/", 1)
            used[evaluator] = used.get(evaluator, Usage()) + _one_kind(what, float(count))
        return used

    def _key(self, name: str) -> str:
        return f"{self._namespace}:{name}"


def _field(name: tuple[str, ...]) -> bytes:
    return orjson.dumps(list(name))


def _one_kind(what: str, count: float) -> Usage:
    known: dict[str, Any] = {what: int(count)} if what in _COUNTED else {"usd": count} if what == "usd" else {}
    return Usage(**known)
