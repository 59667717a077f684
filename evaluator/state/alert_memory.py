"""What is remembered of alerts beside their states, in Redis: what people said of a score, and where messages went.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:marks | hash | until over or forgotten | kind/monitor -> snooze, expected change | said again, or in monitors.yaml |
| N:places | hash | for ever | alert -> the message that opened it, at Slack | it is looked for in the channel |
| N:told | list | the last 200 | what people were told: time and text | it is not shown |
| N:deliveries | hash | until sent | destination/message -> "" when it has it, else why not | it may get it again |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, cast

import orjson
import redis

from evaluator.state.connection import reachable

DONE: Final = ""
"""What stands for a delivery that is confirmed, in the place of a reason."""


class Kind(StrEnum):
    """What somebody says of a score."""

    SNOOZE = "snooze"
    EXPECT = "expect"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was said on the command line: a snooze until `at`, or a change that is expected from `at` on."""

    kind: Kind
    monitor: str
    at: datetime
    why: str = ""


class AlertMemory:
    """Named operations. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace

    def states(self, monitors: Iterable[str]) -> dict[str, dict[str, Any] | None]:
        """Return the states of monitors, None of those that were never looked at; nothing is locked."""
        keys = list(monitors)
        if not keys:
            return {}
        with reachable():
            found = cast("list[bytes | None]", self._redis.mget([self._key("monitor", key) for key in keys]))
        return {key: None if data is None else orjson.loads(data) for key, data in zip(keys, found, strict=True)}

    def mark(self, mark: Mark) -> None:
        """Keep what somebody says; of each kind a monitor has one, the last that was said."""
        data = orjson.dumps({"at": mark.at.isoformat(), "why": mark.why})
        with reachable():
            self._redis.hset(self._key("marks"), f"{mark.kind}/{mark.monitor}", data)

    def unmark(self, monitor: str) -> int:
        """Forget what was said of a monitor; return how much it was."""
        with reachable():
            fields = [f"{kind}/{monitor}" for kind in Kind]
            return self._redis.hdel(self._key("marks"), *fields)

    def marks(self) -> list[Mark]:
        """Return everything that was said and not forgotten, by monitor."""
        with reachable():
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("marks")))
        read = []
        for name, data in found.items():
            kind, monitor = name.decode().split("/", 1)
            kept = orjson.loads(data)
            read.append(Mark(Kind(kind), monitor, datetime.fromisoformat(kept["at"]), kept["why"]))
        return sorted(read, key=lambda mark: (mark.monitor, mark.kind))

    def told(self) -> list[tuple[datetime | None, str]]:
        """Return what people were told last, newest first: when it was put on its way, and its text."""
        with reachable():
            found = cast("list[bytes]", self._redis.lrange(self._key("told"), 0, -1))
        kept = map(orjson.loads, found)
        return [(datetime.fromisoformat(each["at"]) if each["at"] else None, each["text"]) for each in kept]

    def place(self, alert: str) -> str | None:
        """Return where the message is that opened an alert; None when nobody knows."""
        with reachable():
            found = cast("bytes | None", self._redis.hget(self._key("places"), alert))
        return None if found is None else found.decode()

    def keep_place(self, alert: str, place: str) -> None:
        """Remember where the message is that opened an alert."""
        with reachable():
            self._redis.hset(self._key("places"), alert, place)

    def deliveries(self) -> dict[tuple[str, str], str]:
        """Return how (destination, message) went, of messages not all have: DONE, or why it did not."""
        with reachable():
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("deliveries")))
        pairs = ((name.decode().split("/", 1), said.decode()) for name, said in found.items())
        return {(destination, message): said for (destination, message), said in pairs}

    def delivered(self, destination: str, message: str, said: str = DONE) -> None:
        """Remember how a delivery went."""
        with reachable():
            self._redis.hset(self._key("deliveries"), f"{destination}/{message}", said)

    def forget_deliveries(self, message: str, destinations: Iterable[str]) -> None:
        """Forget how the deliveries of a message went: every destination has it."""
        with reachable():
            self._redis.hdel(self._key("deliveries"), *(f"{each}/{message}" for each in destinations))

    def _key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))
