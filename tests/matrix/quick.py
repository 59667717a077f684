"""The service's command line with its waits shortened: the same code, so that a run of the matrix takes seconds.

`python -m tests.matrix.quick worker` is `evaluator worker` with other constants, and with a clock that a file shifts.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest import mock

from evaluator.cli import main
from evaluator.clock import SystemClock
from evaluator.langfuse import Langfuse
from evaluator.model import ModelApi
from evaluator.sampling.jobs import Lane

CLOCK: Final = "MATRIX_CLOCK"
"""Variable that names the file with the seconds by which the process's clock is wrong."""

WAITS: Final[dict[str, Any]] = {
    "evaluator.scoring.endings._FIRST_DELAY": timedelta(seconds=0.1),
    "evaluator.scoring.endings._LONGEST_DELAY": timedelta(seconds=1),
    "evaluator.scoring.endings._OUTAGE_DELAY": timedelta(seconds=0.2),
    "evaluator.pipeline._REDIS_PAUSE_SECONDS": 0.1,
    "evaluator.broker._PAUSE_SECONDS": 0.1,
    "evaluator.state.monitor_records._LOCK_SECONDS": 2,
    "evaluator.worker._PAUSE_SECONDS": 0.1,
    "evaluator.worker._POLL_MILLISECONDS": dict.fromkeys(Lane, 100),
    "evaluator.scheduler.LEASE": timedelta(seconds=3),
    "evaluator.scheduler._RENEW": timedelta(seconds=1),
    "evaluator.scheduler._DUE": timedelta(seconds=0.5),
    "evaluator.scheduler._FIRST_WAIT": 1.0,
    "evaluator.model.slow._SECONDS": 1.0,
    "evaluator.messages.delivery._FIRST_WAIT": 0.2,
    "evaluator.messages.slack._TIMEOUT_SECONDS": 1,
    "evaluator.messages.slack._wait": lambda _state: 0.05,
    "dramatiq.worker.CONSUMER_RESTART_DELAY_SECS": 0.2,
    "dramatiq.worker.POST_PROCESS_MESSAGE_RETRY_DELAY_SECS": 0.2,
}


class ShiftedClock(SystemClock):
    """The machine's clock, wrong by as many seconds as a file says."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(self._file.read_text()))


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Shorten every wait of the service in this process."""
    langfuse = functools.partial(Langfuse, timeout=1.0, attempts=3)
    model = functools.partial(ModelApi, timeout=5.0, attempts=3, first_backoff=0.05)
    replaced = {**WAITS, "evaluator.app.Langfuse": langfuse, "evaluator.app.ModelApi": model}
    if shift := os.environ.get(CLOCK):
        replaced["evaluator.app.SystemClock"] = functools.partial(ShiftedClock, Path(shift))
    with contextlib.ExitStack() as stack:
        for place, value in replaced.items():
            stack.enter_context(mock.patch(place, value))
        yield


if __name__ == "__main__":
    with quick():
        main()
