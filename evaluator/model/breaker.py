"""The circuit breaker of models: one whose key is refused or whose quota is spent is left alone, then tried again.

What the fleet knows stands in Redis; a process asks it once in a while, for all its models in one go. While every
circuit is closed, a call costs a look into an empty dictionary.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from evaluator.errors import Unavailable
from evaluator.model.completion import ACCESS_REFUSED, KEY_REFUSED, QUOTA_EXHAUSTED
from evaluator.state.circuits import Circuits
from traces import Failure, Outcome

_LOOK_SECONDS: Final = 5.0
"""So long a process goes by what it knows."""

_DENIALS: Final = 3
"""In a row: one 403 may be a firewall that dislikes one prompt."""

_OPENING: Final = frozenset({KEY_REFUSED, QUOTA_EXHAUSTED})

Tell = Callable[[str, str], Mapping[str, Any] | None]
"""Makes the message for Slack about a model, by its name and what is wrong; None where there is no Slack."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Open:
    why: str
    due: float
    tries: bool


class Breaker:
    """What one process knows of the circuits. Belongs to one event loop, but for `is_open`."""

    def __init__(
        self, circuits: Circuits | None, now: Callable[[], float], tell: Tell = lambda _model, _why: None
    ) -> None:
        """Share `circuits` with the fleet; without them a refusal concerns one question only.

        Args:
            circuits: those of the fleet.
            now: seconds, of any start; the time of the event loop.
            tell: makes what people are told when one opens.
        """
        self._circuits = circuits
        self._tell = tell
        self._now = now
        self._models: set[str] = set()
        self._open: dict[str, _Open] = {}
        self._denied: Counter[str] = Counter()
        self._look_at = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether what is refused is known to the fleet, so that it may wait until it is mended."""
        return self._circuits is not None

    async def look(self, models: Iterable[str]) -> None:
        """Learn which circuits are open, when that was long ago; where Redis is away, what was known counts."""
        self._models.update(models)
        now = self._now()
        if self._circuits is None or (now < self._look_at and not self._is_any_due(now)):
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            found = await asyncio.to_thread(self._circuits.look, sorted(self._models), claim=True)
        except Unavailable:
            return
        now = self._now()
        tried = {model for model, known in self._open.items() if known.tries}
        self._open = {
            model: _Open(one.why, now + one.seconds, one.tries or model in tried) for model, one in found.items()
        }

    def is_open(self, model: str) -> bool:
        """Whether it is known that a model takes no calls now; asks nobody."""
        known = self._open.get(model)
        return known is not None and not known.tries and self._now() < known.due

    def keeps_off(self, model: str) -> str | None:
        """Return why a model is not to be asked; None when it may be."""
        known = self._open.get(model)
        return None if known is None or known.tries else known.why

    def tries(self, model: str) -> bool:
        """Whether the next call of a model is the trial of an open circuit; it is then nobody else's."""
        known = self._open.get(model)
        if known is None or not known.tries:
            return False
        known.tries = False
        return True

    async def learn(self, model: str, outcome: Outcome, *, trial: bool) -> bool:
        """Learn from the outcome of a question to a model; whether its circuit is open because of it.

        Raises nothing when Redis is away: this process then goes by what it saw itself.
        """
        if self._circuits is None:
            return False
        if isinstance(outcome, Failure):
            if self._is_refused(model, outcome.kind, trial=trial):
                await self._opened(self._circuits, model, outcome.reason, trial=trial)
                return True
        elif self._denied:
            self._denied.pop(model, None)
        if trial and not (isinstance(outcome, Failure) and outcome.retryable):
            await self._closed(self._circuits, model)
        return False

    def _is_refused(self, model: str, kind: str, *, trial: bool) -> bool:
        if kind == ACCESS_REFUSED:
            self._denied[model] += 1
            return trial or self._denied[model] >= _DENIALS
        return kind in _OPENING

    async def _opened(self, circuits: Circuits, model: str, why: str, *, trial: bool) -> None:
        fresh, wait = True, _LOOK_SECONDS
        try:
            fresh, wait = await asyncio.to_thread(circuits.open, model, why, self._tell(model, why), trial=trial)
        except Unavailable as error:
            _log.warning("a circuit cannot be told to the fleet", model=model, reason=str(error))
        if fresh and model not in self._open:
            _log.error("a model takes no calls: its questions wait until it does", model=model, why=why)
        self._open[model] = _Open(why, self._now() + wait, tries=False)

    async def _closed(self, circuits: Circuits, model: str) -> None:
        self._open.pop(model, None)
        self._denied.pop(model, None)
        _log.info("a model takes calls again", model=model)
        try:
            await asyncio.to_thread(circuits.close, model)
        except Unavailable as error:
            _log.warning("a closed circuit cannot be told to the fleet", model=model, reason=str(error))

    def _is_any_due(self, now: float) -> bool:
        return bool(self._open) and any(now >= known.due for known in self._open.values())
