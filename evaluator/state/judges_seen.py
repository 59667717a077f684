"""Who judged lately and since when, by rubric: noted by workers, so that a scheduler sees when somebody new does.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:judges:RUBRIC | zset | 90 days | models that answered, with the provider's setup, by first trace | seen again |

A process says again what it knows every hour: so a Redis that was wiped knows it soon, and who still judges is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import redis

from evaluator.state.connection import reachable
from judges import FINGERPRINT
from traces import Score

_KEPT: Final = timedelta(days=90)
_AGAIN_SECONDS: Final = 3600.0
_EARLIER: Final = 60.0
"""Seconds by which a trace must have ended earlier to be worth a word: a sweep goes from the newest to the oldest."""


class _Noted(NamedTuple):
    """When the earliest trace that somebody judged ended, and when Redis was told."""

    ended: float
    told: float


_NEVER: Final = _Noted(math.inf, -math.inf)


class JudgesSeen:
    """Named operations on who judged. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(
        self, client: redis.Redis, namespace: str, rubrics: Iterable[str], seconds: Callable[[], float]
    ) -> None:
        """Note only those who judge by these `rubrics`; `seconds` is a clock that never goes back."""
        self._redis = client
        self._prefix = f"{namespace}:judges:"
        self._seconds = seconds
        self._known: dict[str, dict[str, _Noted]] = {name: {} for name in rubrics}

    def written(self, scores: Sequence[Score]) -> None:
        """Note who gave scores that Langfuse accepted; Redis hears of each once an hour, and of earlier traces."""
        now = self._seconds()
        for score in scores:
            known = self._known.get(score.name)
            if known is None:
                continue
            ended = score.timestamp.timestamp()
            new: dict[str, float] = {}
            for judge in judges_of(score.metadata):
                before = known.get(judge, _NEVER)
                if ended < before.ended - _EARLIER or now - before.told >= _AGAIN_SECONDS:
                    new[judge] = min(ended, before.ended)
            if new:
                with reachable():
                    self._redis.zadd(self._prefix + score.name, new, lt=True)
                    self._redis.expire(self._prefix + score.name, _KEPT)
                known |= {judge: _Noted(first, now) for judge, first in new.items()}

    def of(self, rubric: str) -> dict[str, datetime]:
        """Return who judged by a rubric, and when the earliest trace ended that they judged."""
        with reachable():
            found = cast("list[tuple[bytes, float]]", self._redis.zrange(self._prefix + rubric, 0, -1, withscores=True))
        return {name.decode(): datetime.fromtimestamp(at, UTC) for name, at in found}


def judges_of(details: Mapping[str, Any]) -> set[str]:
    """Return who judged, by the details of a verdict or the metadata of a score: models with their configurations."""
    model = str(details.get("judge_model") or "")
    configurations = str(details.get(FINGERPRINT) or "").split(" + ")
    return {f"{model} {each}".strip() for each in configurations} if model else set()
