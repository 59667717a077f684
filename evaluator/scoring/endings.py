"""What a batch comes to: the terminal states of its pairs, and the jobs that must come back, when and on which lane."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog

from evaluator.clock import Clock
from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.sampler import Sampled
from evaluator.state.arrears import Arrears
from evaluator.state.dead_letters import DeadLetter
from evaluator.state.fleet import Settled, State

_OUTAGE_DELAY: Final = timedelta(seconds=15)
_FIRST_DELAY: Final = timedelta(seconds=10)
_LONGEST_DELAY: Final = timedelta(minutes=10)

FETCH_REFUSED: Final = "fetch_refused"
WORKER_ERROR: Final = "worker_error"

_PROVES_NOTHING: Final = frozenset({FETCH_REFUSED, WORKER_ERROR})
"""Kinds of failure that say nothing of what judges answered: what is paid for is there when the work is replayed."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Again:
    """Jobs to put back on a lane, not before `delay` from now."""

    jobs: tuple[Job, ...]
    delay: timedelta
    lane: Lane


@dataclass(slots=True)
class Endings:
    """Gathers what becomes of the jobs of one batch."""

    state: State
    arrears: Arrears
    clock: Clock
    lane: Lane = Lane.LIVE
    settled: list[Settled] = field(default_factory=list)
    back: list[tuple[Job, timedelta, Lane]] = field(default_factory=list)
    unfunded: list[Job] = field(default_factory=list)

    def put_back(self, job: Job, delay: timedelta, lane: Lane | None = None) -> None:
        """Let a job come again, by default on the lane it came on."""
        self.back.append((job, delay, lane or self.lane))

    def wait_for_money(self, job: Job) -> None:
        """Let a job come again when there is money for its evaluators."""
        self.unfunded.append(job)

    def settle(self, job: Job, samples: Iterable[Sampled], state: str, reason: str = "") -> None:
        """Note the terminal state of some evaluators on a job."""
        for sampled in samples:
            self.settle_one(job, sampled, state, reason)

    def settle_one(self, job: Job, sampled: Sampled, state: str, reason: str = "") -> None:
        """Note the terminal state of one evaluator on a job."""
        self.settled.append(Settled(job.ref, sampled.evaluator, state, reason, handed=job.handed))

    def give_up(self, job: Job, samples: Iterable[Sampled], kind: str, reason: str) -> None:
        """Settle some evaluators of a job as failed, each with a dead letter."""
        now = self.clock.now()
        for sampled in samples:
            _log.warning("evaluation failed", **job.about, evaluator=sampled.evaluator, kind=kind, why=reason)
            letter = DeadLetter(Job(job.ref, (sampled,), job.attempt), f"{kind}: {reason}", now)
            self.settled.append(Settled(job.ref, sampled.evaluator, "failed", kind, letter, job.handed))

    def save(self) -> None:
        """Record the terminal states and what waits for money, and forget the outcomes of what is done with.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        if self.unfunded:
            self.arrears.park(self.unfunded)
        self.state.settle(self.settled, self.clock.now())
        come_again = {job.ref.id for job, _, _ in self.back} | {job.ref.id for job in self.unfunded}
        unproved = {s.ref.id for s in self.settled if s.reason in _PROVES_NOTHING}
        self.state.forget({s.ref.id for s in self.settled} - come_again - unproved)

    def again(self) -> list[Again]:
        """Return what comes back: one job a subject and attempt, one message a lane and delay."""
        messages: dict[tuple[timedelta, Lane], dict[tuple[str, int], Job]] = {}
        for job, delay, lane in self.back:
            jobs = messages.setdefault((delay, lane), {})
            known = jobs.get((job.ref.id, job.attempt))
            jobs[job.ref.id, job.attempt] = replace(job, samples=known.samples + job.samples) if known else job
        return [Again(tuple(jobs.values()), delay, lane) for (delay, lane), jobs in messages.items()]


def outage_delay(asked: float | None = None) -> timedelta:
    """Return after what time work that met an outage comes again; `asked` are the seconds the service asked for."""
    return timedelta(seconds=asked) if asked else _OUTAGE_DELAY


def backoff(attempt: int) -> timedelta:
    """Return how long to wait after so many attempts."""
    return min(_FIRST_DELAY * float(2**attempt), _LONGEST_DELAY)
