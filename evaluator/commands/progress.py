"""How far a command is, on standard error: a bar in a terminal, else a line now and then for a log."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_A_LINE: Final = 10.0


@contextlib.contextmanager
def counting(what: str, total: int | None, out: Console, now: Callable[[], float]) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many more are done.

    Args:
        what: is being counted, such as `answers`.
        total: how many there will be; None when nobody knows.
        out: where to.
        now: a clock in seconds.
    """
    if out.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), *([TextColumn("left"), TimeRemainingColumn()] if total else []))
        with Progress(*columns, *times, console=out, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.advance(task, more)
        return
    lines = _Lines(what, total, out, now)
    yield lines.more
    lines.end()


class _Lines:
    """A line when counting begins, one every ten seconds, and one at its end."""

    def __init__(self, what: str, total: int | None, out: Console, now: Callable[[], float]) -> None:
        self._of = f" of {total:,}" if total is not None else ""
        self._what, self._total, self._out, self._now = what, total, out, now
        self._done = 0
        self._said = self._started = now()
        self._lock = threading.Lock()
        if total is not None:
            out.print(f"{what}: {total:,} to come", highlight=False, markup=False)

    def more(self, number: int) -> None:
        with self._lock:
            self._done += number
            if self._now() - self._said >= _SECONDS_A_LINE:
                self._said = self._now()
                self._say(self._left())

    def end(self) -> None:
        self._say(f" in {self._now() - self._started:.1f} s")

    def _left(self) -> str:
        """Return how long the rest takes, if it goes on as it did."""
        if self._total is None or not self._done:
            return ""
        seconds = (self._now() - self._started) * (self._total - self._done) / self._done
        return f", about {seconds / 60:.0f} min left" if seconds >= 60 else f", about {seconds:.0f} s left"

    def _say(self, more: str) -> None:
        self._out.print(f"{self._what}: {self._done:,}{self._of}{more}", highlight=False, markup=False)
