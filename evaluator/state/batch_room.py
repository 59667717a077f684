"""Questions for the provider's batch API, in Redis: those that wait, those in a batch, and what came of them.

Keys, beside those of `state`; a pair is TRACE/EVALUATOR. Ids and replies, no prompts: those are made again from the
trace. Should all of it vanish, the traces of the overlap are found again, and paid for again.

| key | type | holds |
|---|---|---|
| N:batch:waiting | hash | pair -> the job, and how often it was sent in vain |
| N:batch:since | zset | pair -> since when it waits |
| N:batch:sent | hash | label of a batch -> the provider's id, and when it was sent |
| N:batch:lines:LABEL | hash | id of a question -> pair, job, what reads its reply |
| N:batch:in | hash | pair -> label of the batch it is in |
| N:batch:replies:TRACE | hash | evaluator@version -> its reply, or that it is to be asked alone; for 2 days |
| N:batch:pause | string | no batch is sent while it is there |
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import orjson
import redis

from evaluator.sampling.jobs import Job, from_message, to_message
from evaluator.state.connection import reachable
from judges import Reply
from traces import Usage

_REPLIES_KEPT: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Pair:
    """One trace for one evaluator: a job with a single sample. `tries` counts the batches it was in, in vain."""

    job: Job
    tries: int = 0

    @property
    def name(self) -> str:
        """The pair's name in the room."""
        return f"{self.job.ref.id}/{self.job.samples[0].evaluator}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch on its way. `batch` is the provider's id, empty while nobody has confirmed that it was made."""

    label: str
    at: datetime
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a batch: its pair, its model, and what reads its reply (`evaluator@version`)."""

    pair: Pair
    model: str
    memory: str


class BatchRoom:
    """Named operations on the room. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._prefix = f"{namespace}:batch"

    def wait(self, jobs: Iterable[Job], now: datetime) -> None:
        """Let jobs of one sample each wait for a batch; those that wait already, or are in one, stay as they are."""
        pairs = {pair.name: pair for pair in map(Pair, jobs)}
        if not pairs:
            return
        with reachable():
            held = cast("list[bytes | None]", self._redis.hmget(self._key("in"), list(pairs)))
            pipe = self._redis.pipeline()
            for (name, pair), label in zip(pairs.items(), held, strict=True):
                if label is None:
                    pipe.hsetnx(self._key("waiting"), name, _pair_text(pair))
                    pipe.zadd(self._key("since"), {name: now.timestamp()}, nx=True)
            pipe.execute()

    def first(self, most: int) -> list[Pair]:
        """Return those who wait, the longest waiting first."""
        with reachable():
            names = cast("list[bytes]", self._redis.zrange(self._key("since"), 0, most - 1))
            held = cast("list[bytes | None]", self._redis.hmget(self._key("waiting"), names)) if names else []
        return [_pair(data) for data in held if data is not None]

    def waiting(self) -> tuple[int, datetime | None]:
        """Return how many wait, and since when the first does."""
        with reachable():
            number = self._redis.zcard(self._key("since"))
            first = cast("list[tuple[bytes, float]]", self._redis.zrange(self._key("since"), 0, 0, withscores=True))
        return number, datetime.fromtimestamp(first[0][1], UTC) if first else None

    def asked(self) -> int:
        """Return how many pairs are in a batch."""
        with reachable():
            return self._redis.hlen(self._key("in"))

    def begin(self, label: str, lines: Mapping[str, Asked], now: datetime) -> None:
        """Take pairs from those who wait and put them into a batch that is about to be sent."""
        names = [line.pair.name for line in lines.values()]
        with reachable():
            pipe = self._redis.pipeline()
            pipe.hset(self._key("lines", label), mapping={name: _asked_text(line) for name, line in lines.items()})
            pipe.hset(self._key("sent"), label, orjson.dumps({"at": now.isoformat(), "batch": ""}))
            pipe.hset(self._key("in"), mapping=dict.fromkeys(names, label))
            pipe.hdel(self._key("waiting"), *names)
            pipe.zrem(self._key("since"), *names)
            pipe.execute()

    def confirm(self, sent: Sent, batch: str) -> None:
        """Note under which id the provider made a batch."""
        with reachable():
            data = orjson.dumps({"at": sent.at.isoformat(), "batch": batch})
            self._redis.hset(self._key("sent"), sent.label, data)

    def sent(self) -> list[Sent]:
        """Return the batches on their way."""
        with reachable():
            held = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("sent")))
        read = ((label.decode(), orjson.loads(data)) for label, data in held.items())
        return [Sent(label, datetime.fromisoformat(data["at"]), data["batch"]) for label, data in read]

    def lines(self, label: str) -> dict[str, Asked]:
        """Return the questions of a batch, by id."""
        with reachable():
            held = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("lines", label)))
        return {name.decode(): _asked(data) for name, data in held.items()}

    def answer(self, replies: Iterable[tuple[Asked, Reply | None]]) -> None:
        """Keep what came of questions: a reply, or None when they are to be asked alone."""
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for line, reply in replies:
                key = self._key("replies", line.pair.job.ref.id)
                pipe.hset(key, line.memory, orjson.dumps(None if reply is None else asdict(reply)))
                pipe.expire(key, _REPLIES_KEPT)
            pipe.execute()

    def answers(self, trace_ids: Collection[str]) -> dict[tuple[str, str], Reply | None]:
        """Return what `answer` kept, by trace and evaluator@version; None is to be asked alone."""
        ids = list(trace_ids)
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for trace_id in ids:
                pipe.hgetall(self._key("replies", trace_id))
            found = pipe.execute()
        return {
            (trace_id, memory.decode()): _reply(data)
            for trace_id, replies in zip(ids, found, strict=True)
            for memory, data in replies.items()
        }

    def end(self, sent: Sent, again: Sequence[Pair], now: datetime) -> None:
        """Forget a batch; pairs to send `again` wait anew, all in one step."""
        with reachable():
            names = [line.pair.name for line in self.lines(sent.label).values()]
            pipe = self._redis.pipeline()
            pipe.delete(self._key("lines", sent.label))
            pipe.hdel(self._key("sent"), sent.label)
            if names:
                pipe.hdel(self._key("in"), *names)
            for pair in again:
                pipe.hset(self._key("waiting"), pair.name, _pair_text(pair))
                pipe.zadd(self._key("since"), {pair.name: now.timestamp()})
            pipe.execute()

    def drop(self, pairs: Sequence[Pair]) -> None:
        """Let pairs wait no longer."""
        if pairs:
            with reachable():
                pipe = self._redis.pipeline()
                pipe.hdel(self._key("waiting"), *(pair.name for pair in pairs))
                pipe.zrem(self._key("since"), *(pair.name for pair in pairs))
                pipe.execute()

    def pause(self, duration: timedelta) -> None:
        """Send no batch for so long."""
        with reachable():
            self._redis.set(self._key("pause"), b"1", ex=duration)

    def go_on(self) -> None:
        """Send batches again."""
        with reachable():
            self._redis.delete(self._key("pause"))

    def is_paused(self) -> bool:
        """Whether no batch is to be sent now."""
        with reachable():
            return bool(self._redis.exists(self._key("pause")))

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))


def _pair_text(pair: Pair) -> bytes:
    return orjson.dumps({"job": to_message([pair.job]), "tries": pair.tries})


def _pair(data: bytes) -> Pair:
    held = orjson.loads(data)
    return Pair(from_message(held["job"])[0], held["tries"])


def _asked_text(line: Asked) -> bytes:
    pair = {"job": to_message([line.pair.job]), "tries": line.pair.tries}
    return orjson.dumps({"pair": pair, "model": line.model, "memory": line.memory})


def _asked(data: bytes) -> Asked:
    held = orjson.loads(data)
    pair = Pair(from_message(held["pair"]["job"])[0], held["pair"]["tries"])
    return Asked(pair, held["model"], held["memory"])


def _reply(data: bytes) -> Reply | None:
    held: Any = orjson.loads(data)
    return None if held is None else Reply(**{**held, "usage": Usage(**held["usage"])})
