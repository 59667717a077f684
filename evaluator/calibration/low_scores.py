"""What scores low is given to people: its trace goes into an annotation queue or a dataset of Langfuse, at most once.

Our own scores are seen when Langfuse has accepted them, those of others (thumbs, annotations) when they are read. What
is to go waits in Redis until Langfuse has it: a queue takes the same trace twice, so what may have arrived already is
looked for there before it is sent again.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:low | hash | until sent | place and subject -> score, value, time, tries, reason | those that waited do not go |
| N:low:sent | sorted set | 90 days | place and subject, by when it was sent | what scores low again goes again |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, cast

import orjson
import redis
import structlog

from evaluator.calibration.evidence import is_ours
from evaluator.clock import Clock
from evaluator.errors import Refused
from evaluator.langfuse import Capabilities, Window
from evaluator.state.connection import reachable
from monitors import MonitorSpec, OnLow
from traces import RecordedScore, Score, Subject, Trace, TraceRef, TraceRoot, score_id

_KEPT: Final = timedelta(days=90)
_BEFORE, _AFTER = timedelta(days=30), timedelta(days=1)
"""How far from its score the start of a trace is looked for."""

_MOST: Final = 50
"""How many go out in one round: the API allows a hundred requests a minute on the smallest plan."""

_QUEUE, _DATASET = "queue", "dataset"

_log = structlog.get_logger(__name__)


class Reviews(Protocol):
    """What is needed of Langfuse."""

    def capabilities(self) -> Capabilities:
        """Return the project."""

    def queue_ids(self) -> dict[str, str]:
        """Return the id of each annotation queue, by its name and by the id itself."""

    def is_queued(self, queue_id: str, subject: Subject) -> bool:
        """Whether an annotation queue has the subject."""

    def enqueue(self, queue_id: str, subject: Subject) -> None:
        """Put a subject into an annotation queue."""

    def put_item(self, dataset: str, item_id: str, subject: Subject, shown: Any, metadata: Mapping[str, Any]) -> None:
        """Put an item into a dataset, or replace it."""

    def roots(self, trace_ids: Sequence[str], window: Window) -> dict[str, TraceRoot]:
        """Return the roots of traces that started in a window."""

    def fetch(self, refs: Sequence[TraceRef]) -> dict[str, Trace]:
        """Return whole traces by id."""


@dataclass(frozen=True, slots=True)
class Low:
    """A subject that scored low, on its way to one place. `why` says what the last try met; empty before it."""

    kind: str
    place: str
    score: str
    value: float
    subject: Subject
    at: datetime
    tries: int = 0
    why: str = ""

    @property
    def key(self) -> str:
        """What is one and the same however often it scores low."""
        return f"{self.kind}/{self.place}/{self.subject}"


class Waiting:
    """What waits, in Redis. Every method raises `Unavailable` when it cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._key, self._sent = f"{namespace}:low", f"{namespace}:low:sent"

    def add(self, lows: Iterable[Low]) -> int:
        """Let wait what neither waits nor was sent; return how many are new."""
        by_key = {low.key: low for low in lows}
        if not by_key:
            return 0
        with reachable():
            sent = self._redis.zmscore(self._sent, list(by_key))
            new = [low for low, when in zip(by_key.values(), sent, strict=True) if when is None]
            return sum(self._redis.hsetnx(self._key, low.key, _written(low)) for low in new)

    def all(self) -> list[Low]:
        """Return everything that waits, oldest first."""
        with reachable():
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._key))
        return sorted(map(_read, found.values()), key=lambda low: (low.tries, low.at))

    def change(self, low: Low) -> None:
        """Keep a new state of something that waits."""
        with reachable():
            self._redis.hset(self._key, low.key, _written(low))

    def sent(self, low: Low, at: datetime) -> None:
        """Forget that it waits, remember that it went."""
        with reachable():
            step = self._redis.pipeline()
            step.zadd(self._sent, {low.key: at.timestamp()})
            step.zremrangebyscore(self._sent, "-inf", (at - _KEPT).timestamp())
            step.hdel(self._key, low.key)
            step.execute()


class LowScores:
    """Notes what scores low, and hands it over."""

    def __init__(self, monitors: Iterable[MonitorSpec], waiting: Waiting, langfuse: Reviews, clock: Clock) -> None:
        """Look for what monitors with `on_low` ask for."""
        self._specs = [(spec, spec.on_low) for spec in monitors if spec.on_low is not None]
        self._waiting = waiting
        self._langfuse = langfuse
        self._clock = clock

    @property
    def names(self) -> list[str]:
        """The scores that are looked at."""
        return sorted({spec.score for spec, _ in self._specs})

    def written(self, scores: Sequence[Score]) -> None:
        """Note the low ones among our scores, of which Langfuse has accepted every one."""
        if self._specs:
            self._waiting.add(
                low
                for score in scores
                for low in self._lows(score.name, score.value, score.environment, score.subject, score.timestamp)
            )

    def recorded(self, scores: Iterable[RecordedScore]) -> int:
        """Note the low ones among the scores of others; return how many are new."""
        return self._waiting.add(
            low
            for score in scores
            if not is_ours(score) and (score.trace_id or score.session_id)
            for low in self._lows(score.name, score.value, score.environment, _subject(score), score.timestamp)
        )

    def waiting(self) -> list[Low]:
        """Return what Langfuse has not taken yet, with the reason where it was refused."""
        return self._waiting.all() if self._specs else []

    def hand_over(self) -> int:
        """Give Langfuse what waits; return how many it took. What it refuses waits, and says why.

        Raises:
            Unavailable, ConfigError: Langfuse or Redis; the rest goes in the next round.
        """
        waiting = self._waiting.all()[:_MOST] if self._specs else []
        queues = self._langfuse.queue_ids() if any(low.kind == _QUEUE for low in waiting) else {}
        taken = 0
        for low in waiting:
            try:
                self._send(low, queues)
            except Refused as error:
                self._refused(low, str(error))
            else:
                self._waiting.sent(low, self._clock.now())
                taken += 1
        if taken:
            _log.info("low scores were given to people", traces=taken)
        return taken

    def _send(self, low: Low, queues: Mapping[str, str]) -> None:
        if low.kind == _DATASET:
            shown, metadata = self._shown(low), {"score": low.score, "value": low.value}
            item_id = score_id(self._langfuse.capabilities().project_id, low.subject, low.key)
            self._langfuse.put_item(low.place, item_id, low.subject, shown, metadata)
            return
        queue_id = queues.get(low.place)
        if queue_id is None:
            raise Refused(f"Langfuse has no annotation queue {low.place!r}: make it, or change on_low in monitors.yaml")
        if low.tries and self._langfuse.is_queued(queue_id, low.subject):
            return  # the answer of the last try was lost
        self._waiting.change(replace(low, tries=low.tries + 1))
        self._langfuse.enqueue(queue_id, low.subject)

    def _shown(self, low: Low) -> Any:
        """Return what the application was given: the input of the trace, or of the step that was scored."""
        subject = low.subject
        if subject.trace_id is None:
            return {"session_id": subject.session_id}
        roots = self._langfuse.roots([subject.trace_id], Window(low.at - _BEFORE, low.at + _AFTER))
        traces = self._langfuse.fetch([root.ref for root in roots.values()]) if roots else {}
        if (trace := traces.get(subject.trace_id)) is None:
            raise Refused("Langfuse does not show the trace")
        steps = (each for each in trace.observations if each.id == subject.observation_id)
        return next(steps, trace.root).input

    def _refused(self, low: Low, why: str) -> None:
        if low.why != why:
            _log.warning("a low score waits", score=low.score, place=f"{low.kind} {low.place}", reason=why)
        self._waiting.change(replace(low, tries=low.tries + 1, why=why))

    def _lows(self, name: str, value: float | str, environment: str, subject: Subject, at: datetime) -> Iterable[Low]:
        for spec, on_low in self._specs:
            fits = spec.score == name and (spec.environment is None or environment in spec.environment)
            number = spec.number(value) if fits else None
            if number is not None and number <= on_low.at_most:
                for kind, place in _places(on_low):
                    yield Low(kind, place, name, number, subject, at)


def _places(on_low: OnLow) -> list[tuple[str, str]]:
    named = [(_QUEUE, on_low.queue), (_DATASET, on_low.dataset)]
    return [(kind, place) for kind, place in named if place is not None]


def _subject(score: RecordedScore) -> Subject:
    if score.trace_id is None:
        return Subject(session_id=score.session_id)
    return Subject(score.trace_id, score.observation_id)


def _written(low: Low) -> bytes:
    return orjson.dumps(asdict(low))


def _read(data: bytes) -> Low:
    kept = orjson.loads(data)
    return Low(**{**kept, "subject": Subject(**kept["subject"]), "at": datetime.fromisoformat(kept["at"])})
