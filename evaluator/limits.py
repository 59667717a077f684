"""Limits that belong to the whole fleet, not to one process: requests a minute and pauses a provider asked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, Protocol

from evaluator.state import State

_LONGEST_WAIT_SECONDS: Final = 5.0


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
    """A gate whose state all workers share through Redis."""

    def __init__(self, state: State, provider: str, per_minute: int | None) -> None:
        """Guard `provider`; `per_minute` requests, None for no limit but its own pauses."""
        self._state = state
        self._provider = provider
        self._per_minute = per_minute

    async def permit(self) -> None:
        """Return when one request may be sent. Redis is asked off the event loop: it must never block it."""
        ask = self._state.permit
        while wait := await asyncio.to_thread(ask, self._provider, self._per_minute):  # noqa: ASYNC110 - Redis has no event to wait for
            await asyncio.sleep(min(wait, _LONGEST_WAIT_SECONDS))

    async def pause(self, seconds: float) -> None:
        """Let nobody of the fleet send before `seconds` from now."""
        await asyncio.to_thread(self._state.pause, self._provider, timedelta(seconds=seconds))
