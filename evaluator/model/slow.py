"""Which models keep people waiting just now, so that work which is in a hurry goes on without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SECONDS: Final = 60.0


class Slow:
    """Models that lately did not answer in time: left alone for a minute by those in a hurry, then one tries again."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Take the time in seconds from `now`, of any start."""
        self._now = now
        self._until: dict[str, float] = {}

    def turns_away(self, model: str) -> bool:
        """Whether somebody in a hurry should not ask `model`. The first to ask after the minute tries for all."""
        until = self._until.get(model)
        if until is None:
            return False
        if self._now() < until:
            return True
        self.mark(model)
        return False

    def mark(self, model: str) -> None:
        """Note that a model kept somebody waiting."""
        self._until[model] = self._now() + _SECONDS

    def clear(self, model: str) -> None:
        """Note that a model answered in time."""
        self._until.pop(model, None)
