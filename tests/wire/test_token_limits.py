"""Tokens a minute of the fleet, against a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from evaluator.limits import FleetGate
from evaluator.state.fleet import State

BIG = 600_000
"""Tokens a minute: 10,000 a second, 60,000 of them at once."""


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(timed())


async def passed(gate: FleetGate, number: int, tokens: int, seconds: float) -> int:
    """Return how many of some requests were permitted within some seconds."""
    tasks = [asyncio.create_task(gate.permit(tokens)) for _ in range(number)]
    await asyncio.sleep(seconds)
    done = sum(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


def test_no_more_tokens_pass_than_the_limit_allows(state: State) -> None:
    async def work() -> None:
        gates = [FleetGate(state, "model", None, BIG) for _ in range(3)]
        counts = await asyncio.gather(*(passed(gate, 60, 1000, 0.6) for gate in gates))
        assert 55 <= sum(counts) <= 72  # a tenth of a minute's at once, then 9 in a second

    run(work)


def test_what_was_reserved_and_not_used_is_there_for_others(state: State) -> None:
    async def work() -> None:
        ours, theirs = FleetGate(state, "model", None, 60_000), FleetGate(state, "model", None, 60_000)
        for _ in range(2):
            await ours.permit(5900)
        waiting = asyncio.create_task(theirs.permit(2000))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        for _ in range(2):
            ours.used(5900, 100)
        await asyncio.wait_for(waiting, 3)  # without them it would be twice as long

    run(work)


def test_what_was_used_beyond_is_missing(state: State) -> None:
    async def work() -> None:
        gate = FleetGate(state, "model", None, 6000)
        await gate.permit(10)
        gate.used(10, 5000)
        await asyncio.sleep(0.1)
        assert await passed(gate, 1, 10, 0.3) == 0

    run(work)


def test_a_request_larger_than_the_burst_goes_and_the_next_waits_the_longer(state: State) -> None:
    async def work() -> None:
        gate = FleetGate(state, "model", None, 6000)
        await asyncio.wait_for(gate.permit(5000), 2)
        assert await passed(gate, 1, 10, 0.3) == 0

    run(work)


def test_requests_and_tokens_hold_both(state: State) -> None:
    async def work() -> None:
        assert await passed(FleetGate(state, "few", 60, BIG), 30, 1, 0.3) == 6
        assert await passed(FleetGate(state, "small", 6000, 6000), 30, 300, 0.3) in {2, 3}

    run(work)


def test_many_who_wait_are_asked_for_together_and_a_pause_holds_them(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = state.tokens.permits

    def counting(*arguments: object) -> tuple[int, float]:
        nonlocal asked
        asked += 1
        return ask(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(state.tokens, "permits", counting)

    async def work() -> None:
        gate = FleetGate(state, "model", None, 60_000_000)
        await asyncio.gather(*(gate.permit(1000) for _ in range(300)))
        for _ in range(300):
            gate.used(1000, 500)
        await asyncio.sleep(0.1)
        assert asked < 20
        await gate.pause(0.6)
        began = time.monotonic()
        await gate.permit(1)
        assert time.monotonic() - began > 0.4

    run(work)
