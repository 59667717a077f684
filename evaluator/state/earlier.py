"""What rules keep of traces to compare later ones with: numbers and fingerprints, for some days, in Redis.

Of each topic and day the traces whose keyed hash is lowest are kept: a sample by chance that is the same in whatever
order traces come, and in which a trace that comes twice counts once. A trace is compared with those that ended before
it, so that of a pair always the later one is told.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:earlier:DAY:HASH | zset | `days` + 2 | notes of a topic, by hash of the trace | there is nothing to compare with |
| N:earlier:DAY | string | `days` + 2 | how many topics the day has, at most 20,000 | more than these are kept |
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import redis

from evaluator.definitions import Definitions
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import position
from evaluator.state.connection import reachable, scripts
from rules.remembering import Remembering
from traces import Trace

MOST_TOPICS: Final = 20_000
"""A day, of all rules: about 10 MB. Who never asks twice must not fill the memory."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Note:
    """What is kept of one trace under one topic; `memory` names it with the rule."""

    rule: Remembering
    trace: Trace
    memory: str
    text: str


class Earlier:
    """Keeps notes of traces and gives those of earlier ones. Safe for many threads."""

    def __init__(self, client: redis.Redis, namespace: str, definitions: Definitions) -> None:
        self._redis = client
        self._namespace = namespace
        self._salt = definitions.service.sampling.salt
        self._key = hashlib.blake2b(self._salt.encode(), digest_size=32).digest()
        self._keep = client.register_script(scripts("earlier.lua")["keep"])
        self._rules = {
            each.name: [part for part in each.rule.every_part() if isinstance(part, Remembering)]
            for each in definitions.evaluators
            if each.rule is not None and each.compares
        }

    def beside(self, traces: Mapping[str, Trace], jobs: Iterable[Job]) -> Mapping[str, Trace]:
        """Keep what the rules of jobs note of their traces, and return the traces with what is known of earlier ones.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        notes = list(self._notes(traces, jobs)) if self._rules else []
        if not notes:
            return traces
        wanted = list(dict.fromkeys((note.memory, day) for note in notes for day in _days(note)))
        pipe = self._redis.pipeline(transaction=False)
        for note in notes:
            self._add(note, pipe)
        for memory, day in wanted:
            pipe.zrange(self._place(memory, day), 0, -1)
        with reachable():
            answers = pipe.execute()
        found = dict(zip(wanted, cast("list[list[bytes]]", answers[len(notes) :]), strict=True))
        earlier: dict[str, dict[str, Sequence[str]]] = {}
        for note in notes:
            kept = (member for day in _days(note) for member in found[note.memory, day])
            earlier.setdefault(note.trace.id, {})[note.memory] = self._before(note, kept)
        return {
            trace_id: replace(trace, earlier=earlier[trace_id]) if trace_id in earlier else trace
            for trace_id, trace in traces.items()
        }

    def _notes(self, traces: Mapping[str, Trace], jobs: Iterable[Job]) -> Iterator[_Note]:
        for job in jobs:
            trace = traces.get(job.ref.id)
            if trace is not None:
                rules = dict.fromkeys(part for each in job.samples for part in self._rules.get(each.evaluator, ()))
                yield from (note for rule in rules if (note := _noted(rule, trace)) is not None)

    def _add(self, note: _Note, pipe: redis.client.Pipeline) -> None:
        rank = position(f"earlier/{note.trace.id}", self._salt)
        ended = note.trace.ref.ended
        member = f"{_microseconds(ended)}|{self._hash(note.trace.id)}|{note.text}"
        keys = [self._place(note.memory, ended.astimezone(UTC).date().isoformat()), self._of_day(ended)]
        kept = (note.rule.days + 2) * int(_DAY.total_seconds())
        self._keep(keys, [rank, member, note.rule.keeps, kept, MOST_TOPICS], client=pipe)

    def _before(self, note: _Note, kept: Iterable[bytes]) -> list[str]:
        """Return the notes of traces that ended before, the oldest first."""
        until, own = _microseconds(note.trace.ref.ended), self._hash(note.trace.id)
        since = until - note.rule.days * _microseconds_of(_DAY)
        read = (member.decode().split("|", 2) for member in kept)
        known = ((int(ended), text) for ended, trace, text in read if trace != own)
        return [text for ended, text in sorted(known) if since <= ended < until]

    def _place(self, memory: str, day: str) -> str:
        return f"{self._namespace}:earlier:{day}:{self._hash(memory)}"

    def _of_day(self, at: datetime) -> str:
        return f"{self._namespace}:earlier:{at.astimezone(UTC).date().isoformat()}"

    def _hash(self, text: str) -> str:
        """Return a keyed hash: neither names nor questions can be guessed from it without the salt."""
        return hashlib.blake2b(text.encode(), key=self._key, digest_size=12).hexdigest()


def _noted(rule: Remembering, trace: Trace) -> _Note | None:
    try:
        topic, text = rule.topic(trace), rule.note(trace)
    except Exception:  # noqa: BLE001 - a team's own rule may raise anything; its check will, and that is counted
        return None
    return None if topic is None or text is None else _Note(rule, trace, rule.memory(topic), text)


def _days(note: _Note) -> list[str]:
    last = note.trace.ref.ended.astimezone(UTC).date()
    return [(last - back * _DAY).isoformat() for back in range(note.rule.days, -1, -1)]


def _microseconds(at: datetime) -> int:
    return _microseconds_of(at - datetime(1970, 1, 1, tzinfo=UTC))


def _microseconds_of(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
