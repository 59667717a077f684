"""Dramatiq: the broker, the one actor, and a worker that can be started and stopped.

`dramatiq evaluator.worker:main` works too; nothing happens at import.
"""

from __future__ import annotations

import atexit
import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, Retries, TimeLimit

from evaluator.app import App, open_app
from evaluator.batch import Job, UnknownVersion, from_message, to_message
from evaluator.errors import Unavailable
from evaluator.settings import load_settings
from evaluator.state import reachable
from evaluator.telemetry import configure_logs

QUEUE: Final = "evaluate"
TRIES: Final = 10
"""How often a message whose evaluation raises (a bug, a broken Redis) is tried, over about an hour."""

_TIME_LIMIT: Final = timedelta(hours=6)
"""Every call has a timeout of its own; this one only ends what nobody foresaw."""

_REDIS_PAUSE_SECONDS: Final = 1.0
_DELAYED: Final = ".DQ"
"""How Dramatiq ends the name of a queue of delayed messages."""

_MAINTENANCE_CHANCE: Final = 50_000
"""Of a million commands; Dramatiq's default of 1,000 leaves a killed worker's messages lying for minutes."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Queue:
    """The way into the workers."""

    broker: RedisBroker
    actor: dramatiq.Actor[[dict[str, Any]], None]

    def put(self, jobs: Sequence[Job], delay: timedelta = timedelta()) -> None:
        """Enqueue jobs as one message, not to be worked on before `delay` from now."""
        milliseconds = math.ceil(delay.total_seconds() * 1000)
        with reachable():
            self.actor.send_with_options(args=(to_message(jobs),), delay=milliseconds or None)

    def size(self) -> int:
        """Return how many messages are waiting, delayed or being worked on, anywhere."""
        with reachable():
            return int(self.broker.do_qsize(QUEUE))


def open_queue(app: App) -> Queue:
    """Connect to the queue and declare the actor on it."""
    broker = _Broker(  # type: ignore[no-untyped-call] # Dramatiq does not annotate it
        url=app.redis_url,
        namespace=f"{app.settings.evaluator_namespace}:queue",
        heartbeat_timeout=int(app.settings.evaluator_heartbeat * 1000),
        maintenance_chance=_MAINTENANCE_CHANCE,
        middleware=[
            TimeLimit(time_limit=int(_TIME_LIMIT.total_seconds() * 1000)),
            Retries(retry_when=_try_again, min_backoff=5_000, max_backoff=600_000),
        ],
    )

    def evaluate(message: dict[str, Any]) -> None:
        jobs = from_message(message)
        while not _evaluated(app, queue, jobs):
            app.clock.sleep(_REDIS_PAUSE_SECONDS)

    def bury(message: dict[str, Any], retries: dict[str, int]) -> None:
        for job in from_message(message["args"][0]):
            app.evaluation.give_up(job, f"the worker failed {retries['retries']} times, see its log")

    dramatiq.actor(broker=broker, queue_name=QUEUE)(bury)
    queue = Queue(broker, dramatiq.actor(broker=broker, queue_name=QUEUE, on_retry_exhausted="bury")(evaluate))
    return queue


@contextlib.contextmanager
def working(app: App, queue: Queue, threads: int | None = None) -> Iterator[dramatiq.Worker]:
    """Run worker threads; on leaving, paid calls finish within the grace period and the rest goes back to the queue."""
    app.model.accept()
    worker = dramatiq.Worker(queue.broker, worker_threads=threads or thread_count(app), worker_timeout=200)
    worker.start()
    _log.info("worker started", threads=worker.worker_threads)
    try:
        yield worker
    finally:
        app.model.drain()
        worker.stop(timeout=int(app.settings.evaluator_grace * 1000))
        _log.info("worker stopped")


def thread_count(app: App) -> int:
    """Return how many batches to have in hand: four times as many traces as model calls may be in flight.

    With fewer, the slowest call of each batch holds its whole batch back (docs: performance).
    """
    service = app.definitions.service
    return min(64, max(8, math.ceil(4 * service.limits.model_calls_in_flight / service.batch_size)))


def main() -> None:
    """Set up a worker process for `dramatiq evaluator.worker:main`; it closes when the process ends."""
    settings = load_settings()
    configure_logs(settings.evaluator_log)
    stack = contextlib.ExitStack()
    app = stack.enter_context(open_app(settings))
    queue = open_queue(app)
    queue.broker.add_middleware(_Drain(app))
    dramatiq.set_broker(queue.broker)
    atexit.register(stack.close)


class _Broker(RedisBroker):
    """Dramatiq's broker, which after a broken connection forgets the delayed messages it had in hand."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Consume a queue; delayed messages that were in hand when the connection broke are handed out again.

        Redis still counts them as being worked on by us, so that nobody else would ever take them.
        """
        if queue_name.endswith(_DELAYED):
            held = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}")
            if held:
                _log.info("delayed messages are taken up again", messages=len(held))
                self.do_requeue(queue_name, *held)
        return super().consume(queue_name, prefetch, timeout)


class _Drain(Middleware):
    """Let paid calls finish and start no new ones when Dramatiq's own command line shuts a worker down."""

    def __init__(self, app: App) -> None:
        self._app = app

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop asking."""
        del broker, worker
        self._app.model.drain()


def _evaluated(app: App, queue: Queue, jobs: Sequence[Job]) -> bool:
    """Evaluate jobs and put back what is left; False when Redis went away on the way.

    The actor then waits and does it again: settled work is left out, remembered outcomes are not paid for again. It
    must not raise instead: Dramatiq could not enqueue the retry, and would acknowledge the message once Redis is back.
    """
    try:
        for again in app.evaluation.evaluate(jobs):
            queue.put(again.jobs, again.delay)
    except Unavailable as error:
        _log.warning("the batch waits for Redis", reason=str(error), traces=len(jobs))
        return False
    return True


def _try_again(retries: int, error: BaseException) -> bool:
    # A message of a newer release waits for a newer worker, for ever.
    return isinstance(error, UnknownVersion) or retries < TRIES
