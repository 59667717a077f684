"""What became of traces, hour by hour, and which promises were kept. Knows its Redis keys.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:hour:HOUR | hash | 14 days | evaluator/state/reason -> count, by the hour in which traces ended | it is not shown |
| N:promised:HOUR | hash | 2 days | slot/evaluator/what -> count, by when live discovery handed traces over | as above |

Both are written by the scripts of fleet.py, with the totals and in the same step. An hour has twelve slots of five
minutes: so the age of what is pending is known to five minutes, at a few bytes a slot and evaluator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, cast

import redis

from evaluator.state.connection import reachable

HOURS_KEPT: Final = timedelta(days=14)
PROMISES_KEPT: Final = timedelta(days=2)
SLOT: Final = timedelta(minutes=5)

STATES: Final = ("filtered", "sampled_out", "shed", "sampled", "scored", "skipped", "unscored", "failed", "gone")
"""Every state of a trace and an evaluator, in the order in which they are reached."""

SAMPLED, KEPT, MISSED = "sampled", "kept", "missed"

_HOUR: Final = timedelta(hours=1)

Funnel = Counter[tuple[str, str, str]]
"""How many (trace, evaluator) pairs reached a state: (evaluator, state, reason) -> count."""


class Slot(NamedTuple):
    """A promise's place: the key of its hour, and the beginning of its fields there."""

    key: str
    field: str


@dataclass(frozen=True, slots=True)
class Promises:
    """What became of the pairs that were handed over in five minutes; what is neither kept nor missed is pending."""

    start: datetime
    evaluator: str
    sampled: int = 0
    kept: int = 0
    missed: int = 0

    @property
    def pending(self) -> int:
        """How many have not ended."""
        return max(0, self.sampled - self.kept - self.missed)


class Hours:
    """Reads both. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace

    def funnels(self, now: datetime, hours: int) -> dict[datetime, Funnel]:
        """Return what became of the traces that ended in each of the last `hours`, this one included, oldest first."""
        starts = _starts(now, hours)
        found = self._read([hour_key(self._namespace, "hour", start) for start in starts])
        return {start: funnel_of(counts) for start, counts in zip(starts, found, strict=True)}

    def promises(self, now: datetime, back: timedelta) -> list[Promises]:
        """Return the slots of the last `back`, by time and evaluator."""
        starts = _starts(now, int(back / _HOUR) + 2)
        found = self._read([hour_key(self._namespace, "promised", start) for start in starts])
        slots: dict[tuple[datetime, str], Counter[str]] = {}
        for start, counts in zip(starts, found, strict=True):
            for name, count in counts.items():
                slot, rest = name.decode().split("/", 1)
                evaluator, what = rest.rsplit("/", 1)
                slots.setdefault((start + int(slot) * SLOT, evaluator), Counter())[what] += int(count)
        return [
            Promises(at, evaluator, counts[SAMPLED], counts[KEPT], counts[MISSED])
            for (at, evaluator), counts in sorted(slots.items())
            if at > now - back - SLOT
        ]

    def _read(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(key)
            return cast("list[dict[bytes, bytes]]", pipe.execute())


def hour_key(namespace: str, kind: str, at: datetime) -> str:
    """Return the key of an hour."""
    return f"{namespace}:{kind}:{at.year:04}{at.month:02}{at.day:02}{at.hour:02}"


@lru_cache(maxsize=256)  # thousands of pairs are handed over in one second
def slot_of(namespace: str, handed: datetime) -> Slot:
    """Return where a promise given at a time is counted."""
    at = handed.astimezone(UTC)
    return Slot(hour_key(namespace, "promised", at), f"{at.minute // 5:02}")


def funnel_of(counts: Mapping[bytes, bytes]) -> Funnel:
    """Read a hash of `evaluator/state/reason` -> count."""
    return Counter({_three(name.decode()): int(count) for name, count in counts.items() if int(count)})


def _starts(now: datetime, hours: int) -> list[datetime]:
    this = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [this - back * _HOUR for back in range(hours - 1, -1, -1)]


def _three(name: str) -> tuple[str, str, str]:
    evaluator, state, reason = name.split("/", 2)
    return evaluator, state, reason
