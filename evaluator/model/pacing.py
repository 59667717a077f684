"""How many calls of each model a process has in the air, as one process of a fleet: a cut of one is a cut of all.

A process that meets an overrun server lets fewer calls through at once, and tells the fleet; the others do so at their
next look, a second later at most, before they have met as many refusals. Those who meet the same overload together cut
once. Whoever starts begins where the fleet is. Calls do not wait for any of it: Redis is asked once a second, for all
models together, and only while there are calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from evaluator.errors import Unavailable
from evaluator.model.concurrency import Slots
from evaluator.paces import Paces

_LOOK_SECONDS: Final = 1.0
_LONGEST_LOOK: Final = 2.0
"""Seconds the first call of a model waits for what the fleet knows."""

_log = structlog.get_logger(__name__)


class Pacing:
    """The places of all models. Belongs to one event loop."""

    def __init__(self, paces: Paces | None, most: Callable[[str], int], now: Callable[[], float]) -> None:
        """Share `paces` with the fleet; without them each process learns alone.

        Args:
            paces: those of the fleet.
            most: tells how many calls of a model a process may have in the air at most.
            now: seconds, of any start; the time of the event loop.
        """
        self._paces = paces
        self._most = most
        self._now = now
        self._slots: dict[str, Slots] = {}
        self._known: dict[str, int] = {}
        self._look_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def slots(self, model: str) -> Slots:
        """Return the places of a model; the first time they are as many as the fleet has learned."""
        slots = self._slots.get(model)
        if slots is None:
            slots = self._slots[model] = Slots(model, self._most(model), self._now, lambda: self._cut(model))
            self._look_at = 0.0
            self._look_soon()
            if self._looking is not None:
                await asyncio.wait([self._looking], timeout=_LONGEST_LOOK)
        elif self._now() >= self._look_at:
            self._look_soon()
        return slots

    async def close(self) -> None:
        """Tell the fleet what it is not told yet."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LOOK_SECONDS)

    def _look_soon(self) -> None:
        if self._paces is not None and self._looking is None:
            self._look_at = self._now() + _LOOK_SECONDS
            self._looking = self._start(self._look(self._paces))

    async def _look(self, paces: Paces) -> None:
        try:
            found = await asyncio.to_thread(paces.look, list(self._slots))
        except Unavailable:
            return  # what this process meets itself counts
        finally:
            self._looking = None
        for model, cut in found.items():
            known = self._known.get(model)
            if known is None:
                self._slots[model].begin_with(cut.calls)
            elif cut.at > known:
                self._slots[model].give_way(cut.calls)
            self._known[model] = cut.at
        for model in self._slots.keys() - found.keys():
            self._known.setdefault(model, 0)

    def _cut(self, model: str) -> None:
        if self._paces is not None:
            self._start(self._tell(self._paces, model))

    async def _tell(self, paces: Paces, model: str) -> None:
        try:
            at, _ = await asyncio.to_thread(paces.cut, model, self._known.get(model, 0), self._slots[model].limit)
        except Unavailable as error:
            _log.warning("the fleet cannot be told to have fewer calls in the air", model=model, reason=str(error))
            return
        # Whoever's cut it is: this process has made its own for the same overload.
        self._known[model] = max(at, self._known.get(model, 0))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
