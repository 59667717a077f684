"""Group commit: what many threads ask for within some tens of milliseconds goes out in few requests."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MOST_NAMED: Final = 5
"""Messages that a line of the log names; of others it says how many they are."""


class _Part(NamedTuple, Generic[Item, Answer]):
    """What one caller asks for, who it is in the words of the log, and where its answers go."""

    items: Sequence[Item]
    about: Mapping[str, Any]
    answers: asyncio.Future[Sequence[Answer]]


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
        self._waiting: list[_Part[Item, Answer]] = []
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
        left, about = items, get_contextvars()
        while left:
            part, left = left[: self._most - self._count], left[self._most - self._count :]
            future: asyncio.Future[Sequence[Answer]] = loop.create_future()
            futures.append(future)
            self._waiting.append(_Part(part, about, future))
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
            # By itself it would run in the name of whoever came first, or made it full.
            known = contextvars.copy_context()
            known.run(_name, [part.about for part in group])
            task = asyncio.get_running_loop().create_task(self._do(group), context=known)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _do(self, group: Sequence[_Part[Item, Answer]]) -> None:
        try:
            answers = await self._work([item for part in group for item in part.items])
        except BaseException as error:
            for part in group:
                if not part.answers.done():
                    part.answers.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for part in group:
            if not part.answers.done():
                part.answers.set_result(answers[start : start + len(part.items)])
            start += len(part.items)


def _name(callers: Sequence[Mapping[str, Any]]) -> None:
    """Let the log name all of those for whom something is done together."""
    names = dict.fromkeys(name for about in callers for name in about)
    known = {name: list(dict.fromkeys(str(about[name]) for about in callers if name in about)) for name in names}
    clear_contextvars()
    bind_contextvars(**{name: _shown(values) for name, values in known.items()})


def _shown(values: Sequence[str]) -> str:
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    return ",".join(values[:_MOST_NAMED]) + more
