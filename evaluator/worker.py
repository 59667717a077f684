"""Dramatiq: the broker, one actor a lane, and workers that can be started and stopped.

`dramatiq evaluator.worker:main` works too, with one set of threads for all lanes; nothing happens at import.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, TimeLimit
from structlog.contextvars import bind_contextvars, clear_contextvars

from evaluator.app import App, open_app
from evaluator.broker import TRACEPARENT, Broker, PatientRetries, PromptStop, Traced
from evaluator.errors import EvaluatorError, Unavailable
from evaluator.langfuse import Window
from evaluator.money.catching_up import MadeUp
from evaluator.pulse import beating
from evaluator.sampling.jobs import Backlog, Job, Lane, UnknownVersion, from_message, to_message
from evaluator.settings import load_settings
from evaluator.state.arrears import Span as TimeSpan
from evaluator.state.connection import reachable
from evaluator.telemetry.logs import configure_logs
from evaluator.telemetry.spans import NO_SPANS, SESSION_ID, TRACE_ID, Attribute, Span, Spans, kind_of
from traces import SessionRef, TraceRef

TRIES: Final = 10
"""How often a message whose evaluation raises (a bug, a broken Redis) is tried, over about an hour."""

_TIME_LIMIT: Final = timedelta(hours=6)
"""Every call has a timeout of its own; this one only ends what nobody foresaw."""

_FINISHING_SECONDS: Final = 30.0
"""How long batches in hand get for the rest, beside the time that their judges have, before new definitions count."""

_NEWER_DELAY: Final = timedelta(seconds=10)
"""When a message of a newer release is looked at again; a worker of that release takes it at once."""

_PAUSE_SECONDS: Final = 1.0
_POLL_MILLISECONDS: Final = {Lane.LIVE: 1000, Lane.PATIENT: 2000, Lane.BACKFILL: 2000}
"""How long an idle worker sleeps between two looks into its queue, at most."""

_log = structlog.get_logger(__name__)


Evaluate = dramatiq.Actor[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Queue:
    """The way into the workers."""

    broker: RedisBroker
    actors: dict[Lane, Evaluate]
    newest_first: bool = False
    spans: Spans = NO_SPANS

    def put(self, jobs: Sequence[Job], delay: timedelta = timedelta(), lane: Lane = Lane.LIVE) -> None:
        """Enqueue jobs as one message, not to be worked on before `delay` from now."""
        self.put_message(to_message(jobs), delay, lane)

    def put_message(self, message: Mapping[str, Any], delay: timedelta, lane: Lane) -> None:
        """Enqueue a message as it is, of whatever version."""
        milliseconds = math.ceil(delay.total_seconds() * 1000)
        with reachable():
            self.actors[lane].send_with_options(args=(message,), delay=milliseconds or None, **self._options())
            if self.newest_first and lane is not Lane.BACKFILL and not delay:
                # Messages are taken from the left end. Should another one have come in between, it goes first instead.
                self.broker.client.lmove(self._list(lane), self._list(lane), "RIGHT", "LEFT")

    def _options(self) -> dict[str, Any]:
        parent = self.spans.traceparent()
        return {} if parent is None else {TRACEPARENT: parent}

    def size(self, lanes: Iterable[Lane] = Lane) -> int:
        """Return how many messages are waiting, delayed or being worked on, on any lane or on some."""
        with reachable():
            return sum(int(self.broker.do_qsize(lane)) for lane in lanes)

    def waiting(self, lane: Lane) -> int:
        """Return how many messages of a lane no worker has taken yet."""
        with reachable():
            return cast("int", self.broker.client.llen(self._list(lane)))

    def backlog(self, now: datetime, lane: Lane = Lane.LIVE) -> Backlog:
        """Return what waits on a lane."""
        name, client = self._list(lane), self.broker.client
        with reachable():
            ends = [cast("bytes | None", client.lindex(name, end)) for end in (0, -1)]
            waiting = [client.hget(f"{name}.msgs", str(end, "ascii")) for end in ends if end is not None]
        since = [dramatiq.Message.decode(cast("bytes", data)).message_timestamp for data in waiting if data is not None]
        ages = (now - datetime.fromtimestamp(at / 1000, UTC) for at in since)
        return Backlog(self.waiting(lane), max(ages, default=timedelta()))

    def some(self, lane: Lane, most: int) -> tuple[int, list[Sequence[Job]]]:
        """Return how many messages are on a lane, in a worker's hand or not, and the jobs of some of them."""
        name, client = f"{self._list(lane)}.msgs", self.broker.client
        with reachable():
            number = cast("int", client.hlen(name))
            found = cast("list[bytes] | None", client.hrandfield(name, most, True)) if number else None
        return number, [_jobs_in(data) for data in (found or [])[1::2]]

    def ended(self, lane: Lane) -> int:
        """Return how many jobs have ended on a lane so far."""
        with reachable():
            return int(cast("bytes | None", self.broker.client.hget(self._ended, lane)) or 0)

    def note_ended(self, lane: Lane, jobs: int) -> None:
        """Count the jobs of a message that ended; Redis being away, it is not worth waiting for."""
        with contextlib.suppress(Unavailable), reachable():
            self.broker.client.hincrby(self._ended, lane, jobs)

    @property
    def _ended(self) -> str:
        return f"{self.broker.namespace}:ended"

    def _list(self, lane: Lane) -> str:
        """Return the key of the list in which Dramatiq keeps the ids of waiting messages."""
        return f"{self.broker.namespace}:{lane}"


def _jobs_in(data: bytes) -> Sequence[Job]:
    """Return the jobs of a message; none of one of another release, or on its way to the dead letters."""
    with contextlib.suppress(UnknownVersion):
        return from_message(dramatiq.Message.decode(data).args[0])
    return ()


def open_queue(app: App) -> Queue:
    """Connect to the queue and declare an actor for each lane."""
    queue = Queue(_open_broker(app), {}, app.definitions.service.overload.order == "newest_first", app.spans)
    queue.actors.update((lane, _declared(app, queue, lane, queue.broker)) for lane in Lane)
    return queue


def take_up(app: App, queue: Queue) -> int:
    """Hand out what waited for money and may be paid for now, behind live traffic; return how many pairs."""
    put = functools.partial(queue.put, lane=Lane.BACKFILL)
    discovery = app.discovery(put)

    def make_up(evaluator: str, span: TimeSpan) -> MadeUp:
        found = discovery.make_up(evaluator, Window(*span))
        return MadeUp(math.ceil(found.enqueued / app.definitions.service.batch_size), found.sampled)

    return app.money.catching_up.take_up(put, make_up, queue.waiting(Lane.BACKFILL))


@contextlib.contextmanager
def working(
    app: App, queue: Queue, threads: int | None = None, finishes: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Run worker threads for each lane; on leaving, paid calls finish in time and the rest goes back to the queue.

    When `finishes` says so, batches in hand are worked off first, for as long as they may take as a rule.
    """
    app.model.accept(app.definitions.models)
    threads = threads or thread_count(app)
    workers = [_lane_worker(app, queue, lane, threads) for lane in Lane]
    for worker in workers:
        worker.start()
    _log.info("worker started", threads=threads, lanes=len(workers))
    try:
        yield
    finally:
        patience = app.definitions.service.limits.patience.total_seconds() + _FINISHING_SECONDS if finishes() else 0.0
        milliseconds = int((app.settings.evaluator_grace + patience) * 1000)
        with ThreadPoolExecutor(len(workers)) as pool:
            stopping = [pool.submit(worker.stop, timeout=milliseconds) for worker in workers]
            if patience:
                wait(stopping, timeout=patience)
            app.model.drain()
            for each in stopping:
                each.result()
        _log.info("worker stopped")


def calm_collector() -> None:
    """Look for cyclic garbage seldom: for a process that does nothing but work.

    Traces come and go by the thousand and hold no cycles; looking through them took a fifth of the CPU. As many objects
    as a thousand questions in the air are made of must not call for it either: what they were read from is cold then.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(500_000, 20, 20)


def thread_count(app: App) -> int:
    """Return how many batches to have in hand: four times as many traces as model calls may be in flight.

    With fewer, the slowest call of each batch holds its whole batch back (docs: performance).
    """
    service = app.definitions.service
    return min(64, max(8, math.ceil(4 * service.limits.model_calls_in_flight / service.batch_size)))


def main() -> None:
    """Set up a worker process for `dramatiq evaluator.worker:main`; it closes when the process ends."""
    settings = load_settings()
    configure_logs(settings.evaluator_log, secrets=settings.secrets())
    stack = contextlib.ExitStack()
    app = stack.enter_context(open_app(settings))
    stack.enter_context(beating(app, "worker"))
    queue = open_queue(app)
    queue.broker.add_middleware(_Drain(app))
    calm_collector()
    dramatiq.set_broker(queue.broker)
    atexit.register(stack.close)


class _Mistake(EvaluatorError):
    """Something we did not foresee was raised; what and where is in the log."""


class _Drain(Middleware):
    """Let paid calls finish and start no new ones when Dramatiq's own command line shuts a worker down."""

    def __init__(self, app: App) -> None:
        self._app = app

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop asking."""
        del broker, worker
        self._app.model.drain()


class _Bound(Middleware):
    """Lets every line of the log that is written on the way of a message say which message, and of which lane.

    One that is about a single trace or session says which in every line. What is done for several messages at once
    names them all (langfuse/grouping.py).
    """

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Bind what is known of the message to this thread."""
        del broker
        clear_contextvars()
        bind_contextvars(message_id=message.message_id, lane=message.queue_name)

    def after_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy, *, result: Any = None, exception: Any = None
    ) -> None:
        """Forget it."""
        del broker, message, result, exception
        clear_contextvars()

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Forget it."""
        del broker, message
        clear_contextvars()


def _open_broker(app: App) -> Broker:
    return Broker(
        url=app.redis_url,
        namespace=f"{app.settings.evaluator_namespace}:queue",
        heartbeat_timeout=int(app.settings.evaluator_heartbeat * 1000),
        middleware=[
            _Bound(),
            *([Traced(app.spans)] if app.spans.is_on else []),
            PromptStop(),
            TimeLimit(time_limit=int(_TIME_LIMIT.total_seconds() * 1000)),
            PatientRetries(retry_when=_try_again, min_backoff=5_000, max_backoff=600_000),
        ],
    )


def _declared(app: App, queue: Queue, lane: Lane, broker: RedisBroker) -> Evaluate:
    def evaluate(message: dict[str, Any]) -> None:
        try:
            jobs = from_message(message)
        except UnknownVersion as error:
            _leave_to_newer(app, queue, message, lane, error)
            return
        if len(jobs) == 1:
            bind_contextvars(**jobs[0].about)
        if app.spans.is_on:
            jobs = _traced(app.spans.current(), jobs)
        while not (_may_go_on(app, queue, lane) and _evaluated(app, queue, jobs, lane)):
            app.clock.sleep(_PAUSE_SECONDS)
        queue.note_ended(lane, len(jobs))

    def bury(message: dict[str, Any], retries: dict[str, int]) -> None:
        for job in from_message(message["args"][0]):
            app.evaluation.give_up(job, f"the worker failed {retries['retries']} times, see its log")

    grave = dramatiq.actor(broker=broker, queue_name=lane, actor_name=f"bury-{lane}")(bury)
    actor = dramatiq.actor(broker=broker, queue_name=lane, actor_name=lane, on_retry_exhausted=grave.actor_name)
    return actor(evaluate)


def _traced(span: Span, jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Say on a batch's span what it is about, and which sweeps sampled it; return jobs that remember their own.

    What waits for money or for a provider's batch comes back in other messages, put by nobody's span.
    """
    span.note(_about(jobs))
    span.link(sorted({job.origin for job in jobs if job.origin}))
    return tuple(job if job.origin else replace(job, origin=span.follows) for job in jobs)


def _about(jobs: Sequence[Job]) -> dict[str, Attribute]:
    """Return what a batch's span says of it: whose ids, so that it is found by any of them."""
    traces = [job.ref.id for job in jobs if isinstance(job.ref, TraceRef)]
    sessions = [job.ref.session_id for job in jobs if isinstance(job.ref, SessionRef)]
    found: dict[str, Attribute] = {TRACE_ID: traces, SESSION_ID: sessions}
    attempt = max((job.attempt for job in jobs), default=0)
    return {name: ids for name, ids in found.items() if ids} | {"evaluator.attempt": attempt}


def _lane_worker(app: App, queue: Queue, lane: Lane, threads: int) -> dramatiq.Worker:
    # A broker of its own: Dramatiq ties one set of worker threads to each.
    broker = _open_broker(app)
    _declared(app, queue, lane, broker)
    return dramatiq.Worker(broker, worker_threads=threads, worker_timeout=_POLL_MILLISECONDS[lane])


def _leave_to_newer(app: App, queue: Queue, message: Mapping[str, Any], lane: Lane, why: UnknownVersion) -> None:
    """Put a message of a newer release back as it is, for a worker of that release."""
    _log.warning("a message is left to a newer worker", reason=str(why), again_in=str(_NEWER_DELAY))
    while True:
        try:
            queue.put_message(message, _NEWER_DELAY, lane)
        except Unavailable:
            app.clock.sleep(_PAUSE_SECONDS)
        else:
            return


def _may_go_on(app: App, queue: Queue, lane: Lane) -> bool:
    """Whether a batch may be worked on now: old traces give way to live ones that wait."""
    if lane is not Lane.BACKFILL or app.model.is_drained:
        return True
    try:
        return not queue.waiting(Lane.LIVE)
    except Unavailable:
        return False


def _evaluated(app: App, queue: Queue, jobs: Sequence[Job], lane: Lane) -> bool:
    """Evaluate jobs and put back what is left; False when Redis, or all of Langfuse, went away on the way.

    The actor then waits and does it again: settled work is left out, remembered outcomes are not paid for again. It
    must not raise instead: Dramatiq could not enqueue the retry, and would acknowledge the message once Redis is back.
    """
    try:
        for again in app.evaluation.evaluate(jobs, lane):
            queue.put(again.jobs, again.delay, again.lane)
    except Unavailable as error:
        _log.warning("the batch waits", reason=str(error), traces=len(jobs))
        app.spans.current().tell("waits", {"error.type": kind_of(error)})
        return False
    except Exception as error:  # noqa: BLE001 - nothing may pass with its own words
        _log.error("a batch failed by a mistake of the service", exc_info=error, traces=len(jobs))
        # Dramatiq keeps the traceback with the message, in Redis: the words of this error may be content.
        raise _Mistake(type(error).__name__) from None
    return True


def _try_again(retries: int, error: BaseException) -> bool:
    del error
    return retries < TRIES
