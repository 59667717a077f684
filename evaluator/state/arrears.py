"""What waits for money, for rubrics with `catch_up`: where it is, and what is taken up again. Knows its Redis keys.

Pairs that were already handed to workers when the money ran out are parked: packed lists of jobs beside the queue, a
quarter of what they took in it. What finishes later is not even handed out: only the window of time is noted, and
Langfuse keeps the traces. So a million of them wait in a few hundred bytes. The keys stand in the package's table.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

import orjson
import redis

from evaluator.sampling.jobs import Job, from_message, to_message
from evaluator.state.connection import reachable


class Span(NamedTuple):
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime


class Arrears:
    """Named operations on what waits for money. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace

    def park(self, jobs: Iterable[Job]) -> None:
        """Keep jobs until there is money for their evaluators."""
        of: dict[str, list[Job]] = {}
        for job in jobs:
            for sampled in job.samples:
                of.setdefault(sampled.evaluator, []).append(Job(job.ref, (sampled,), job.attempt, origin=job.origin))
        with reachable():
            pipe = self._redis.pipeline()
            for evaluator, parked in of.items():
                pipe.rpush(self._list(evaluator), _packed(parked))
                pipe.sadd(self._ids(evaluator), *(job.ref.id for job in parked))
                pipe.hincrby(self._key("parked"), evaluator, len(parked))
            pipe.execute()

    def parked(self) -> dict[str, int]:
        """Return how many pairs are parked, by evaluator; one that was parked again by a backfill is one."""
        with reachable():
            counts = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("parked")))
            jobs = {name.decode(): int(count) for name, count in counts.items() if int(count) > 0}
            pipe = self._redis.pipeline(transaction=False)
            for name in jobs:
                pipe.scard(self._ids(name))
            # A release that kept no ids may have parked all there is, and a pair's second copy outlives its id.
            return {name: number or jobs[name] for name, number in zip(jobs, pipe.execute(), strict=True)}

    def first_parked(self, evaluator: str) -> Sequence[Job]:
        """Return the jobs of an evaluator that were parked first together; they stay until `unpark`."""
        with reachable():
            packed = cast("bytes | None", self._redis.lindex(self._list(evaluator), 0))
        return [] if packed is None else _unpacked(packed)

    def unpark(self, evaluator: str, jobs: Sequence[Job]) -> None:
        """Forget what `first_parked` returned: it was handed out."""
        with reachable():
            pipe = self._redis.pipeline()
            pipe.lpop(self._list(evaluator))
            pipe.srem(self._ids(evaluator), *(job.ref.id for job in jobs))
            pipe.hincrby(self._key("parked"), evaluator, -len(jobs))
            pipe.execute()

    def owe(self, evaluator: str, span: Span) -> None:
        """Note that what ended within a span of time is left to later; it continues the last one where they meet."""
        spans = self.owed().get(evaluator, [])
        if spans and spans[-1].end >= span.start:
            last = spans.pop()
            span = Span(min(last.start, span.start), max(last.end, span.end))
        self._keep(evaluator, [*spans, span])

    def owed(self) -> dict[str, list[Span]]:
        """Return the spans of time that are left to later, by evaluator, oldest first."""
        with reachable():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("owed")))
        return {
            name.decode(): [Span(*map(datetime.fromisoformat, span)) for span in orjson.loads(spans)]
            for name, spans in kept.items()
        }

    def caught_up(self, evaluator: str, until: datetime) -> None:
        """Note that what ended before `until` has been taken up."""
        spans = [span for span in self.owed().get(evaluator, []) if span.end > until]
        self._keep(evaluator, [span._replace(start=max(span.start, until)) for span in spans])

    def _keep(self, evaluator: str, spans: Sequence[Span]) -> None:
        with reachable():
            if spans:
                written = [[span.start.isoformat(), span.end.isoformat()] for span in spans]
                self._redis.hset(self._key("owed"), evaluator, orjson.dumps(written))
            else:
                self._redis.hdel(self._key("owed"), evaluator)

    def _list(self, evaluator: str) -> str:
        return self._key("parked", evaluator)

    def _ids(self, evaluator: str) -> str:
        return self._key("parked", "ids", evaluator)

    def _key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))


def _packed(jobs: Sequence[Job]) -> bytes:
    return zlib.compress(orjson.dumps(to_message(jobs)), 9)


def _unpacked(packed: bytes) -> Sequence[Job]:
    message: Mapping[str, object] = orjson.loads(zlib.decompress(packed))
    return from_message(message)
