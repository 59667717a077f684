"""One worker process against two, on all cores of the machine: does a second one help?

The traces are found and queued beforehand; then the workers start, and time runs from their first request to the last
score. As for CPU, the difference between two sizes is what counts: it is the pace once everything is under way, without
the start and the last calls. Nothing is pinned here: stand-ins and Valkey take their share of the same cores.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.outside import Behaviour
from benchmarks.running import SCORES_A_TRACE, environment, valkey
from benchmarks.stand_ins import StandIns

_LONGEST: Final = 120.0
_POLL: Final = 0.1


@dataclass(frozen=True, slots=True)
class Fleet:
    """What so many workers came to: CPU seconds of all of them, start included, and seconds for the traces."""

    workers: int
    traces: int
    cpu: float
    seconds: float


def fleet(workers: int, stand_ins: StandIns, behaviour: Behaviour, at_once: int) -> Fleet:
    """Let so many worker processes evaluate everything, each with `at_once` model calls in flight.

    Raises:
        TimeoutError: scores were still missing after two minutes.
    """
    stand_ins.reset(behaviour)
    with tempfile.TemporaryDirectory() as name, valkey(Path(name) / "data", wanted=True, core=None) as store:
        given = environment(stand_ins.url, Path(name), at_once, store.url)
        queued = [sys.executable, "-m", "evaluator.cli", "sweep", "--since", "1h", "--no-work"]
        subprocess.run(queued, env=given, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stand_ins.reset(behaviour)
        processes: list[subprocess.Popen[bytes]] = []
        with _running(workers, given, processes):
            _wait(stand_ins, SCORES_A_TRACE * behaviour.traces)
        return Fleet(workers, behaviour.traces, sum(map(_ended, processes)), stand_ins.counts()["seconds"])


@contextlib.contextmanager
def _running(workers: int, given: Mapping[str, str], processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Start workers, and tell them to stop; who waits for their end learns their CPU."""
    command = [sys.executable, "-m", "evaluator.cli", "worker"]
    quiet = subprocess.DEVNULL
    try:
        processes += [subprocess.Popen(command, env=given, stdout=quiet, stderr=quiet) for _ in range(workers)]
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)


def _wait(stand_ins: StandIns, scores: int) -> None:
    until = time.monotonic() + _LONGEST
    while (found := stand_ins.counts()["pairs"]) < scores:
        if time.monotonic() > until:
            raise TimeoutError(f"{found} of {scores} scores after {_LONGEST:.0f} s")
        time.sleep(_POLL)


def _ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process and return the CPU seconds it has used."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime
