"""Group commit: what many threads ask for within some tens of milliseconds goes out in few requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Grouped(Generic[Item, Answer]):
    """Gathers items for a moment, has them done together, and gives each caller the answers to its own.

    Requests to Langfuse are what is scarce: on the smallest plan there are 30 a minute.
    """

    def __init__(
        self, work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], most: int, seconds: float
    ) -> None:
        """Do `work` on at most `most` items at a time, `seconds` after the first one came, or as soon as it is full."""
        self._work = work
        self._most = most
        self._seconds = seconds
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[Sequence[Answer]]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, items: Sequence[Item]) -> list[Answer]:
        """Return the answer to each item.

        Raises:
            Exception: whatever `work` raised for the group an item was in.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Sequence[Answer]]] = []
        left = items
        while left:
            part, left = left[: self._most - self._count], left[self._most - self._count :]
            future: asyncio.Future[Sequence[Answer]] = loop.create_future()
            futures.append(future)
            self._waiting.append((part, future))
            self._count += len(part)
            if self._count == self._most:
                self._send()
        if self._waiting and self._timer is None:
            self._timer = loop.call_later(self._seconds, self._send)
        if futures:
            await asyncio.wait(futures)
        # An answer may itself be an error somebody wants to read; only what `work` raised is raised here.
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        return [answer for future in futures for answer in future.result()]

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._waiting, self._count = self._waiting, [], 0
        if group:
            task = asyncio.get_running_loop().create_task(self._do(group))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _do(self, group: Sequence[tuple[Sequence[Item], asyncio.Future[Sequence[Answer]]]]) -> None:
        try:
            answers = await self._work([item for part, _ in group for item in part])
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for part, future in group:
            if not future.done():
                future.set_result(answers[start : start + len(part)])
            start += len(part)
