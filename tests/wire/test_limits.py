"""The gate that a fleet shares, against a real server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest
import redis

from evaluator.errors import Unavailable
from evaluator.limits import FleetGate, TwoLines, going_first
from evaluator.sampling.jobs import Job
from evaluator.state.connection import connect
from evaluator.state.fleet import State, Turn
from tests.serving import SERVICE, Config, OpenService, Traffic


class Counting(State):
    """Counts how often Redis is asked for permits."""

    asked = 0

    def permits(self, provider: str, per_minute: int | None, wanted: int, turn: Turn = Turn.ANY) -> tuple[int, float]:
        self.asked += 1
        return super().permits(provider, per_minute, wanted, turn)


@pytest.fixture
def counting(valkey: redis.Redis) -> Counting:
    return Counting(valkey, "test", timedelta(hours=1))


async def all_of(*work: Awaitable[None]) -> None:
    await asyncio.wait_for(asyncio.gather(*work), 20)


def test_many_who_wait_are_asked_for_together(counting: Counting) -> None:
    async def work() -> None:
        gate = FleetGate(counting, "model", 6000)
        await all_of(*(gate.permit() for _ in range(200)))

    asyncio.run(work())
    assert counting.asked < 20


def test_without_a_limit_redis_is_hardly_asked(counting: Counting) -> None:
    async def work() -> None:
        gate = FleetGate(counting, "model", None)
        for _ in range(500):
            await gate.permit()

    asyncio.run(work())
    assert counting.asked <= 3


def test_no_more_pass_than_the_limit_allows(state: State) -> None:
    """600 a minute: 60 at once, then one in about a tenth of a second."""

    async def work() -> int:
        gate = FleetGate(state, "model", 600)
        tasks = [asyncio.create_task(gate.permit()) for _ in range(200)]
        await asyncio.sleep(0.6)
        passed = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return passed

    assert 60 <= asyncio.run(work()) <= 70


def test_a_pause_met_by_one_process_holds_the_others(state: State) -> None:
    async def work() -> float:
        ours, theirs = FleetGate(state, "model", None), FleetGate(state, "model", None)
        await ours.permit()
        await theirs.pause(1.0)
        await asyncio.sleep(0.3)  # what was known to be open is looked at again after a fifth of a second
        started = time.monotonic()
        await all_of(ours.permit(), ours.permit())
        return time.monotonic() - started

    assert asyncio.run(work()) > 0.5


def test_one_who_gives_up_takes_nobodys_place(state: State) -> None:
    async def work() -> None:
        gate = FleetGate(state, "model", 60)
        await all_of(*(gate.permit() for _ in range(6)))  # the burst
        impatient = asyncio.create_task(gate.permit())
        patient = asyncio.create_task(gate.permit())
        await asyncio.sleep(0.1)
        impatient.cancel()
        await asyncio.wait_for(patient, 3)

    asyncio.run(work())


def test_who_goes_first_waits_behind_nobody_of_another_process(state: State) -> None:
    """1200 a minute: one in a twentieth of a second, and two hundred who wait before the first one asks."""

    async def work() -> list[int]:
        scheduler, worker = TwoLines(state, "langfuse", 1200), TwoLines(state, "langfuse", 1200)
        others = [asyncio.create_task(worker.permit()) for _ in range(400)]
        own = [asyncio.create_task(scheduler.permit()) for _ in range(400)]
        await asyncio.sleep(0.2)
        before = []
        with going_first():
            for _ in range(3):
                passed = sum(task.done() for task in others + own)
                await scheduler.permit()
                before.append(sum(task.done() for task in others + own) - passed)
        for task in others + own:
            task.cancel()
        await asyncio.gather(*others, *own, return_exceptions=True)
        return before

    assert max(asyncio.run(work())) <= 3


def test_those_behind_are_not_starved_by_those_who_always_go_first(state: State) -> None:
    passed = Counter[Turn]()
    state.permits("langfuse", 1200, 10_000, Turn.BEHIND)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        for turn in (Turn.FIRST, Turn.BEHIND):
            passed[turn] += state.permits("langfuse", 1200, 1, turn)[0]
    assert passed[Turn.FIRST] > 0
    assert passed[Turn.BEHIND] >= 0.2 * passed.total()


def test_discovery_goes_first_and_what_it_hands_over_behind_it(
    service: OpenService, config: Config, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Turn] = []

    class Noting(State):
        def permits(
            self, provider: str, per_minute: int | None, wanted: int, turn: Turn = Turn.ANY
        ) -> tuple[int, float]:
            turns.append(turn)
            return super().permits(provider, per_minute, wanted, turn)

    monkeypatch.setattr("evaluator.app.State", Noting)
    config(service=f"{SERVICE}limits: {{langfuse_requests_per_minute: 6000}}\n")
    traffic.add(3)
    with service() as app:
        jobs: list[Job] = []
        app.state.advance(datetime.now(UTC) - timedelta(hours=1))
        app.discovery(jobs.extend).catch_up()
        assert len(jobs) == 3
        assert set(turns) == {Turn.FIRST}
        turns.clear()
        app.evaluation.evaluate(jobs)
        assert Turn.FIRST not in turns
        assert Turn.BEHIND in turns


def test_those_who_wait_are_told_when_redis_is_gone() -> None:
    async def work() -> None:
        gate = FleetGate(State(connect("redis://127.0.0.1:1"), "test", timedelta(hours=1)), "model", 60)
        told = await asyncio.wait_for(asyncio.gather(gate.permit(), gate.permit(), return_exceptions=True), 20)
        assert [type(error) for error in told] == [Unavailable] * 2
        with pytest.raises(Unavailable):
            await gate.permit()

    asyncio.run(work())
