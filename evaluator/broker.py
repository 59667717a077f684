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
from typing import Any, Final, cast

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Retries

from evaluator.connection import reachable
from evaluator.errors import Unavailable

_DELAYED: Final = ".DQ"
"""How Dramatiq ends the name of a queue of delayed messages."""

_TIDY_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0

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

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        """Consume a queue, with what was fetched from it by us and is not in our hand.

        Dramatiq does so again after each broken connection, and forgets the delayed messages it had in hand.
        """
        if queue_name.endswith(_DELAYED):
            self._in_hand[queue_name].clear()
        with _told_as_away():
            held = cast("set[bytes]", self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"))
        lost = {each.decode() for each in held} - self._in_hand[queue_name]
        if lost:
            _log.info("messages are taken up again", queue=queue_name, messages=len(lost))
            self.do_requeue(queue_name, *lost)
        return super().consume(queue_name, prefetch, timeout)

    def _dispatch(self, command: str) -> Callable[..., Any]:
        """Return the function that does `command`, as Dramatiq's broker calls it."""
        dispatch = super()._dispatch(command)  # type: ignore[no-untyped-call]

        def do(queue_name: str, *arguments: Any) -> Any:
            self._here.queue = queue_name
            try:
                with _told_as_away():
                    answer = dispatch(queue_name, *arguments)
            except Away:
                self._heard_since = time.monotonic()
                raise
            self._note(command, queue_name, arguments, answer)
            return answer

        return do

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


@contextlib.contextmanager
def _told_as_away() -> Iterator[None]:
    try:
        with reachable():
            yield
    except Unavailable as error:
        raise Away(str(error)) from error  # type: ignore[no-untyped-call]
