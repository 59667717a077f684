"""Waits that may be ended: for a place in the queue, for the provider's limits, for the next attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, cast

from evaluator.errors import Unavailable


class Waits:
    """Those of one batch who wait for something that nobody has paid for yet. Belongs to one event loop."""

    def __init__(self) -> None:
        """Let everybody wait."""
        self.ended_by = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Wait for something inside this block.

        Raises:
            Unavailable: the waits are over, or were ended meanwhile.
        """
        if self.ended_by:
            raise Unavailable(self.ended_by)
        task = cast("asyncio.Task[Any]", asyncio.current_task())  # a coroutine of ours always runs in a task
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # `end` takes out the tasks it cancels; when somebody else cancelled the task too, that goes on.
            if task in self._tasks or task.uncancel() > 0:
                raise
            raise Unavailable(self.ended_by) from None
        finally:
            self._tasks.discard(task)

    def end(self, why: str) -> None:
        """End every wait, and every one to come; only the first `why` counts."""
        self.ended_by = self.ended_by or why
        while self._tasks:
            self._tasks.pop().cancel()
