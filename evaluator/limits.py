"""Limits that belong to the whole fleet, not to one process: requests and tokens a minute, pauses a provider wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

from evaluator.state.fleet import State, Turn

_LONGEST_WAIT_SECONDS: Final = 5.0
_TOKENS_WAIT_SECONDS: Final = 0.5
"""Tokens that were reserved come back when less was used: it is worth looking again."""

_KNOWN_OPEN_SECONDS: Final = 0.2
"""A provider without a limit is not asked about for so long; a pause that another process met is seen after it."""

_NOTED_SECONDS: Final = 0.1
"""A shorter wait is that for Redis, not for a limit."""

_goes_first: ContextVar[bool] = ContextVar("goes_first", default=False)

ANSWERED: Final = "answered"
NO_ANSWER: Final = "no_answer"


class Gate(Protocol):
    """One provider's limits, shared by every worker."""

    async def permit(self) -> None:
        """Return when one request may be sent."""

    async def pause(self, seconds: float) -> None:
        """Nobody sends before `seconds` from now: the provider said so."""


class TokenGate(Protocol):
    """One provider's limits, those of tokens among them, shared by every worker."""

    @property
    def counts_tokens(self) -> bool:
        """Whether it wants to know how many tokens a request has."""

    async def permit(self, tokens: int = 0) -> None:
        """Return when one request of about so many tokens may be sent."""

    def used(self, reserved: int, tokens: int) -> None:
        """Say how many tokens a request of `reserved` ones has used."""

    def ended(self, model: str, seconds: float, how: str) -> None:
        """Say how long a request took and how it ended: `answered`, `no_answer`, or the status of a refusal."""

    async def pause(self, seconds: float) -> None:
        """Nobody sends before `seconds` from now: the provider said so."""


class OpenGate:
    """No limits: for a provider that has none, and for tests."""

    counts_tokens = False

    async def permit(self, tokens: int = 0) -> None:
        """Return at once."""

    def used(self, reserved: int, tokens: int) -> None:
        """Ignore what was used."""

    def ended(self, model: str, seconds: float, how: str) -> None:
        """Ignore how it went."""

    async def pause(self, seconds: float) -> None:
        """Ignore the pause."""


class FleetGate:
    """A gate whose state all workers share through Redis. Belongs to one event loop.

    Redis is asked for all who wait in one go, and off the event loop, which it must never block.
    """

    def __init__(
        self,
        state: State,
        provider: str,
        per_minute: int | None,
        tokens_per_minute: int | None = None,
        turn: Turn = Turn.ANY,
    ) -> None:
        """Guard `provider`: so many requests and tokens a minute, None for no limit but its own pauses.

        `turn` says whose turn its requests have; with a limit of tokens all have the same.
        """
        self._state = state
        self._provider = provider
        self._turn = turn
        self._per_minute = per_minute
        self._tokens_per_minute = tokens_per_minute
        self._returned = 0
        self._waiting: deque[_Waiting] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._open_until = 0.0
        self._paused_until = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a limit of tokens."""
        return self._tokens_per_minute is not None

    async def permit(self, tokens: int = 0) -> None:
        """Return when one request of about so many tokens may be sent.

        Raises:
            Unavailable: Redis cannot be asked.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._open_until:
            return
        permitted: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(tokens, permitted))
        self._ask_soon()
        began = loop.time()
        await permitted
        if (waited := loop.time() - began) > _NOTED_SECONDS:
            self._state.counters.count("waits", self._provider)
            self._state.counters.count("wait_seconds", self._provider, by=waited)

    def used(self, reserved: int, tokens: int) -> None:
        """Say how many tokens a request of `reserved` ones has used: the rest may be used by others."""
        if self._tokens_per_minute is not None:
            self._returned += reserved - tokens
            self._ask_soon()

    def ended(self, model: str, seconds: float, how: str) -> None:
        """Count a request by how it ended, and how long an answer took."""
        self._state.counters.count("judge_requests", model, how)
        if how == ANSWERED:
            self._state.counters.took("judge_seconds", model, seconds=seconds)

    async def pause(self, seconds: float) -> None:
        """Let nobody of the fleet send before `seconds` from now."""
        now = asyncio.get_running_loop().time()
        self._open_until = 0.0
        if now + seconds <= self._paused_until:
            return  # a longer pause is known already
        self._paused_until = now + seconds
        await asyncio.to_thread(self._state.pause, self._provider, timedelta(seconds=seconds))

    def _ask_soon(self) -> None:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            while (wanted := self._wanted()) or self._returned:
                granted, wait = await asyncio.to_thread(self._permits, wanted)
                if self._per_minute is None and self._tokens_per_minute is None and granted:
                    self._open_until = asyncio.get_running_loop().time() + _KNOWN_OPEN_SECONDS
                for _ in range(min(granted, len(self._wanted()))):
                    self._waiting.popleft().permitted.set_result(None)
                if wait:
                    longest = _LONGEST_WAIT_SECONDS if self._tokens_per_minute is None else _TOKENS_WAIT_SECONDS
                    await asyncio.sleep(min(wait, longest))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            for waiting in self._waiting:
                if not waiting.permitted.done():
                    waiting.permitted.set_exception(error)
            self._waiting.clear()
        finally:
            self._asking = None

    def _permits(self, wanted: Sequence[int]) -> tuple[int, float]:
        """Ask Redis how many of the first requests may go now."""
        if self._tokens_per_minute is None:
            return self._state.permits(self._provider, self._per_minute, len(wanted), self._turn)
        returned, self._returned = self._returned, 0
        most = self._tokens_per_minute
        return self._state.tokens.permits(self._provider, self._per_minute, most, returned, wanted)

    def _wanted(self) -> list[int]:
        """Return the sizes of those that wait, without those who gave up meanwhile."""
        self._waiting = deque(each for each in self._waiting if not each.permitted.done())
        return [each.tokens for each in self._waiting]


class TwoLines:
    """A fleet's gate with two lines: what is asked for under `going_first` does not wait behind all the rest."""

    def __init__(self, state: State, provider: str, per_minute: int | None) -> None:
        """Guard `provider`: so many requests a minute, None for no limit but its own pauses."""
        self._first = FleetGate(state, provider, per_minute, turn=Turn.FIRST)
        self._rest = FleetGate(state, provider, per_minute, turn=Turn.BEHIND)

    async def permit(self) -> None:
        """Return when one request may be sent.

        Raises:
            Unavailable: Redis cannot be asked.
        """
        await (self._first if _goes_first.get() else self._rest).permit()

    async def pause(self, seconds: float) -> None:
        """Let nobody of the fleet send before `seconds` from now."""
        await self._first.pause(seconds)
        await self._rest.pause(seconds)


@contextlib.contextmanager
def going_first() -> Iterator[None]:
    """Let what this thread or task asks for go before what others do, at gates with two lines."""
    token = _goes_first.set(True)
    try:
        yield
    finally:
        _goes_first.reset(token)


class _Waiting(NamedTuple):
    tokens: int
    permitted: asyncio.Future[None]
