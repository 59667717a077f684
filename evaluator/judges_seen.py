"""Who judged lately, by rubric: noted by workers, so that a scheduler sees when somebody new does.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:judges:RUBRIC | set | 90 days | models that answered, and the provider's name of each setup | seen again |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import redis

from evaluator.connection import reachable
from judges import FINGERPRINT
from traces import Score

_KEPT: Final = timedelta(days=90)


class JudgesSeen:
    """Named operations on who judged. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str, rubrics: Iterable[str]) -> None:
        """Note only those who judge by these `rubrics`."""
        self._redis = client
        self._prefix = f"{namespace}:judges:"
        self._known: dict[str, set[str]] = {name: set() for name in rubrics}

    def written(self, scores: Sequence[Score]) -> None:
        """Note who gave scores that Langfuse accepted; Redis hears of each of them once a process."""
        for score in scores:
            known = self._known.get(score.name)
            if known is None:
                continue
            new = judges_of(score.metadata) - known
            if new:
                with reachable():
                    self._redis.sadd(self._prefix + score.name, *new)
                    self._redis.expire(self._prefix + score.name, _KEPT)
                known |= new

    def of(self, rubric: str) -> set[str]:
        """Return who judged by a rubric."""
        with reachable():
            found = cast("set[bytes]", self._redis.smembers(self._prefix + rubric))
        return {each.decode() for each in found}


def judges_of(details: Mapping[str, Any]) -> set[str]:
    """Return who judged, by the details of a verdict or the metadata of a score: models with their configurations."""
    model = str(details.get("judge_model") or "")
    configurations = str(details.get(FINGERPRINT) or "").split(" + ")
    return {f"{model} {each}".strip() for each in configurations} if model else set()
