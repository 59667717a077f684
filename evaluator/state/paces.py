"""When the fleet last let fewer calls of a model through, in Redis: what one process met, the others need not meet too.

Keys, beside those of `state`. Should they vanish, each process goes by what it meets itself.

| key | type | kept for | holds |
|---|---|---|---|
| N:pace:MODEL | hash | 2 minutes | when calls were last cut (by Redis's clock), and to how many of a process |
| N:slowed:MODEL | string | 10 seconds | how many calls a process has now, at most, and why: for people |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import orjson
import redis

from evaluator.state.connection import reachable, scripts

_KEPT_MILLISECONDS: Final = 120_000
"""By then those who were cut have most of their calls back."""

_TOLD_MILLISECONDS: Final = 10_000
"""Processes say every second how far they are slowed down, as long as they make calls."""


class Cut(NamedTuple):
    """When calls of a model were cut, in milliseconds by Redis's clock, and how many a process had from then on."""

    at: int
    calls: int


class Slowed(NamedTuple):
    """How many calls of a model a process has in the air now, of how many at most, and why."""

    calls: int
    most: int
    why: str


class Paces:
    """Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        """Use `client`."""
        self._client = client
        self._namespace = namespace
        self._slow = client.register_script(scripts("paces.lua")["slow"])

    def look(self, models: Sequence[str]) -> dict[str, Cut]:
        """Return the last cut of each of some models that had one lately."""
        with reachable():
            pipeline = self._client.pipeline(transaction=False)
            for model in models:
                pipeline.hmget(self._key(model), "at", "calls")
            found = pipeline.execute()
        return {
            model: Cut(int(at), int(calls))
            for model, (at, calls) in zip(models, found, strict=True)
            if at is not None and calls is not None
        }

    def cut(self, model: str, known: int, calls: int) -> tuple[int, bool]:
        """Tell the fleet to have fewer calls of a model in the air.

        Args:
            model: which.
            known: when the last cut was that the caller knows of; 0 for none.
            calls: how many the caller has from now on.

        Returns:
            When the cut was that counts, and whether it is this one: somebody else may have met the same before.
        """
        with reachable():
            answer = self._slow([self._key(model)], [known, calls, _KEPT_MILLISECONDS])
        at, mine = cast("list[Any]", answer)
        return int(at), bool(mine)

    def tell(self, slowed: Mapping[str, Slowed]) -> None:
        """Say how far this process slows models down; it holds for some seconds."""
        with reachable():
            pipeline = self._client.pipeline(transaction=False)
            for model, known in slowed.items():
                pipeline.set(self._slowed(model), orjson.dumps(list(known)), px=_TOLD_MILLISECONDS)
            pipeline.execute()

    def slowed(self, models: Iterable[str]) -> dict[str, Slowed]:
        """Return how far some models are slowed down now, as one process of the fleet says; others are not."""
        names = list(models)
        if not names:
            return {}
        with reachable():
            kept = cast("list[bytes | None]", self._client.mget([self._slowed(name) for name in names]))
        return {name: Slowed(*orjson.loads(data)) for name, data in zip(names, kept, strict=True) if data is not None}

    def _slowed(self, model: str) -> str:
        return f"{self._namespace}:slowed:{model}"

    def _key(self, model: str) -> str:
        return f"{self._namespace}:pace:{model}"
