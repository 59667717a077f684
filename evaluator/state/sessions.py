"""Which sessions wait until they have been idle for long enough: beside fleet.py the only module that knows its key.

N:sessions is a sorted set (table of keys: the package). A member is the idle time asked for (milliseconds) and the
session's id, its score when the session will have been idle for so long (milliseconds since 1970). A session is in it
from the moment a trace of it was found until it was taken, so the set is as large as the traffic of one idle time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, cast

import orjson
import redis

from evaluator.state.connection import reachable, scripts

_KEPT_BESIDE: Final = timedelta(days=7)
"""How long sessions are kept beside their idle time when nobody takes them: the last rubric on sessions was removed."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Waiting(NamedTuple):
    """A session, how long it must be idle, and the end of its last known trace, to the millisecond."""

    session_id: str
    idle: timedelta
    ended: datetime


class SessionState:
    """Sessions that saw activity. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._key = f"{namespace}:sessions"
        self._taken = client.register_script(scripts("sessions.lua")["taken"])

    def touch(self, ended: Mapping[str, datetime], idle: Iterable[timedelta]) -> None:
        """Let sessions wait from the given ends on, once for each idle time; an earlier end changes nothing."""
        idle = tuple(idle)
        due = {_member(i, each): _milliseconds(at + each) for i, at in ended.items() for each in idle}
        if not due:
            return
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zadd(self._key, due, gt=True)
            pipe.expire(self._key, max(idle) + _KEPT_BESIDE)
            pipe.execute()

    def due(self, until: datetime, most: int, skip: int = 0) -> list[Waiting]:
        """Return at most `most` sessions that have been idle for long enough at `until`, those due first first."""
        with reachable():
            found = cast(
                "list[tuple[bytes, float]]",
                self._redis.zrangebyscore(
                    self._key, "-inf", _milliseconds(until), start=skip, num=most, withscores=True
                ),
            )
        return [_waiting(member, due) for member, due in found]

    def taken(self, sessions: Sequence[Waiting]) -> None:
        """Let those sessions wait no longer which have not gone on since they were read."""
        rows = [(_member(each.session_id, each.idle), _milliseconds(each.ended + each.idle)) for each in sessions]
        if rows:
            with reachable():
                self._taken([self._key], [orjson.dumps(rows)])

    def number(self) -> int:
        """Return how many sessions wait; one counts for each idle time."""
        with reachable():
            return self._redis.zcard(self._key)


def _member(session_id: str, idle: timedelta) -> str:
    return f"{idle // _MILLISECOND}/{session_id}"


def _waiting(member: bytes, due: float) -> Waiting:
    idle, _, session_id = member.decode().partition("/")
    length = int(idle) * _MILLISECOND
    return Waiting(session_id, length, _EPOCH + int(due) * _MILLISECOND - length)


def _milliseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND
