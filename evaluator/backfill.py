"""`evaluator backfill`: what finished in the past is decided about anew, behind live traffic, and goes on where it was.

An hour of traffic is one step, the oldest first; a session belongs to the hour in which its last trace ended. Before
anything is handed over, Langfuse is asked what it holds of it (standing.py): a pair that has its score is left alone,
so a step that is done twice pays for nothing twice. Only a few messages wait on the backfill lane at a time. How far it
has come is kept in Redis, for those who are interrupted, whose money ends, or who wanted only so many:

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:backfill:HASH | hash | 30 days | where it goes on, how much it was | it begins anew, and pays for nothing twice |
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast

import orjson
import redis
import structlog

from evaluator.alerts.kept_weeks import KeptWeeks
from evaluator.app import App
from evaluator.definitions import Evaluator
from evaluator.discovery.standing import standing
from evaluator.errors import Unavailable
from evaluator.langfuse import Window
from evaluator.money.catching_up import MOST_WAITING
from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.sampler import Sampler
from evaluator.service import until_empty
from evaluator.state.connection import reachable
from evaluator.state.hours import Funnel
from evaluator.state.ledger import NO_MONEY
from evaluator.worker import Queue
from traces import TraceRoot

_STEP: Final = timedelta(hours=1)
_KEPT: Final = timedelta(days=30)
_POLL_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be evaluated: what ended in `window`, by `evaluators`, whose lines of `sample` are those of this run.

    `fixed` tells that their rate is one that a person chose, and no budget of a line has a say in it.
    """

    window: Window
    evaluators: tuple[Evaluator, ...]
    fixed: bool = False

    @property
    def key(self) -> str:
        """What tells it from others: another version of an evaluator, or another rate, begins anew."""
        who = sorted((e.name, e.version, [s.model_dump_json() for s in e.sample]) for e in self.evaluators)
        what = [self.window.start.isoformat(), self.window.end.isoformat(), who]
        return hashlib.blake2b(orjson.dumps(what), digest_size=12).hexdigest()


def at_rate(evaluator: Evaluator, rate: float) -> Evaluator:
    """Return an evaluator that takes this share of what it takes any of."""
    lines = tuple(
        line if not line.rate else line.model_copy(update={"rate": rate, "budget": None}) for line in evaluator.sample
    )
    return replace(evaluator, sample=lines)


@dataclass(slots=True)
class Progress:
    """How far a backfill has come, over all of its runs.

    Attributes:
        at: everything that ended before was handed over.
        traces: how many were looked at.
        pairs: how many pairs were handed to workers.
        raised: scores whose inclusion probability was raised.
        refused: of those, how many Langfuse did not take.
    """

    at: datetime
    traces: int = 0
    pairs: int = 0
    raised: int = 0
    refused: int = 0


class Positions:
    """How far backfills have come. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._prefix = f"{namespace}:backfill:"

    def read(self, request: Request) -> Progress:
        """Return where a backfill goes on; at its beginning when it never ran, or has ended."""
        with reachable():
            kept = cast("dict[bytes, bytes]", self._redis.hgetall(self._prefix + request.key))
        if b"at" not in kept:
            return Progress(request.window.start)
        counts = {name.decode(): int(value) for name, value in kept.items() if name != b"at"}
        return Progress(datetime.fromisoformat(kept[b"at"].decode()), **counts)

    def save(self, request: Request, progress: Progress) -> None:
        """Keep how far it has come."""
        key = self._prefix + request.key
        fields: dict[Any, Any] = {name: getattr(progress, name) for name in Progress.__slots__}
        with reachable():
            pipe = self._redis.pipeline()
            pipe.hset(key, mapping={**fields, "at": progress.at.isoformat()})
            pipe.expire(key, _KEPT)
            pipe.execute()

    def forget(self, request: Request) -> None:
        """Forget a backfill that has ended."""
        with reachable():
            self._redis.delete(self._prefix + request.key)


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What became of a run. `stopped` says why it did not come to its end; empty when it did."""

    progress: Progress
    stopped: str
    funnel: Funnel = field(default_factory=Funnel)


class _Stopped(Exception):
    """Nothing more is to be handed over, for this reason."""


class Backfill:
    """One run of a backfill."""

    def __init__(
        self,
        app: App,
        queue: Queue,
        client: redis.Redis,
        request: Request,
        *,
        limit: int | None = None,
        told: threading.Event | None = None,
    ) -> None:
        """Prepare a run; `limit` is how many traces are handed over at most, `told` is set when it should end."""
        self._app = app
        self._queue = queue
        self._request = request
        self._traced = [each for each in request.evaluators if each.idle is None]
        self._idle: dict[timedelta, list[Evaluator]] = {}
        for each in request.evaluators:
            if each.idle is not None:
                self._idle.setdefault(each.idle, []).append(each)
        self._positions = Positions(client, app.settings.evaluator_namespace)
        self._weeks = KeptWeeks(client, app.settings.evaluator_namespace, app.langfuse, app.clock)
        self._left = limit
        self._told = told or threading.Event()
        self._more: Callable[[int], None] = lambda _: None
        self._discovery = app.discovery(self._put)
        self._looked = -_LOOK_SECONDS
        self._before = app.state.funnel()
        self._progress = self._positions.read(request)
        self._safe = self._progress.at

    def run(self, more: Callable[[int], None]) -> Backfilled:
        """Hand over what is missing and wait for it; `more` is told of pairs as they are handed over.

        Raises:
            Unavailable, Refused: Langfuse or Redis; the next run goes on where this one was.
        """
        self._more = more
        self._app.money.rations.look()
        try:
            # What an earlier run handed over ends first: to hand it over twice would pay for some of it twice.
            until_empty(self._app, self._queue, self._told, lanes=(Lane.BACKFILL,))
            while self._progress.at < self._request.window.end and self._left != 0:
                self._step()
            self._drain()
        except _Stopped as stopped:
            self._positions.save(self._request, self._progress)
            return Backfilled(self._progress, str(stopped), self._added())
        self._positions.forget(self._request)
        return Backfilled(self._progress, "", self._added())

    def _step(self) -> None:
        if self._told.is_set():
            raise _Stopped("interrupted")
        self._look_for_money()
        if self._is_idle():
            self._safe = self._progress.at
        window = Window(self._progress.at, min(self._progress.at + _STEP, self._request.window.end))
        counts, sessions = not self._request.fixed, dict[str, None]()

        def seen(roots: Sequence[TraceRoot]) -> None:
            if self._idle:
                sessions.update((root.session_id, None) for root in roots if root.session_id)

        sampler = partial(self._sampler, self._traced)
        found = self._discovery.revisit(window, sampler, self._missing, counts=counts, seen=seen)
        if sessions and self._left != 0:
            decide = {idle: partial(self._sampler, each) for idle, each in self._idle.items()}
            self._discovery.revisit_sessions(sessions, window, decide, self._missing, counts=counts)
        if self._left == 0:
            return
        self._progress.traces += found.traces
        self._progress.at = window.end
        self._positions.save(self._request, self._progress)

    def _sampler(self, evaluators: Sequence[Evaluator], coming: int) -> Sampler:
        if self._request.fixed:
            return Sampler(evaluators, self._app.definitions.service.sampling.salt)
        return self._app.money.rations.sampler(evaluators, {}, coming, live=False)

    def _missing(self, jobs: Sequence[Job]) -> list[Job]:
        """Return what of some jobs is to be handed over; scores that stand are written with the higher probability."""
        found = standing(self._app.langfuse, self._request.evaluators, jobs)
        if found.raised:
            refused = [answer for answer in self._app.langfuse.write(found.raised) if answer is not None]
            if passing := next((answer for answer in refused if isinstance(answer, Unavailable)), None):
                raise passing
            for answer in refused[:1]:
                _log.warning("inclusion probabilities were not raised", scores=len(refused), reason=str(answer))
            self._weeks.written(found.raised)
            self._progress.raised += len(found.raised)
            self._progress.refused += len(refused)
        jobs = self._app.state.reopen(found.missing, found.replaced, NO_MONEY)
        if self._left is not None:
            jobs = jobs[: self._left]
            self._left -= len(jobs)
        return jobs

    def _put(self, jobs: Sequence[Job]) -> None:
        """Hand over one message once few are waiting."""
        while self._queue.waiting(Lane.BACKFILL) >= MOST_WAITING:
            if self._told.wait(_POLL_SECONDS):
                raise _Stopped("interrupted")
            self._look_for_money()
        self._queue.put(jobs, lane=Lane.BACKFILL)
        pairs = sum(len(job.samples) for job in jobs)
        self._progress.pairs += pairs
        self._more(pairs)

    def _drain(self) -> None:
        lanes = (Lane.BACKFILL, Lane.PATIENT)
        closed = until_empty(self._app, self._queue, self._told, lanes=lanes)
        if closed:
            _log.warning("not waited for: a model takes no calls", models=sorted(closed))
        elif self._told.is_set():
            _log.info("not waited for: what was handed over stays in the queue")
        self._looked = -_LOOK_SECONDS
        self._look_for_money(missed_only=True)
        if self._left == 0:
            raise _Stopped("limit")

    def _look_for_money(self, *, missed_only: bool = False) -> None:
        """Stop when a budget is spent: what was handed over and met it is handed over again by the next run.

        With `missed_only` a spent budget is none of our business unless some pair went without it.
        """
        now = self._app.clock.monotonic()
        if not self._app.money.rations.are_needed or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        names = {evaluator.name for evaluator in self._request.evaluators}
        missed = sum(n for (who, _, why), n in self._added().items() if why == NO_MONEY and who in names)
        self._app.money.rations.look()
        spent = names.intersection(self._app.money.rations.spent())
        if missed or (spent and not missed_only):
            self._progress.at = min(self._progress.at, self._safe)
            raise _Stopped("budget")

    def _is_idle(self) -> bool:
        return self._queue.size((Lane.BACKFILL, Lane.PATIENT)) == 0

    def _added(self) -> Funnel:
        return self._app.state.funnel() - self._before
