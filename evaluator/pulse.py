"""The pulse of a process: every few seconds it says that it lives, and adds what it counted to the fleet's numbers.

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:workers | hash | a minute after the last | process -> what it does, when it was last heard | they say so again |
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

import orjson
import redis
import structlog

from evaluator.app import App
from evaluator.clock import Clock
from evaluator.errors import EvaluatorError
from evaluator.state.connection import connect, reachable
from evaluator.state.counters import Counters

BEAT: Final = timedelta(seconds=5)
SILENT: Final = timedelta(seconds=30)
"""Who said nothing for so long is not counted among the living."""

_FORGOTTEN: Final = timedelta(minutes=1)
_STUCK_SECONDS: Final = 90.0
"""Longer than Redis may keep a beat waiting: what takes longer hangs."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the fleet; `role` is run, scheduler, worker or sweep, `threads` those of each lane."""

    name: str
    role: str
    threads: int
    release: str
    started: datetime
    heard: datetime


class Processes:
    """Who lives. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._key = f"{namespace}:workers"

    def beat(self, process: Process) -> None:
        """Say that a process lives."""
        with reachable():
            pipe = self._redis.pipeline()
            pipe.hset(self._key, process.name, orjson.dumps(asdict(process)))
            pipe.expire(self._key, _FORGOTTEN)
            pipe.execute()

    def leave(self, name: str) -> None:
        """Say that a process ends."""
        with reachable():
            self._redis.hdel(self._key, name)

    def living(self, now: datetime) -> list[Process]:
        """Return who was heard lately, by role and name; who fell silent is forgotten."""
        with reachable():
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._key))
            every = [_read(orjson.loads(data)) for data in found.values()]
            silent = [each.name for each in every if now - each.heard > _FORGOTTEN]
            if silent:
                self._redis.hdel(self._key, *silent)
        return sorted((each for each in every if now - each.heard <= SILENT), key=lambda each: (each.role, each.name))


class Pulse:
    """Beats on a thread of its own until it is stopped."""

    def __init__(self, process: Process, processes: Processes, counters: Counters, clock: Clock) -> None:
        self.process = process
        self._processes = processes
        self._counters = counters
        self._clock = clock
        self._stopped = threading.Event()
        self._turned = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    @property
    def is_stuck(self) -> bool:
        """Whether the thread hangs or has died."""
        return not self._thread.is_alive() or self._clock.monotonic() - self._turned > _STUCK_SECONDS

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; what was counted is added, as far as Redis can be reached."""
        self._stopped.set()
        self._thread.join(BEAT.total_seconds())
        with contextlib.suppress(EvaluatorError):
            self._counters.flush()
            self._processes.leave(self.process.name)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._processes.beat(replace(self.process, heard=self._clock.now()))
                self._counters.flush()
            except EvaluatorError as error:
                _log.debug("no pulse", reason=str(error))  # whoever needs Redis says so louder
            self._turned = self._clock.monotonic()
            self._stopped.wait(BEAT.total_seconds())


@contextlib.contextmanager
def beating(app: App, role: str, threads: int = 0) -> Iterator[Pulse]:
    """Let this process have a pulse for as long as the block runs."""
    now = app.clock.now()
    name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
    process = Process(name, role, threads, importlib.metadata.version("evaluator"), now, now)
    with connect(app.redis_url) as client:
        processes = Processes(client, app.settings.evaluator_namespace)
        pulse = Pulse(process, processes, app.state.counters, app.clock)
        pulse.start()
        try:
            yield pulse
        finally:
            pulse.stop()


def living(app: App) -> list[Process]:
    """Return who of the fleet lives.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with connect(app.redis_url) as client:
        return Processes(client, app.settings.evaluator_namespace).living(app.clock.now())


def _read(data: dict[str, Any]) -> Process:
    times = {name: datetime.fromisoformat(data[name]) for name in ("started", "heard")}
    return Process(**{**data, **times})
