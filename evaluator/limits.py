"""Limits that belong to the whole fleet, not to one process: requests a minute and pauses a provider asked for."""

from __future__ import annotations

from typing import Protocol


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
