"""Dramatiq's Redis broker, which loses no message to a Redis that goes away, comes back, or takes nothing for a while.

Redis counts a message that was fetched as being worked on by the broker that fetched it, until that broker says more of
it or falls silent. As long as it lives nobody else takes the message: what it lost on the way it must take up itself.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from queue import Empty, PriorityQueue
from typing import Any, Final, cast

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import compute_backoff
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware, Retries

from evaluator.errors import Unavailable
from evaluator.state.connection import reachable
from evaluator.telemetry.spans import Attribute, Spans

TRACEPARENT: Final = "traceparent"
"""The option of a message that says which span put it on the queue. Workers that know none do not mind it."""

DELAYED: Final = ".DQ"
"""How Dramatiq ends the name of a queue of delayed messages."""

_TIDY_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0

_LEAVING_SECONDS: Final = 0.05
"""Between two looks of a worker that is told to stop; until its threads have ended they keep it heard."""

_log = structlog.get_logger(__name__)


class Away(ConnectionClosed, redis.ConnectionError):
    """Redis cannot be reached, or takes nothing now. Dramatiq waits for it as for a lost connection, and so do we."""


class Broker(RedisBroker):
    """Waits for Redis where Dramatiq would give up, and takes up again what got lost with a connection."""

    def __init__(self, **options: Any) -> None:
        """Take what Dramatiq's broker takes."""
        super().__init__(**options)  # type: ignore[no-untyped-call] # Dramatiq does not annotate it
        self._in_hand: defaultdict[str, set[str]] = defaultdict(set)
        self._heard_since = time.monotonic()
        self._tidied: dict[str, float] = {}
        self._here = threading.local()
        self.leaving = threading.Event()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Consume a queue, with what was fetched from it by us and is not in our hand.

        Dramatiq does so again after each broken connection, and forgets the delayed messages it had in hand.
        """
        if queue_name.endswith(DELAYED):
            self._in_hand[queue_name].clear()
        with self._told_as_away():
            held = cast("set[bytes]", self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"))
        lost = {each.decode() for each in held} - self._in_hand[queue_name]
        if lost:
            _log.info("messages are taken up again", queue=queue_name, messages=len(lost))
            self.do_requeue(queue_name, *lost)
        return _Consumer(self, queue_name, prefetch, timeout)

    def _dispatch(self, command: str) -> Callable[..., Any]:
        """Return the function that does `command`, as Dramatiq's broker calls it."""
        dispatch = super()._dispatch(command)  # type: ignore[no-untyped-call]

        def do(queue_name: str, *arguments: Any) -> Any:
            self._here.queue = queue_name
            with self._told_as_away():
                answer = dispatch(queue_name, *arguments)
            self._note(command, queue_name, arguments, answer)
            return answer

        return do

    @contextlib.contextmanager
    def _told_as_away(self) -> Iterator[None]:
        try:
            with reachable():
                yield
        except Unavailable as error:
            self._heard_since = time.monotonic()
            raise Away(str(error)) from error  # type: ignore[no-untyped-call]

    def _note(self, command: str, queue_name: str, arguments: tuple[Any, ...], answer: Any) -> None:
        """Keep which messages are in our hand."""
        if command == "fetch":
            messages = (dramatiq.Message.decode(data) for data in answer if data is not None)
            self._in_hand[queue_name].update(message.options["redis_message_id"] for message in messages)
        elif command in {"ack", "nack", "requeue"}:
            self._in_hand[queue_name].difference_update(arguments)

    def _should_do_maintenance(self, command: str) -> int:
        """Whether the messages of workers that fell silent are given to others now: a look a second into each queue.

        Dramatiq leaves it to chance, with which an idle worker takes minutes.

        While Redis was away all fell silent: who comes back first would take the work out of the hands of all others,
        and its judge calls would be paid for twice. So everybody has the time of a heartbeat to be heard again.
        """
        now, queue = time.monotonic(), self._here.queue
        heard = now - self._heard_since >= self.heartbeat_timeout / 1000
        if command != "fetch" or not heard or now - self._tidied.get(queue, -math.inf) < _TIDY_SECONDS:
            return 0
        self._tidied[queue] = now
        return 1


class _Consumer(_RedisConsumer):
    """Rests as Dramatiq's does between two looks at an empty queue, but not while its worker is told to stop."""

    def __init__(self, broker: Broker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout=0)  # type: ignore[no-untyped-call] # 0: it never rests
        self._leaving = broker.leaving
        self._longest = timeout

    def __next__(self) -> dramatiq.MessageProxy | None:
        message = cast("dramatiq.MessageProxy | None", super().__next__())  # type: ignore[no-untyped-call]
        if message is None:
            _, milliseconds = compute_backoff(self.misses - 1, max_backoff=self._longest)
            if self._leaving.wait(milliseconds / 1000):
                time.sleep(_LEAVING_SECONDS)
        return message


class PromptStop(Middleware):
    """Lets a worker stop at once when it has nothing in hand; Dramatiq's waits until each of its threads looks up."""

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Give the worker's threads a queue that can be closed."""
        worker.work_queue = _Work()
        cast("Broker", broker).leaving.clear()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Wake everybody who waits for work."""
        cast("Broker", broker).leaving.set()
        cast("_Work", worker.work_queue).close()


class _Work(PriorityQueue[Any]):
    """What a worker's threads do next. Closed, it lets nobody wait; what is in it can still be taken."""

    def __init__(self) -> None:
        super().__init__()
        self._closed = False

    def close(self) -> None:
        with self.mutex:
            self._closed = True
            self.not_empty.notify_all()

    def _qsize(self) -> int:
        return super()._qsize() or self._closed

    def _get(self) -> Any:
        if not super()._qsize():
            raise Empty
        return super()._get()


class PatientRetries(Retries):
    """Retries of messages whose actor raised, enqueued when Redis takes them.

    Dramatiq would lose a message whose retry it cannot enqueue: it acknowledges it once Redis is back.
    """

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Enqueue the retry, waiting for Redis."""
        options = dict(message.options)
        while True:
            try:
                super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]
            except Away:
                message.options.clear()
                message.options.update(options)
                time.sleep(_PAUSE_SECONDS)
            else:
                return


class Traced(Middleware):
    """Makes a span of each message that is worked on, linked to what put it on the queue."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._here = threading.local()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Begin it; it is current in this thread."""
        del broker
        about: dict[str, Attribute] = {
            "messaging.system": "dramatiq",
            "messaging.destination.name": message.queue_name,
            "messaging.message.id": message.message_id,
        }
        follows = message.options.get(TRACEPARENT)
        self._here.span = self._spans.span("batch", about, follows if isinstance(follows, str) else None).__enter__()

    def after_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy, *, result: Any = None, exception: Any = None
    ) -> None:
        """End it."""
        del broker, message, result
        span, self._here.span = getattr(self._here, "span", None), None
        if span is not None:
            span.__exit__(type(exception), exception, None)

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """End it."""
        self.after_process_message(broker, message)
