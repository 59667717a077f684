"""Work that was given up: kept for thirty days, looked at, taken up again or dropped. Knows its Redis keys.

A letter is replayed in three steps: the state `failed` is taken from its pair, its job is put on the queue, the letter
goes. A crash in between leaves the letter, marked as begun: to replay it again puts the job again, which is harmless,
since scores have deterministic ids, and takes the state no second time. The keys stand in the package's table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

import orjson
import redis

from evaluator.sampling.jobs import Enqueue, Job, from_message, to_message
from evaluator.state.connection import reachable, scripts
from traces import Ref

DEAD_KEPT: Final = timedelta(days=30)
_MOST_DEAD: Final = 100_000
_AT_ONCE: Final = 500
_FEW: Final = 2_000
"""So many letters are counted anew whenever some were taken away."""

_RECOUNT: Final = timedelta(minutes=1)
_TRUSTED: Final = timedelta(hours=1)
"""How long what was counted stands when nothing speaks against it."""

_KIND: Final = re.compile(rb'"reason":"([^:"\\]*)')
"""The kind of failure in the text of a letter; what an id holds like it has backslashes."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Work that was given up: what, why and when. `begun` tells that a replay of it did not come to its end."""

    job: Job
    reason: str
    at: datetime
    begun: bool = False

    @property
    def evaluator(self) -> str:
        """Who gave up."""
        return self.job.samples[0].evaluator

    @property
    def id(self) -> str:
        """The pair it is about: the id of a trace or session, and the evaluator."""
        return f"{self.job.ref.id}/{self.evaluator}"

    @property
    def kind(self) -> str:
        """The kind of failure, which is the first word of its reason: bad_answer, worker_error, ..."""
        return self.reason.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters somebody means; without a word about something, every one.

    Attributes:
        ids: theirs, or the ids of their traces.
        kinds: of failure.
        evaluators: who gave up.
        older_than: when they were given up, before now.
    """

    ids: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    evaluators: frozenset[str] = frozenset()
    older_than: timedelta = timedelta()

    def chosen(self, letters: Iterable[DeadLetter], now: datetime) -> list[DeadLetter]:
        """Return those of the letters that are meant."""
        return [
            letter
            for letter in letters
            if (not self.ids or letter.id in self.ids or letter.job.ref.id in self.ids)
            and (not self.kinds or letter.kind in self.kinds)
            and (not self.evaluators or letter.evaluator in self.evaluators)
            and now - letter.at >= self.older_than
        ]


class Replayed(NamedTuple):
    """How many letters were put back on the queue, and how many were gone, or of no use any more."""

    put: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Tally:
    """How many letters of each kind there were at a time, those up to the time `last`, in seconds since 1970."""

    at: datetime | None = None
    last: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)


class DeadLetters:
    """Named operations on dead letters. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str, keep: int, settled: Callable[[Ref], str]) -> None:
        """Use `client`; `settled` names the key of a pair's terminal state, which stays for `keep` seconds."""
        self._redis = client
        self._keep = keep
        self._settled = settled
        self._outcomes = f"{namespace}:outcomes:"
        self._funnel = f"{namespace}:funnel"
        self.keys = [f"{namespace}:dead", f"{namespace}:dead:at"]
        self._begun, self._counts = f"{namespace}:dead:begun", f"{namespace}:dead:counts"
        self._tally = _Tally()
        self._scripts = {name: client.register_script(body) for name, body in scripts("dead_letters.lua").items()}

    def letters(self) -> list[DeadLetter]:
        """Return every letter, oldest first."""
        with reachable():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(self.keys[0]))
            begun = cast("dict[bytes, bytes]", self._redis.hgetall(self._begun))
        return sorted((_read(text, begun.get(pair)) for pair, text in kept.items()), key=lambda letter: letter.at)

    def newest(self, most: int) -> list[DeadLetter]:
        """Return the newest letters, those first, `most` of them."""
        with reachable():
            pairs = cast("list[bytes]", self._redis.zrevrange(self.keys[1], 0, most - 1))
        return self._of(pairs)

    def about(self, ref_id: str, evaluators: Iterable[str]) -> list[DeadLetter]:
        """Return the letters of one trace or session that these evaluators left."""
        return self._of([f"{ref_id}/{name}".encode() for name in evaluators])

    def kinds(self, now: datetime) -> Counter[str]:
        """Return how many letters there are of each kind of failure.

        All are read once; then only what is new, and all again when some were taken away: at most once a minute where
        there are many, so that who looks every few seconds costs Redis little. Until then they may be counted still.
        """
        dead, at = self.keys
        with reachable():
            held, newest = (
                self._redis.hlen(dead),
                cast("list[tuple[bytes, float]]", self._redis.zrange(at, -1, -1, withscores=True)),
            )
        tally, last = self._tally, newest[0][1] if newest else 0.0
        if tally.at is not None and last > tally.last:
            with reachable():
                pairs = cast("list[bytes]", self._redis.zrangebyscore(at, f"({tally.last}", last))
                texts = cast("list[bytes | None]", self._redis.hmget(dead, pairs)) if pairs else []
            tally = _Tally(tally.at, last, tally.kinds + Counter(_kind(text) for text in texts if text is not None))
        age = _TRUSTED if tally.at is None else abs(now - tally.at)
        if age >= _TRUSTED or (tally.kinds.total() != held and (held <= _FEW or age >= _RECOUNT)):
            tally = _Tally(now, last, Counter(map(_kind, self._every_text())))
        self._tally = tally
        return Counter(tally.kinds)

    def counts(self) -> Counter[str]:
        """Return how many letters were `replayed` and how many `dropped`, for ever."""
        with reachable():
            counts = cast("dict[bytes, bytes]", self._redis.hgetall(self._counts))
        return Counter({name.decode(): int(count) for name, count in counts.items()})

    def replay(self, letters: Sequence[DeadLetter], put: Enqueue, size: int) -> Replayed:
        """Put the jobs of letters back on the queue, from their first attempt on, and forget the letters.

        Args:
            letters: which.
            put: takes jobs as one message.
            size: traces of one message.
        """
        total = Replayed()
        for lot in _lots(letters):
            begun = self._run("begin", lot)
            may_go = [letter for letter, answer in zip(lot, begun, strict=True) if answer]
            jobs = _jobs(may_go)
            for start in range(0, len(jobs), size):
                put(jobs[start : start + size])
            self._run("finish", may_go)
            total = Replayed(total.put + len(may_go), total.gone + len(lot) - len(may_go))
        return total

    def drop(self, letters: Sequence[DeadLetter]) -> int:
        """Forget letters for good; their pairs stay failed. Return how many there were."""
        return sum(sum(self._run("drop", lot)) for lot in _lots(letters))

    def forget_old(self, written: Sequence[datetime]) -> None:
        """Forget what is too old, or too much, once letters were written at these times."""
        if not written:
            return
        dead, at = self.keys
        with reachable():
            old = cast("list[bytes]", self._redis.zrangebyscore(at, 0, (max(written) - DEAD_KEPT).timestamp()))
            old += cast("list[bytes]", self._redis.zrange(at, 0, -_MOST_DEAD - 1))
            if old:
                self._redis.hdel(dead, *old)
                self._redis.hdel(self._begun, *old)
                self._redis.zrem(at, *old)

    def _of(self, pairs: Sequence[bytes]) -> list[DeadLetter]:
        if not pairs:
            return []
        with reachable():
            texts = cast("list[bytes | None]", self._redis.hmget(self.keys[0], cast("list[str]", pairs)))
            begun = cast("list[bytes | None]", self._redis.hmget(self._begun, cast("list[str]", pairs)))
        return [_read(text, since) for text, since in zip(texts, begun, strict=True) if text is not None]

    def _every_text(self) -> Iterator[bytes]:
        with reachable():
            for _, text in self._redis.hscan_iter(self.keys[0], count=_AT_ONCE):
                yield cast("bytes", text)

    def _run(self, script: str, letters: Sequence[DeadLetter]) -> list[int]:
        if not letters:
            return []
        keys = [self._funnel, *self.keys, self._begun, self._counts]
        for letter in letters:
            keys += [self._settled(letter.job.ref), self._outcomes + letter.job.ref.id]
        rows = [[letter.job.ref.id, letter.evaluator, letter.kind, letter.at.isoformat()] for letter in letters]
        with reachable():
            return cast("list[int]", self._scripts[script](keys, [self._keep, orjson.dumps(rows)]))


def text_of(letter: DeadLetter) -> str:
    """Return a letter as it is kept."""
    kept = {"message": to_message([letter.job]), "reason": letter.reason, "at": letter.at.isoformat()}
    return orjson.dumps(kept).decode()


def _read(text: bytes, begun: bytes | None) -> DeadLetter:
    kept: Mapping[str, Any] = orjson.loads(text)
    at = kept["at"]
    is_begun = begun is not None and begun.decode() == at
    return DeadLetter(from_message(kept["message"])[0], kept["reason"], datetime.fromisoformat(at), is_begun)


def _kind(text: bytes) -> str:
    found = _KIND.search(text)
    return found[1].decode() if found else ""


def _jobs(letters: Iterable[DeadLetter]) -> list[Job]:
    """Return the jobs of letters at their first attempt, one for each trace or session."""
    found: dict[str, Job] = {}
    for letter in letters:
        job = replace(letter.job, attempt=0)
        known = found.get(job.ref.id)
        found[job.ref.id] = job if known is None else replace(known, samples=known.samples + job.samples)
    return list(found.values())


def _lots(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    for start in range(0, len(letters), _AT_ONCE):
        yield letters[start : start + _AT_ONCE]
