"""What golden tests last came to, in Redis: those who look at an evaluator see whether its judge passes its own tests.

One key, beside those of `state`: N:tests, a hash of rubric -> when, which version, how many as expected. Figures only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import orjson
import redis

from evaluator.state.connection import reachable


@dataclass(frozen=True, slots=True)
class KeptTest:
    """What the golden tests of a rubric came to when they last ran.

    Attributes:
        at: when that was.
        version: of the rubric that was tested.
        passed, failed, unasked: how many examples were as expected, were not, or could not be asked.
        flaky: how many were answered differently when asked again.
        repeat: how often each was asked.
    """

    at: datetime
    version: str
    passed: int
    failed: int
    unasked: int
    flaky: int = 0
    repeat: int = 1

    @property
    def number(self) -> int:
        """How many examples there are."""
        return self.passed + self.failed + self.unasked

    @property
    def results(self) -> dict[str, int]:
        """How many examples there are, by what they came to."""
        return {"passed": self.passed, "failed": self.failed, "not_asked": self.unasked}

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        about = {"at": self.at.isoformat(), "version": self.version, "repeat": self.repeat}
        return {**about, **self.results, "flaky": self.flaky}


class KeptTests:
    """Results by rubric. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._key = f"{namespace}:tests"

    def all(self) -> dict[str, KeptTest]:
        """Return what is known, by rubric."""
        with reachable():
            held = cast("dict[bytes, bytes]", self._redis.hgetall(self._key))
        read = {name.decode(): _read(data) for name, data in held.items()}
        return {name: kept for name, kept in read.items() if kept is not None}

    def keep(self, tests: Mapping[str, KeptTest]) -> None:
        """Keep what tests came to, by rubric.

        A rubric of which no judge could be asked keeps what it had: nothing was learned about it.
        """
        told: dict[Any, Any] = {
            name: orjson.dumps(kept.as_json()) for name, kept in tests.items() if kept.unasked < kept.number
        }
        if told:
            with reachable():
                self._redis.hset(self._key, mapping=told)


def _read(data: bytes) -> KeptTest | None:
    """Read what was kept; None for what another release wrote in a form unknown here: it is tested again some day."""
    try:
        held = orjson.loads(data)
        counts = (held[each] for each in ("passed", "failed", "not_asked", "flaky", "repeat"))
        return KeptTest(datetime.fromisoformat(held["at"]), held["version"], *counts)
    except (ValueError, KeyError, TypeError):
        return None
