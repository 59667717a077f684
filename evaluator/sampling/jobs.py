"""The message between scheduler and workers: a few dozen traces, each with the evaluators that took it.

The form is versioned: a worker of the next release must read what a scheduler of this one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from evaluator.sampling.sampler import Sampled
from traces import Ref, SessionRef, TraceRef, record

VERSION: Final = 1
WITH_SESSIONS: Final = 2
"""The version of a message about sessions: a worker that knows none leaves it in the queue for one that does."""

WITH_CONDITIONS: Final = 3
"""The version of a message with samples that depend on rules."""

_KNOWN: Final = (VERSION, WITH_SESSIONS, WITH_CONDITIONS)


class Lane(StrEnum):
    """The queue a message travels on. Each has worker threads of its own, so that none holds up another."""

    LIVE = "evaluate"
    """What just finished: nobody waits long in it."""

    PATIENT = "patient"
    """Questions whose model is slow or down: there is time."""

    BACKFILL = "backfill"
    """What finished long ago: worked on while nothing live waits."""


class UnknownVersion(ValueError):
    """A message was written by a release that this one cannot read."""


class Backlog(NamedTuple):
    """Messages of a lane that no worker has taken yet: how many, and how long the oldest has waited."""

    messages: int = 0
    oldest: timedelta = timedelta()


class Burden(NamedTuple):
    """What workers have before them, in traces and pairs: messages tell little, since under overload they get small.

    Attributes:
        jobs: of the live lane that no thread works on yet, those among them that a worker has taken ahead.
        oldest: how long the oldest message of it has waited that nobody has taken.
        ended: how many jobs have ended on it so far; what counts is the difference between two looks.
        pairs: of each evaluator that are on the live or the patient lane and wait for a judge, as far as can be known.
        decided: pairs of each evaluator of which a judge was asked and that have their outcome, so far.
    """

    jobs: int = 0
    oldest: timedelta = timedelta()
    ended: int = 0
    pairs: Mapping[str, int] = {}
    decided: Mapping[str, int] = {}


NOTHING_WAITS: Final = Burden()


@record(frozen=True, slots=True)
class Job:
    """One trace or session and the evaluators that took it. `attempt` counts how often it was put back.

    What live discovery `handed` over has the time of that, to the second: it is promised soon (coverage.py). `origin`
    is the `traceparent` of the sweep that sampled it, where a collector is told of such things.
    """

    ref: Ref
    samples: tuple[Sampled, ...]
    attempt: int = 0
    handed: datetime | None = None
    origin: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """What a line of the log about it says."""
        return {"trace_id": self.ref.id} if isinstance(self.ref, TraceRef) else {"session_id": self.ref.session_id}

    def again(self, samples: Iterable[Sampled] | None = None) -> Job:
        """Return the job for its next attempt, for all its evaluators or only the given ones."""
        return replace(self, samples=self.samples if samples is None else tuple(samples), attempt=self.attempt + 1)


Enqueue = Callable[[Sequence[Job]], None]
"""Hand jobs to the workers as one message."""


def to_message(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return jobs as the JSON object that travels through the queue; it holds ids and times, never content."""
    sessions = any(isinstance(job.ref, SessionRef) for job in jobs)
    depends = any(sampled.depends for job in jobs for sampled in job.samples)
    version = WITH_CONDITIONS if depends else WITH_SESSIONS if sessions else VERSION
    return {"v": version, "jobs": [_write(job) for job in jobs]}


def from_message(message: Mapping[str, Any]) -> tuple[Job, ...]:
    """Read what `to_message` wrote.

    Raises:
        UnknownVersion: the message is of a version this release does not know.
    """
    if message.get("v") not in _KNOWN:
        known = f"versions {', '.join(map(str, _KNOWN))}"
        msg = f"queue message of version {message.get('v')!r}; this worker reads {known}: update the worker"
        raise UnknownVersion(msg)
    return tuple(_read(job) for job in message["jobs"])


def _write(job: Job) -> dict[str, Any]:
    ref = job.ref
    kind, place = ("trace", ref.root_id) if isinstance(ref, TraceRef) else ("session", ref.session_id)
    return {
        kind: [ref.id, place, ref.environment, ref.started.isoformat(), ref.ended.isoformat()],
        "samples": [[s.evaluator, s.probability, s.stratum, *([True] if s.depends else [])] for s in job.samples],
        "attempt": job.attempt,
        **({"handed": int(job.handed.timestamp())} if job.handed else {}),
        **({"origin": job.origin} if job.origin else {}),
    }


def _read(data: Mapping[str, Any]) -> Job:
    kind = TraceRef if "trace" in data else SessionRef
    id_, place, environment, started, ended = data["trace" if kind is TraceRef else "session"]
    ref: Ref = kind(id_, place, environment, datetime.fromisoformat(started), datetime.fromisoformat(ended))
    handed = datetime.fromtimestamp(data["handed"], UTC) if "handed" in data else None
    samples = tuple(Sampled(*sample) for sample in data["samples"])
    return Job(ref, samples, data["attempt"], handed, data.get("origin"))
