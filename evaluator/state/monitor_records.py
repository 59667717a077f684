"""What monitors remember, and the messages that must go out with it, in Redis. Knows its Redis keys.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:monitor:NAME | string | for ever | state of a score's alert, of a judge, of a kind of notice | the scores tell |
| N:outbox | hash | until sent | messages not yet confirmed by Slack | **an unsent message is lost** |
| N:told | list | the last 200 | what people were told: time and text (alert_memory.py reads it) | it is not shown |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson
import redis

from evaluator.state.connection import reachable

_LOCK_SECONDS: Final = 30
"""A monitor is locked for as long as it takes to save it; the lock of one who died is in the way for so long."""

_MOST_TOLD: Final = 200


@dataclass(slots=True)
class MonitorRecord:
    """A monitor's state while it is locked; `outbox` takes the messages that must go out with the change."""

    state: dict[str, Any] | None
    outbox: dict[str, dict[str, Any]] = field(default_factory=dict)


class MonitorRecords:
    """Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        """Use `client`."""
        self._redis = client
        self._namespace = namespace

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[MonitorRecord]:
        """Lock a monitor's state; on a clean exit state and outbox are saved together, else nothing changes."""
        key = self._key(f"monitor:{name}")
        lock = self._redis.lock(f"{key}:lock", timeout=_LOCK_SECONDS, blocking_timeout=2 * _LOCK_SECONDS)
        with reachable(), lock:
            data = cast("bytes | None", self._redis.get(key))
            record = MonitorRecord(None if data is None else orjson.loads(data))
            yield record
            pipe = self._redis.pipeline()
            pipe.set(key, orjson.dumps(record.state))
            for message, payload in record.outbox.items():
                pipe.hset(self._key("outbox"), message, orjson.dumps(payload))
                told = {"at": payload.get("at"), "text": payload.get("message", {}).get("text", message)}
                pipe.lpush(self._key("told"), orjson.dumps(told))
                pipe.ltrim(self._key("told"), 0, _MOST_TOLD - 1)
            pipe.execute()

    def outbox(self) -> dict[str, dict[str, Any]]:
        """Return the messages whose delivery nobody has confirmed, in the order in which they were written."""
        with reachable():
            waiting = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("outbox")))
        found = [(name.decode(), orjson.loads(data)) for name, data in waiting.items()]
        return dict(sorted(found, key=lambda each: (each[1].get("at", ""), each[0])))

    def sent(self, message: str) -> int:
        """Confirm a delivery; return how many that were, none when somebody else has confirmed it."""
        with reachable():
            return self._redis.hdel(self._key("outbox"), message)

    def _key(self, name: str) -> str:
        return f"{self._namespace}:{name}"
