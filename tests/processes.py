"""Service processes of a test, to be killed, stopped and doubled."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import forked


class Processes:
    """Service processes of one test."""

    def __init__(self, environment: dict[str, str], folder: Path, log: Path) -> None:
        self._environment = {**os.environ, **environment, "EVALUATOR_CONFIG": str(folder)}
        self._log = log
        self.running: list[forked.Forked] = []

    def start(self, *arguments: str) -> forked.Forked:
        with self._log.open("ab") as log:
            process = forked.start("evaluator.cli", arguments, env=self._environment, out=log, err=log)
        self.running.append(process)
        return process

    def log(self) -> str:
        return self._log.read_text()


@contextlib.contextmanager
def running(environment: dict[str, str], folder: Path, log: Path) -> Iterator[Processes]:
    """Give a way to start processes; those still running at the end are killed."""
    started = Processes(environment, folder, log)
    try:
        yield started
    finally:
        for process in started.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False
