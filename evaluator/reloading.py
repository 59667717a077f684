"""Definitions that changed while the service runs: SIGHUP has them read again, by the process that is running.

They are validated first; a file that is wrong keeps the old ones, and the log says what is wrong, and where. Then the
batches in hand end with what they began with, and everything is opened anew with the new definitions. Should that fail,
for want of a key for a new model, say, the old ones are opened again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import structlog

from evaluator.definitions import Definitions, load
from evaluator.errors import ConfigError
from evaluator.settings import Settings
from evaluator.state.embedded import embedded_redis

_log = structlog.get_logger(__name__)


class Reload:
    """Whether definitions were read again, and which."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._before = definitions
        self._asked = threading.Event()
        self._is_ready = False

    def ask(self) -> None:
        """Have the definitions read again; may be called by a signal handler."""
        self._asked.set()

    def is_due(self) -> bool:
        """Whether there are new definitions to go on with; reads them when somebody asked for it."""
        if self._asked.is_set() and not self._is_ready:
            self._asked.clear()
            self._is_ready = self._read(self.definitions.folder)
        return self._is_ready

    def begin(self) -> None:
        """Note that the new definitions are in use."""
        self._is_ready = False

    def give_up(self, error: ConfigError) -> None:
        """Go back to the definitions of before; raises `error` when there were no others."""
        if self.definitions is self._before:
            raise error
        _tell(error)
        self.definitions = self._before

    def _read(self, folder: Path) -> bool:
        try:
            found = load(folder)
        except ConfigError as error:
            _tell(error)
            return False
        changed = _changed(self.definitions, found)
        _log.info("definitions are read again: batches in hand end with the old ones", changed=changed)
        self._before, self.definitions = self.definitions, found
        return True


@contextlib.contextmanager
def on_hangup(reload: Reload, told: threading.Event) -> Iterator[None]:
    """Have definitions read again at SIGHUP; when it came because the terminal was closed, the service stops."""
    interactive = sys.stderr.isatty()

    def hang_up(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interactive and not _has_terminal():
            told.set()
        else:
            reload.ask()

    before = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def keep_serving(
    settings: Settings,
    told: threading.Event,
    serving: Callable[[Definitions, Reload], AbstractContextManager[Callable[[], None]]],
) -> None:
    """Serve until told to stop, with the definitions of now.

    Args:
        settings: where they are, and Redis.
        told: set when the service should stop.
        serving: opens everything for some definitions and gives what serves until told to stop or to reload.

    Raises:
        ConfigError: the first definitions are wrong, or cannot be opened.
    """
    reload = Reload(load(settings.evaluator_config))
    with contextlib.ExitStack() as stack:
        if not settings.redis_url.get_secret_value() and not settings.missing():
            stack.enter_context(embedded_redis(settings.evaluator_data))  # it outlives what is opened anew
        stack.enter_context(on_hangup(reload, told))
        while not told.is_set():
            try:
                with serving(reload.definitions, reload) as serve:
                    reload.begin()
                    serve()
            except ConfigError as error:
                reload.give_up(error)


def _tell(error: ConfigError) -> None:
    for problem in error.problems:
        _log.error("definitions are not taken over, the old ones stay", problem=str(problem))


def _changed(old: Definitions, new: Definitions) -> list[str]:
    """Return the names of evaluators that are new, gone, or of another version."""
    before, after = ({each.name: each.version for each in one.evaluators} for one in (old, new))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _has_terminal() -> bool:
    try:
        os.tcgetpgrp(sys.stderr.fileno())
    except OSError:
        return False
    return True
