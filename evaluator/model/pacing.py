"""How many calls of each model a process has in the air, as one process of a fleet: a cut of one is a cut of all.

A process that meets an overrun server lets fewer calls through at once, and tells the fleet; the others do so at their
next look, a second later at most, before they have met as many refusals. Those who meet the same overload together cut
once. Whoever starts begins where the fleet is. Calls do not wait for any of it: Redis is asked once a second, for all
models together, and only while there are calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from evaluator.errors import Unavailable
from evaluator.model.concurrency import Slots
from evaluator.state.paces import Cut, Paces

_LOOK_SECONDS: Final = 1.0
_LONGEST_LOOK: Final = 2.0
"""Seconds the first calls of a model wait for what the fleet knows."""

_NO_CUT: Final = Cut(0, 0)

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
        self._begun: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def slots(self, model: str) -> Slots:
        """Return the places of a model; whoever asks before the fleet was asked about them waits until it was."""
        slots = self._slots.get(model)
        if slots is None:
            slots = self._slots[model] = Slots(model, self._most(model), self._now, lambda: self._cut(model))
        if self._paces is None:
            return slots
        begun = self._begun.get(model)
        if begun is None:
            self._look_at = self._now() + _LOOK_SECONDS
            begun = self._begun[model] = self._start(self._begin(self._paces, model))
        if not begun.done():
            await asyncio.wait([begun])
        elif self._now() >= self._look_at and (self._looking is None or self._looking.done()):
            self._look_at = self._now() + _LOOK_SECONDS
            self._looking = self._start(self._look(self._paces, list(self._slots)))
        return slots

    async def close(self) -> None:
        """Tell the fleet what it is not told yet."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LOOK_SECONDS)

    async def _begin(self, paces: Paces, model: str) -> None:
        await asyncio.wait([self._start(self._look(paces, [model]))], timeout=_LONGEST_LOOK)

    async def _look(self, paces: Paces, models: Sequence[str]) -> None:
        slowed = {model: slots.slowed for model, slots in self._slots.items()}
        told = {model: known for model, known in slowed.items() if known is not None}
        try:
            found = await asyncio.to_thread(paces.look, models)
            if told:
                await asyncio.to_thread(paces.tell, told)
        except Unavailable:
            return  # what this process meets itself counts
        for model in models:
            cut, known = found.get(model, _NO_CUT), self._known.get(model)
            if known is None and cut is not _NO_CUT:
                self._slots[model].begin_with(cut.calls)
            elif known is not None and cut.at > known:
                self._slots[model].give_way(cut.calls)
            self._learn(model, cut.at)

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
        self._learn(model, at)

    def _learn(self, model: str, at: int) -> None:
        """Know of a cut; what comes late, of a look that a newer cut overtook, is no news."""
        self._known[model] = max(at, self._known.get(model, 0))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
