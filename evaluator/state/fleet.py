"""What the fleet remembers: claims, states, outcomes, leases, monitors. The keys: see __init__.py."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple, cast

import orjson
import redis

from evaluator.sampling.jobs import Job
from evaluator.sampling.overload import Load
from evaluator.state.connection import reachable, scripts
from evaluator.state.counters import Counters
from evaluator.state.coverage import is_kept
from evaluator.state.dead_letters import DeadLetter, DeadLetters, text_of
from evaluator.state.hours import HOURS_KEPT, KEPT, MISSED, PROMISES_KEPT, Funnel, Hours, funnel_of, hour_key, slot_of
from evaluator.state.monitor_records import MonitorRecord, MonitorRecords
from evaluator.state.token_limits import TokenLimits
from traces import Outcome, Ref, SessionRef, TraceRef, Usage, outcome_from_json, outcome_to_json

_OUTCOMES_KEPT: Final = timedelta(days=2)
_HOUR: Final = timedelta(hours=1)
_HOURS_SECONDS: Final = int(HOURS_KEPT.total_seconds())
_PROMISES_SECONDS: Final = int(PROMISES_KEPT.total_seconds())
Pairs = Collection[tuple[str, str]]
_IS_FREE: Final = b"0"[0].__eq__


class Turn(StrEnum):
    """Whose turn a request has within a provider's minute."""

    ANY = ""
    FIRST = "first"
    BEHIND = "behind"


class Settled(NamedTuple):
    """The terminal state of one evaluator on one trace: scored, skipped, unscored, failed or gone, and why.

    What failed leaves a `letter`, so that it can be taken up again. What was `handed` over live is due soon.
    """

    ref: Ref
    evaluator: str
    state: str
    reason: str = ""
    letter: DeadLetter | None = None
    handed: datetime | None = None


class State:
    """Named operations on what the fleet shares. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(
        self, client: redis.Redis, namespace: str, keep: timedelta, within: timedelta = timedelta(minutes=15)
    ) -> None:
        """Use `client`; claims and states stay for `keep`, longer than any overlap; live work is due `within`."""
        self._redis = client
        self._namespace = namespace
        self.keeps = keep
        self._keep = int(keep.total_seconds())
        self._within = within
        self.tokens = TokenLimits(client, namespace)
        self.counters = Counters(client, namespace)
        self.hours = Hours(client, namespace)
        self._monitors = MonitorRecords(client, namespace)
        self.dead = DeadLetters(client, namespace, self._keep, partial(self._bucket, "settled"))
        self._scripts = {name: client.register_script(body) for name, body in scripts().items()}

    # -- discovery ---------------------------------------------------------------------------------------------------

    def watermark(self) -> datetime | None:
        """Return the end of the last window that was read whole; None at the first start."""
        with reachable():
            value = cast("bytes | None", self._redis.get(self._key("watermark")))
        return None if value is None else datetime.fromisoformat(value.decode())

    def advance(self, to: datetime) -> None:
        """Move the watermark."""
        with reachable():
            self._redis.set(self._key("watermark"), to.isoformat())

    def unclaimed(self, refs: Sequence[Ref]) -> set[str]:
        """Return the ids of those traces that nobody has claimed.

        A trace may have several roots that end at different times: the hours around are looked through too.
        """
        free: set[str] = set()
        for bucket, group in self._buckets("claimed", refs).items():
            ended = group[0].ended
            around = [hour_key(self._namespace, "claimed", ended + hours * _HOUR) for hours in (-1, 1)]
            ids = [ref.id for ref in group]
            with reachable():
                flags = cast("bytes", self._scripts["unclaimed"]([bucket, *around], [orjson.dumps(ids)]))
            free.update(itertools.compress(ids, map(_IS_FREE, flags)))
        return free

    def claim(
        self,
        decided: Mapping[TraceRef, Iterable[str]] | Mapping[SessionRef, Iterable[str]],
        handed: datetime | None = None,
    ) -> int:
        """Mark traces as taken care of, count each `evaluator/state/reason` once; return how many are new.

        What live discovery `handed` over at a time is promised to be evaluated soon (coverage.py).
        """
        kinds: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for ref, fields in decided.items():
            kinds.setdefault((self._bucket("claimed", ref), tuple(fields)), []).append(ref.id)
        if not kinds:
            return 0
        buckets = {bucket: place for place, bucket in enumerate(dict.fromkeys(bucket for bucket, _ in kinds), start=1)}
        payload = orjson.dumps([[buckets[bucket], fields, ids] for (bucket, fields), ids in kinds.items()])
        slot = slot_of(self._namespace, handed) if handed else None
        keys = [self._key("funnel"), slot.key if slot else self._key("funnel"), *buckets, *map(self._hour, buckets)]
        kept = (self._keep, payload, _HOURS_SECONDS, slot.field if slot else "", _PROMISES_SECONDS)
        with reachable():
            return cast("int", self._scripts["claim"](keys, kept))

    def load(self) -> Load:
        """Return how loaded the workers were at the last look."""
        with reachable():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("load")))
        return Load.read({name.decode(): value.decode() for name, value in kept.items()})

    def set_load(self, load: Load) -> None:
        """Keep how loaded the workers are."""
        with reachable():
            self._redis.hset(self._key("load"), mapping=load.written())

    # -- evaluation --------------------------------------------------------------------------------------------------

    def settled(self, jobs: Sequence[Job]) -> dict[tuple[str, str], str]:
        """Return the terminal states already reached, by (trace id, evaluator)."""
        wanted: dict[str, list[tuple[str, str]]] = {}
        for job in jobs:
            fields = wanted.setdefault(self._bucket("settled", job.ref), [])
            fields.extend((job.ref.id, sample.evaluator) for sample in job.samples)
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for bucket, fields in wanted.items():
                pipe.hmget(bucket, [f"{trace_id}/{name}" for trace_id, name in fields])
            answers = pipe.execute()
        found = zip(wanted.values(), answers, strict=True)
        return {f: s.decode() for fields, states in found for f, s in zip(fields, states, strict=True) if s is not None}

    def settle(self, settled: Sequence[Settled], at: datetime | None = None) -> int:
        """Record terminal states with their dead letters, and count each once; return how many are new.

        `at` is the time, by which promises are kept or not; without it they are not counted.

        The first state stays, but for one: what was given up by one worker and scored by another is scored.
        """
        if not settled:
            return 0
        places: dict[str, int] = {}
        slots: dict[str, int] = {}
        rows = []
        ref, place = None, 0
        for each in settled:
            if each.ref is not ref:  # those of one trace come one after the other
                ref, place = each.ref, places.setdefault(self._bucket("settled", each.ref), len(places) + 1)
            letter = (text_of(each.letter), each.letter.at.timestamp()) if each.letter else ("", 0)
            key, field = self._promise(each, each.handed, at) if each.handed and at else ("", "")
            slot = slots.setdefault(key, len(slots) + 1) if key else 0
            rows.append([place, each.ref.id, each.evaluator, _state_text(each), *letter, slot, field])
        own = [self._key("funnel"), *self.dead.keys, self._key("counters")]
        kept = (self._keep, orjson.dumps(rows), _HOURS_SECONDS, len(places), _PROMISES_SECONDS)
        with reachable():
            fresh = cast("int", self._scripts["settle"]([*own, *places, *map(self._hour, places), *slots], kept))
        self.dead.forget_old([s.letter.at for s in settled if s.letter])
        return fresh

    def reopen(self, jobs: Sequence[Job], replaced: Pairs, unpaid: str) -> list[Job]:
        """Take back the terminal states of pairs that are to be evaluated anew; return what may be handed over of jobs.

        Args:
            jobs: whose pairs.
            replaced: those whose score is to be replaced; what is scored stays so otherwise.
            unpaid: the reason of pairs that were skipped for want of money.
        """
        places: dict[str, int] = {}
        rows: list[tuple[int, str, str, bool]] = []
        for job in jobs:
            place = places.setdefault(self._bucket("settled", job.ref), len(places) + 1)
            pairs = ((job.ref.id, sampled.evaluator) for sampled in job.samples)
            rows += [(place, *pair, pair in replaced) for pair in pairs]
        if not rows:
            return []
        keys = [self._key("funnel"), *self.dead.keys, *places]
        with reachable():
            answers = cast("list[int]", self._scripts["reopen"](keys, [unpaid, orjson.dumps(rows)]))
        open_again = {(row[1], row[2]) for row, answer in zip(rows, answers, strict=True) if answer}
        left = ((job, tuple(s for s in job.samples if (job.ref.id, s.evaluator) in open_again)) for job in jobs)
        return [replace(job, samples=samples) for job, samples in left if samples]

    def remember(self, outcomes: Iterable[tuple[str, str, Outcome]]) -> None:
        """Keep (trace id, `evaluator@version`, outcome) until scores are written: a retry pays for none again."""
        rows = [(trace_id, memory, orjson.dumps(outcome_to_json(outcome))) for trace_id, memory, outcome in outcomes]
        if rows:
            keys = [self._key("outcomes", trace_id) for trace_id, _, _ in rows]
            values = [each for _, memory, outcome in rows for each in (memory, outcome)]
            with reachable():
                self._scripts["remember"](keys, [int(_OUTCOMES_KEPT.total_seconds()), *values])

    def remembered(self, trace_ids: Collection[str]) -> dict[tuple[str, str], Outcome]:
        """Return what `remember` kept of these traces, by (trace id, `evaluator@version`)."""
        ids = list(trace_ids)
        with reachable():
            found = cast("list[Any]", self._scripts["remembered"]([self._key("outcomes", each) for each in ids]))
        return {
            (ids[place - 1], name.decode()): outcome_from_json(orjson.loads(data))
            for place, pairs in zip(found[::2], found[1::2], strict=True)
            for name, data in zip(pairs[::2], pairs[1::2], strict=True)
        }

    def forget(self, trace_ids: Collection[str]) -> None:
        """Drop the remembered outcomes of traces that are done with."""
        if trace_ids:
            with reachable():
                self._redis.delete(*(self._key("outcomes", trace_id) for trace_id in trace_ids))

    def funnel(self) -> Funnel:
        """Return how many (trace, evaluator) pairs reached each state, by (evaluator, state, reason)."""
        with reachable():
            counts = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("funnel")))
        return funnel_of(counts)

    def spending(self) -> dict[str, Usage]:
        """Return what judge calls cost so far, by evaluator."""
        return self.counters.spending()

    # -- dead letters ------------------------------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """Return every dead letter, oldest first."""
        return self.dead.letters()

    # -- leadership and limits ---------------------------------------------------------------------------------------

    def lease(self, name: str, owner: str, duration: timedelta) -> bool:
        """Take or renew a lease; whether `owner` holds it now."""
        with reachable():
            return bool(self._scripts["lease"]([self._key("lease", name)], [owner, _milliseconds(duration)]))

    def holder(self, name: str) -> str | None:
        """Return who holds a lease, None when nobody does."""
        with reachable():
            value = cast("bytes | None", self._redis.get(self._key("lease", name)))
        return None if value is None else value.decode()

    def release(self, name: str, owner: str) -> None:
        """Give a lease back, when it is ours."""
        with reachable():
            self._scripts["release"]([self._key("lease", name)], [owner])

    def permits(self, provider: str, per_minute: int | None, wanted: int, turn: Turn = Turn.ANY) -> tuple[int, float]:
        """Take up to `wanted` requests of a provider's minute; return how many may go now, and seconds to the next."""
        keys = [self._key(kind, provider) for kind in ("pause", "window", "first")]
        with reachable():
            granted, wait = cast("list[int]", self._scripts["permits"](keys, [per_minute or 0, wanted, turn]))
        return granted, wait / 1000

    def pause(self, provider: str, duration: timedelta) -> None:
        """Let nobody of the fleet ask a provider before `duration` from now."""
        with reachable():
            self._scripts["pause"]([self._key("pause", provider)], [_milliseconds(duration)])

    def last_run(self, name: str) -> datetime | None:
        """Return when a scheduled job last ran, None when it never did."""
        with reachable():
            value = cast("bytes | None", self._redis.get(self._key("ran", name)))
        return None if value is None else datetime.fromisoformat(value.decode())

    def ran(self, name: str, at: datetime) -> None:
        """Record that a scheduled job ran."""
        with reachable():
            self._redis.set(self._key("ran", name), at.isoformat())

    # -- monitors ----------------------------------------------------------------------------------------------------

    def monitor(self, name: str) -> AbstractContextManager[MonitorRecord]:
        """Lock a monitor's state; on a clean exit state and outbox are saved together, else nothing changes."""
        return self._monitors.locked(name)

    def outbox(self) -> dict[str, dict[str, Any]]:
        """Return the messages whose delivery nobody has confirmed, in the order in which they were written."""
        return self._monitors.outbox()

    def sent(self, message: str) -> None:
        """Confirm a delivery."""
        self.counters.count("messages_sent", by=self._monitors.sent(message))

    # -- inside ------------------------------------------------------------------------------------------------------

    def ping(self) -> str:
        """Return the server's name and version."""
        with reachable():
            info = self._redis.info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version', '?'))}"

    def _key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))

    def _bucket(self, kind: str, ref: Ref) -> str:
        return hour_key(self._namespace, kind, ref.ended)

    def _promise(self, settled: Settled, handed: datetime, at: datetime) -> tuple[str, str]:
        key, slot = slot_of(self._namespace, handed)
        what = KEPT if is_kept(settled.state, settled.reason, at - handed, self._within) else MISSED
        return key, f"{slot}/{settled.evaluator}/{what}"

    def _hour(self, bucket: str) -> str:
        return self._key("hour", bucket.rpartition(":")[2])

    def _buckets(self, kind: str, refs: Iterable[Ref]) -> dict[str, list[Ref]]:
        buckets: dict[str, list[Ref]] = {}
        for ref in refs:
            buckets.setdefault(self._bucket(kind, ref), []).append(ref)
        return buckets


def _state_text(settled: Settled) -> str:
    return f"{settled.state}/{settled.reason}" if settled.reason else settled.state


def _milliseconds(duration: timedelta) -> int:
    return max(1, int(duration.total_seconds() * 1000))
