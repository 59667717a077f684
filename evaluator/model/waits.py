"""Waits that may be ended: for a place in the queue, for the provider's limits, for the next attempt."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from evaluator.errors import Unavailable


class Waits:
    """Those of one batch who wait for something that nobody has paid for yet. Belongs to one event loop."""

    def __init__(self, *, gives_way: bool = False) -> None:
        """Let everybody wait; those who are in no hurry let others go first."""
        self.ended_by = ""
        self.gives_way = gives_way
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> None:
        """Wait for something inside the block.

        Raises:
            Unavailable: the waits are over, or were ended meanwhile.
        """
        if self.ended_by:
            raise Unavailable(self.ended_by)
        self._tasks.add(_current())

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        task = _current()
        still_waiting = task in self._tasks
        self._tasks.discard(task)
        # `end` takes out the tasks it cancels; when somebody else cancelled the task too, that goes on.
        if isinstance(error, asyncio.CancelledError) and not still_waiting and task.uncancel() == 0:
            raise Unavailable(self.ended_by) from None

    def end(self, why: str) -> None:
        """End every wait, and every one to come; only the first `why` counts."""
        self.ended_by = self.ended_by or why
        while self._tasks:
            self._tasks.pop().cancel()


def _current() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())  # a coroutine of ours always runs in a task
