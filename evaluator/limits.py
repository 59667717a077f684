"""Limits that belong to the whole fleet, not to one process: requests a minute and pauses a provider asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from typing import Final, Protocol

from evaluator.state import State

_LONGEST_WAIT_SECONDS: Final = 5.0
_KNOWN_OPEN_SECONDS: Final = 0.2
"""A provider without a limit is not asked about for so long; a pause that another process met is seen after it."""


class Gate(Protocol):
    """One provider's limits, shared by every worker."""

    async def permit(self) -> None:
        """Return when one request may be sent."""

    async def pause(self, seconds: float) -> None:
        """Nobody sends before `seconds` from now: the provider said so."""


class OpenGate:
    """No limits: for a provider that has none, and for tests."""

    async def permit(self) -> None:
        """Return at once."""

    async def pause(self, seconds: float) -> None:
        """Ignore the pause."""


class FleetGate:
    """A gate whose state all workers share through Redis. Belongs to one event loop.

    Redis is asked for all who wait in one go, and off the event loop, which it must never block.
    """

    def __init__(self, state: State, provider: str, per_minute: int | None) -> None:
        """Guard `provider`; `per_minute` requests, None for no limit but its own pauses."""
        self._state = state
        self._provider = provider
        self._per_minute = per_minute
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._open_until = 0.0

    async def permit(self) -> None:
        """Return when one request may be sent.

        Raises:
            Unavailable: Redis cannot be asked.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._open_until:
            return
        permitted: asyncio.Future[None] = loop.create_future()
        self._waiting.append(permitted)
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        await permitted

    async def pause(self, seconds: float) -> None:
        """Let nobody of the fleet send before `seconds` from now."""
        self._open_until = 0.0
        await asyncio.to_thread(self._state.pause, self._provider, timedelta(seconds=seconds))

    async def _ask(self) -> None:
        try:
            while wanted := self._wanted():
                granted, wait = await asyncio.to_thread(self._state.permits, self._provider, self._per_minute, wanted)
                if self._per_minute is None and granted:
                    self._open_until = asyncio.get_running_loop().time() + _KNOWN_OPEN_SECONDS
                for _ in range(min(granted, self._wanted())):
                    self._waiting.popleft().set_result(None)
                if wait:
                    await asyncio.sleep(min(wait, _LONGEST_WAIT_SECONDS))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            for permitted in self._waiting:
                if not permitted.done():
                    permitted.set_exception(error)
            self._waiting.clear()
        finally:
            self._asking = None

    def _wanted(self) -> int:
        """Return how many wait, without those who gave up meanwhile."""
        self._waiting = deque(permitted for permitted in self._waiting if not permitted.done())
        return len(self._waiting)
