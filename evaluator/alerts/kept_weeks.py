"""Scores of finished weeks, kept in Redis: a daily look at sixteen weeks reads two of them from Langfuse, not all.

What is kept is read again after some days, each week on another day, so that what others wrote into the past is seen
within ten days; what we write into it ourselves (a backfill) is forgotten at once.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:week:MONDAY | hash | 4 to 10 days | monitor -> its scores of that week, packed | they are read from Langfuse |

No text is kept: values, times, weights, versions, segments, and sessions as a hash.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import orjson
import redis
import structlog

from evaluator.alerts.judged import Scores, judged
from evaluator.clock import Clock
from evaluator.errors import Unavailable
from evaluator.langfuse import Window
from evaluator.state.connection import reachable
from monitors import Judged, MonitorSpec
from monitors.series import WEEK
from traces import Score

Reading = Callable[[MonitorSpec, Window], Iterable[Judged]]

_FINISHED: Final = timedelta(days=8)
"""A week that ended so long ago: of younger ones people may be shown traces, and scores may still come."""

_EXPIRES: Final = timedelta(days=4)
_SPREAD: Final = 7
_LARGEST: Final = 4 << 20
"""Bytes of a week that is not kept: some 300,000 scores. Redis has the queue to hold."""

_FORM: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY: Final = datetime(1970, 1, 5, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_log = structlog.get_logger(__name__)


class KeptWeeks:
    """Reads scores as evidence, finished weeks from Redis where it has them."""

    def __init__(self, client: redis.Redis, namespace: str, langfuse: Scores, clock: Clock) -> None:
        self._redis = client
        self._prefix = f"{namespace}:week:"
        self._langfuse = langfuse
        self._clock = clock

    def read(self, spec: MonitorSpec, window: Window) -> Iterator[Judged]:
        """Give a window's scores that a monitor watches, and those of the rest of the week in which it begins.

        Raises:
            Unavailable, Refused: Langfuse.
        """
        start = _monday(window.start)
        while start + WEEK <= min(window.end, self._clock.now() - _FINISHED):
            yield from self._week(spec, start)
            start += WEEK
        if start < window.end:
            yield from judged(self._langfuse, spec, Window(start, window.end))

    def written(self, scores: Sequence[Score]) -> None:
        """Forget the weeks into which scores of ours were just written."""
        last = self._clock.now() - _FINISHED
        weeks = {_monday(score.timestamp) for score in scores if score.timestamp < last}
        if weeks:
            with reachable():
                self._redis.delete(*(self._key(week) for week in weeks))

    def _week(self, spec: MonitorSpec, start: datetime) -> Iterable[Judged]:
        key, name = self._key(start), _name(spec)
        try:
            with reachable():
                held = cast("bytes | None", self._redis.hget(key, name))
        except Unavailable:
            held = None
        if held is not None:
            return _unpacked(held)
        found = list(judged(self._langfuse, spec, Window(start, start + WEEK)))
        packed = _packed(found)
        if len(packed) > _LARGEST:
            _log.info("a week is too large to be kept", score=spec.key, scores=len(found), bytes=len(packed))
            return found
        try:
            with reachable():
                pipe = self._redis.pipeline()
                pipe.hset(key, name, packed)
                pipe.expire(key, _EXPIRES + timedelta(days=(start - _MONDAY) // WEEK % _SPREAD), nx=True)
                pipe.execute()
        except Unavailable as error:
            _log.warning("a finished week was not kept", score=spec.key, reason=str(error))
        return found

    def _key(self, week: datetime) -> str:
        return f"{self._prefix}{week:%Y-%m-%d}"


def _monday(at: datetime) -> datetime:
    return _MONDAY + (at - _MONDAY) // WEEK * WEEK


def _name(spec: MonitorSpec) -> str:
    """Return what tells apart which scores are watched, and how they count."""
    only = sorted((name, sorted(values)) for name, values in spec.where.items())
    what = orjson.dumps([_FORM, spec.score, sorted(spec.labels or ()), sorted(spec.environment or ()), only])
    return hashlib.blake2b(what, digest_size=12).hexdigest()


def _packed(scores: Iterable[Judged]) -> bytes:
    segments: dict[bytes, int] = {}
    versions: dict[str, int] = {}
    rows = [
        [
            score.value,
            (score.at - _EPOCH) // _MILLISECOND,
            score.weight,
            hashlib.blake2b((score.session or score.trace_id).encode(errors="replace"), digest_size=8).hexdigest(),
            segments.setdefault(orjson.dumps(dict(score.segments)), len(segments)),
            versions.setdefault(score.version, len(versions)),
            score.boolean,
        ]
        for score in scores
    ]
    columns = list(zip(*rows, strict=True))
    known = [orjson.loads(each) for each in segments]
    return zlib.compress(orjson.dumps({"segments": known, "versions": list(versions), "columns": columns}), 6)


def _unpacked(data: bytes) -> Iterator[Judged]:
    held: dict[str, Any] = orjson.loads(zlib.decompress(data))
    segments, versions = held["segments"], held["versions"]
    for value, at, weight, session, segment, version, boolean in zip(*held["columns"], strict=True):
        when = _EPOCH + at * _MILLISECOND
        yield Judged(value, when, "", weight, session, segments[segment], versions[version], "", boolean)
