"""The same question is asked once: of verdicts that are kept, and of questions on their way in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from evaluator.errors import Unavailable
from evaluator.model.waits import Waits
from evaluator.state.cache import Cache, is_worth_keeping, used_again
from judges import Question
from traces import Outcome, Verdict

_LONGEST_LOOK: Final = 2.0
"""Seconds a question waits for the cache; then it is asked."""

_AWAY_SECONDS: Final = 5.0
"""For so long nothing is looked up in a Redis that did not answer."""

_CLOSING_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


class Reuse:
    """Gives verdicts that are kept, looked up for all who wait in one go. Belongs to one event loop."""

    def __init__(self, cache: Cache, server_of: Callable[[str], str]) -> None:
        """Use `cache`; `server_of` tells where a model is and what it is called there."""
        self._cache = cache
        self._server_of = server_of
        self._asking: dict[str, asyncio.Future[Verdict | None]] = {}
        self._wanted: dict[str, asyncio.Future[Verdict | None]] = {}
        self._new: dict[str, Verdict] = {}
        self._working: asyncio.Task[None] | None = None
        self._away_until = 0.0

    async def outcome(
        self, question: Question, opinion: int, waits: Waits, ask: Callable[[], Awaitable[Outcome]]
    ) -> Outcome:
        """Return the verdict on a question that is kept, or is on its way; otherwise what comes of `ask`.

        Args:
            question: asked of one model, once.
            opinion: its place among the opinions that are asked for: each is a draw of its own.
            waits: end the wait for somebody who asks the same.
            ask: asks it; what is no verdict is not kept.
        """
        server = self._server_of(question.prompt.model)
        key = self._cache.key((server, str(opinion), *question.identity()))
        if (first := self._asking.get(key)) is not None:
            verdict = await _heard(first, waits)
            return await ask() if verdict is None else used_again(verdict)
        mine = self._asking[key] = asyncio.get_running_loop().create_future()
        verdict = None
        try:
            if (verdict := await self._held(key)) is not None:
                return used_again(verdict)
            outcome = await ask()
            if isinstance(outcome, Verdict) and is_worth_keeping(outcome):
                verdict = self._new[key] = outcome
                self._work()
            return outcome
        finally:
            del self._asking[key]
            mine.set_result(verdict)

    async def close(self) -> None:
        """Keep what is not kept yet."""
        if self._working is not None:
            await asyncio.wait([self._working], timeout=_CLOSING_SECONDS)

    async def _held(self, key: str) -> Verdict | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            return None
        wanted: asyncio.Future[Verdict | None] = loop.create_future()
        self._wanted[key] = wanted
        self._work()
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                return await wanted
        except TimeoutError:
            self._away("it does not answer in time")
            return None

    def _work(self) -> None:
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._exchange())

    async def _exchange(self) -> None:
        try:
            while self._wanted or self._new:
                wanted, self._wanted = self._wanted, {}
                new, self._new = self._new, {}
                found: dict[str, Verdict] = {}
                try:
                    found = await asyncio.to_thread(self._cache.exchange, list(wanted), new)
                except Exception as error:  # noqa: BLE001 - whoever waits asks the judge, and is not kept from it
                    self._away(str(error) if isinstance(error, Unavailable) else type(error).__name__)
                for key, waiting in wanted.items():
                    if not waiting.done():
                        waiting.set_result(found.get(key))
        finally:
            self._working = None

    def _away(self, why: str) -> None:
        """Ask judges instead, for a while; said once in that while."""
        now = asyncio.get_running_loop().time()
        if now >= self._away_until:
            self._away_until = now + _AWAY_SECONDS
            _log.warning("kept verdicts cannot be used: judges are asked instead", why=why)


async def _heard(first: asyncio.Future[Verdict | None], waits: Waits) -> Verdict | None:
    """Wait for who asks the same; None when that came to no verdict, or one may not wait any longer."""
    try:
        with waits:
            return await asyncio.shield(first)
    except Unavailable:
        return None
