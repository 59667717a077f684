"""How many calls of one model a process has in the air: fewer when its server is overrun, more again when it is not.

What one process of a fleet meets the others hear of: see `pacing`.

Each answer lets a little more through. Refusals for want of room take a third away, once they are more than a busy
provider gives whoever asks: one in twenty would be there at any number of calls, and fewer calls would meet as many.
Answers that take far longer than they did take less of it away.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from evaluator.state.paces import Slowed

_AFTER_REFUSAL: Final = 0.7
_TOLERATED: Final = 0.15
"""Share of calls that may be refused without anybody giving way."""

_LEAST_EXCESS: Final = 2.5
_EXCESS_A_CALL: Final = 1 / 16
"""Refusals beyond the tolerated share before calls give way, at least and for each call in the air (a CUSUM chart,
Page 1954): at one refusal in twenty it stays quiet for thousands of calls, at one in two it acts within a round.
"""

_ELSEWHERE: Final = "another process has met an overrun server"

_GROWTH: Final = 0.1
_WHEN_SLOW: Final = 0.85
_FAR_LONGER: Final = 2.5
_NOTICEABLE_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 10.0
_LEAST_SAMPLE: Final = 20
_SAMPLES_KEPT: Final = 20
_SHORTEST_CALM: Final = 0.1
_SILENCE: Final = 60.0
"""Seconds for which it is not said again: against an overrun server calls are cut and let through all the time."""

_log = structlog.get_logger(__name__)


class Slots:
    """Places for calls, first come, first served, but for those who give way. Belongs to one event loop."""

    def __init__(
        self, model: str, most: int, now: Callable[[], float], cut: Callable[[], object] = lambda: None
    ) -> None:
        """Give up to `most` places for calls of `model`.

        Args:
            model: which.
            most: places.
            now: seconds, of any start.
            cut: is told when there are fewer from now on, because of what was met here.
        """
        self._model = model
        self._told = cut
        self._most = most
        self._now = now
        self._limit = float(most)
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._giving_way: deque[asyncio.Future[None]] = deque()
        self._cut_at = self._said_at = -1e9
        self._excess = 0.0
        self._latencies: list[float] = []
        self._lately = 1.0
        self._medians: deque[float] = deque(maxlen=_SAMPLES_KEPT)
        self._why = ""

    @property
    def limit(self) -> int:
        """How many calls may be in the air now."""
        return int(self._limit)

    @property
    def slowed(self) -> Slowed | None:
        """How far it is from what it may have at most, and why; None when it is not."""
        return Slowed(self.limit, self._most, self._why) if self.limit < self._most else None

    def begin_with(self, calls: int) -> None:
        """Start with no more places than another process has."""
        self._why = _ELSEWHERE
        self._limit = min(self._limit, max(1.0, float(calls)))

    def give_way(self, calls: int) -> None:
        """Let fewer through, since another process, which has so many `calls` left, met what this one would meet next.

        Who has fewer in the air than that keeps them: it is the same server for all.
        """
        self._cut(max(float(calls), self._taken * _AFTER_REFUSAL), _ELSEWHERE)

    async def acquire(self, *, gives_way: bool = False) -> None:
        """Wait for a place; who gives way gets one when nobody else waits for it."""
        if self._taken < self.limit and not self._waiting and not (gives_way and self._giving_way):
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._giving_way if gives_way else self._waiting).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # it was given in this very moment
            raise

    def release(self) -> None:
        """Give a place back."""
        self._taken -= 1
        while (waiting := self._waiting or self._giving_way) and self._taken < self.limit:
            place = waiting.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)

    def answered(self, seconds: float) -> None:
        """Learn from an answer that took so long."""
        self._excess = max(0.0, self._excess - _TOLERATED)
        if self._limit < self._most:
            self._limit = min(self._most, self._limit + max(1 / self._limit, _GROWTH))
        self._lately += (seconds - self._lately) / 8
        self._latencies.append(seconds)
        if len(self._latencies) >= max(_LEAST_SAMPLE, self.limit):
            median = statistics.median(self._latencies)
            self._latencies.clear()
            usual = min(self._medians, default=median)
            if median > _FAR_LONGER * usual and median - usual > _NOTICEABLE_SECONDS:
                self._cut_and_tell(_WHEN_SLOW, "answers take far longer than they did")
            self._medians.append(median)

    def refused(self) -> None:
        """Learn from a call that there was no room for."""
        if self._is_calm:
            self._excess += 1 - _TOLERATED
            if self._excess >= max(_LEAST_EXCESS, _EXCESS_A_CALL * self.limit):
                self._cut_and_tell(_AFTER_REFUSAL, "the server is overrun")

    def unanswered(self, seconds: float) -> None:
        """Learn from a call without an answer after so long; one that failed at once says nothing of the load."""
        if seconds > max(_PATIENCE_SECONDS, _FAR_LONGER * max(self._medians, default=0.0)):
            self._cut_and_tell(_AFTER_REFUSAL, "calls end without an answer")

    @property
    def _is_calm(self) -> bool:
        """Whether the calls that were in the air at the last cut have ended: what they met is known."""
        return self._now() - self._cut_at >= max(_SHORTEST_CALM, 1.5 * self._lately)

    def _cut_and_tell(self, share: float, why: str) -> None:
        if self._cut(min(self._limit, max(self._taken, 1)) * share, why):
            self._told()

    def _cut(self, calls: float, why: str) -> bool:
        """Let fewer through, once for all the calls that met the same; return whether it was time for it."""
        if not self._is_calm:
            return False
        self._cut_at, self._excess = self._now(), 0.0
        before, self._limit, self._why = self.limit, max(1.0, min(self._limit, calls)), why
        if self.limit < before and self._now() - self._said_at >= _SILENCE:
            self._said_at = self._now()
            _log.info("fewer calls of a model at once", model=self._model, calls=self.limit, why=why)
        return True
