"""The long-running commands: scheduler, worker, both in one, and a sweep that ends."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, Final

import structlog

from evaluator.app import App
from evaluator.burdens import burden
from evaluator.discovery.sweep import Found
from evaluator.errors import Refused, Unavailable
from evaluator.pulse import beating
from evaluator.sampling.jobs import Lane
from evaluator.scheduler import Scheduler
from evaluator.state.hours import Funnel
from evaluator.worker import Queue, open_queue, take_up, thread_count, working
from traces import Usage

_POLL_SECONDS: Final = 0.25
_FIRST_LOOK_SECONDS: Final = 0.5
_LONGEST_LOOK_SECONDS: Final = 30.0
_PATIENT_SHARE: Final = 0.1
"""A provider's batch that took some time is noticed within this share of it: it may take a second or a day."""

STANDSTILL_SECONDS: Final = 30.0
"""When nothing has ended for so long and a model takes no calls, a sweep does not wait for a person to mend it."""

_log = structlog.get_logger(__name__)


@contextlib.contextmanager
def until_told_to_stop() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    told = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if told.is_set():
            raise SystemExit(128 + number)
        _log.info("stopping: paid calls finish, the rest goes back to the queue", signal=signal.Signals(number).name)
        told.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    app: App,
    told: threading.Event,
    *,
    schedule: bool,
    work: bool,
    threads: int | None = None,
    reloads: Callable[[], bool] = lambda: False,
) -> None:
    """Run scheduler, workers or both until told to stop, or until there are new definitions: `reloads` says so."""
    queue = open_queue(app)
    with contextlib.ExitStack() as stack:
        if work:
            stack.enter_context(working(app, queue, threads, finishes=lambda: not told.is_set()))
        if schedule:
            looked = functools.partial(burden, app, queue)
            take = functools.partial(take_up, app, queue)
            batches = functools.partial(_move_batches, app, queue)
            late = app.late_scores(queue.put).look
            stack.enter_context(Scheduler(app, app.discovery(queue.put), looked, batches, take, late).running())
        while not told.wait(_POLL_SECONDS) and not reloads():
            pass


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep came to. `funnel` and `used` hold what was added while it ran.

    `closed` are the models for which the work that is left waits, with why they take no calls.
    """

    found: Found
    funnel: Funnel
    used: Usage
    left: int
    closed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON."""
        states: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for (_, state, reason), count in self.funnel.items():
            states[state] += count
            if reason:
                reasons[f"{state}: {reason}"] += count
        return {
            "traces": self.found.traces,
            "sessions": self.found.sessions,
            "evaluations": dict(sorted(states.items())),
            "reasons": dict(sorted(reasons.items())),
            "judge": {
                "calls": self.used.calls,
                "input_tokens": self.used.input_tokens,
                "output_tokens": self.used.output_tokens,
                "usd": round(self.used.usd, 6),
                "cached": self.used.cached,
                "cached_tokens": self.used.cached_tokens,
            },
            "left_in_queue": self.left,
            "closed_models": dict(self.closed),
        }


def sweep(
    app: App,
    since: timedelta,
    *,
    drain: bool,
    work: bool = True,
    threads: int | None = None,
    progress: Callable[[Found, Funnel], None] | None = None,
    told: threading.Event | None = None,
    standstill: float = STANDSTILL_SECONDS,
) -> Swept:
    """Hand over what finished since then on the backfill lane, and with `drain` wait until the queue is empty.

    Args:
        app: the open application.
        since: how far back, before now.
        drain: wait until everything is evaluated, with workers of this process unless `work` is off.
        work: whether this process evaluates.
        threads: worker threads, by default as many as the limits call for.
        progress: told from time to time what was found and how far its evaluation is.
        told: set when the wait should be given up.
        standstill: seconds without an ending after which it is given up when a model takes no calls.
    """
    queue = open_queue(app)
    before, paid, closed = app.state.funnel(), app.state.spending(), dict[str, str]()
    with contextlib.ExitStack() as stack:
        stack.enter_context(beating(app, "sweep", (threads or thread_count(app)) if drain and work else 0))
        if drain and work:
            stack.enter_context(working(app, queue, threads))
        old = functools.partial(queue.put, lane=Lane.BACKFILL)
        found = app.discovery(old).since(app.clock.now() - since)
        if drain:
            report = functools.partial(_report, app, before, found, progress)
            closed = until_empty(app, queue, told or threading.Event(), report, standstill=standstill)
    used = _added(app.state.spending(), paid)
    return Swept(found, app.state.funnel() - before, used, queue.size(), closed)


class _Standstill:
    """Notices that all that is left waits for models that take no calls."""

    def __init__(self, app: App, queue: Queue, seconds: float) -> None:
        self._app = app
        self._queue = queue
        self._seconds = seconds
        self._since = self._next_look = app.clock.monotonic()
        self._seen: Funnel | None = None

    def closed(self) -> dict[str, str]:
        """Return these models with why, when nothing but them can go on; else nothing."""
        now = self._app.clock.monotonic()
        if now < self._next_look:
            return {}
        self._next_look = now + self._seconds / 10
        circuits = self._app.circuits.look(self._app.definitions.models)
        seen = self._app.state.funnel() if circuits else None
        if not circuits or seen != self._seen or any(self._queue.waiting(lane) for lane in Lane):
            self._seen, self._since = seen, now
        return {name: one.why for name, one in circuits.items()} if now - self._since >= self._seconds else {}


def until_empty(
    app: App,
    queue: Queue,
    told: threading.Event,
    report: Callable[[], None] = lambda: None,
    *,
    lanes: Sequence[Lane] = tuple(Lane),
    standstill: float = STANDSTILL_SECONDS,
) -> dict[str, str]:
    """Wait until nothing is left on some lanes, and send what waits for a batch of the provider.

    Args:
        app: the open application.
        queue: what is waited for.
        told: set when the wait should be given up.
        report: called now and then.
        lanes: of the queue.
        standstill: seconds without an ending after which it is given up when a model takes no calls.

    Returns:
        The models for which it was given up, with why they take no calls.
    """
    still = _Standstill(app, queue, standstill)
    looks = Looks(app.clock.monotonic())
    while not told.wait(_POLL_SECONDS):
        left: int | None = None
        try:
            report()
            if closed := still.closed():
                return closed
            if queue.size(lanes) > 0:
                looks.worked(app.clock.monotonic())
                continue
            if not looks.is_due(app.clock.monotonic()):
                continue
            left = _move_batches(app, queue, at_once=True)
            if left == 0 and queue.size(lanes) == 0:
                return {}
        except (Unavailable, Refused) as error:
            _log.warning("cannot see what is left", reason=str(error))
            app.clock.sleep(_POLL_SECONDS)
        looks.looked(app.clock.monotonic(), left)
    return {}


class Looks:
    """When to look at a provider's batches while everything waits for them: at once, then ever less often.

    Times are seconds of a clock that never goes back.
    """

    def __init__(self, now: float) -> None:
        self._since = self._next = now
        self._left: int | None = None

    def is_due(self, now: float) -> bool:
        """Whether to look now."""
        return now >= self._next

    def worked(self, now: float) -> None:
        """Note that there was other work: what it left for batches is sent as soon as it has ended."""
        self._since = self._next = now

    def looked(self, now: float, left: int | None) -> None:
        """Note a look, and how many questions it `left` on their way; None where it failed."""
        if left is not None and left != self._left:
            self._since, self._left = now, left
        pause = _PATIENT_SHARE * (now - self._since)
        self._next = now + min(max(_FIRST_LOOK_SECONDS, pause), _LONGEST_LOOK_SECONDS)


def _move_batches(app: App, queue: Queue, *, at_once: bool = False) -> int:
    """Send and collect what goes through the provider's batch API; return how many questions are on their way."""
    put = functools.partial(queue.put, lane=Lane.PATIENT)
    return app.batches.step(put, f"{socket.gethostname()}:{os.getpid()}", at_once=at_once)


def _report(app: App, before: Funnel, found: Found, progress: Callable[[Found, Funnel], None] | None) -> None:
    if progress is not None:
        progress(found, app.state.funnel() - before)


def _added(after: dict[str, Usage], before: dict[str, Usage]) -> Usage:
    total = Usage()
    for name, now in after.items():
        then = before.get(name, Usage())
        total += Usage(
            "",
            now.calls - then.calls,
            now.input_tokens - then.input_tokens,
            now.output_tokens - then.output_tokens,
            now.usd - then.usd,
            now.cached - then.cached,
            now.cached_tokens - then.cached_tokens,
        )
    return total
