"""How many calls are in the air: fewer when a server is overrun, more again when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from evaluator.model.concurrency import Slots


class Time:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(timed())


async def take(slots: Slots, number: int) -> list[asyncio.Task[None]]:
    """Ask for so many places; return those who got none."""
    tasks = [asyncio.create_task(slots.acquire()) for _ in range(number)]
    await asyncio.sleep(0)
    return [task for task in tasks if not task.done()]


def test_no_more_than_its_places_are_given_and_first_come_first_served(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 3, time)
        first, second = await take(slots, 5)
        slots.release()
        await first
        assert not second.done()
        slots.release()
        await second

    run(work)


def test_who_gives_way_gets_a_place_when_nobody_else_waits(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 1, time)
        await slots.acquire(gives_way=True)
        old = asyncio.create_task(slots.acquire(gives_way=True))
        await asyncio.sleep(0)
        (live,) = await take(slots, 1)
        slots.release()
        await live
        assert not old.done()
        slots.release()
        await old

    run(work)


def test_one_who_gives_up_takes_no_place_with_him(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 1, time)
        await slots.acquire()
        impatient, unlucky, patient = (await take(slots, 3))[:3]
        impatient.cancel()
        await asyncio.sleep(0)
        slots.release()
        unlucky.cancel()  # it was given the place in this very moment
        await patient
        assert impatient.cancelled()
        assert unlucky.cancelled()

    run(work)


def test_a_wave_of_refusals_takes_a_third_away_once(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 60, time)
        await take(slots, 60)
        for _ in range(60):
            slots.refused()
        assert slots.limit == 42
        time.now += 2
        for _ in range(4):
            slots.refused()
        assert slots.limit == 29

    run(work)


def test_a_process_with_few_calls_in_the_air_begins_to_give_way_from_there(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 60, time)
        await take(slots, 10)
        for _ in range(5):
            slots.refused()
        assert slots.limit == 7

    run(work)


@pytest.mark.parametrize("most", [8, 64, 1000])
def test_one_refusal_in_twenty_is_a_busy_provider_and_no_overrun(time: Time, most: int) -> None:
    async def work() -> None:
        slots, random = Slots("gpt", most, time), Random(7)
        await take(slots, most)
        for _ in range(20_000):
            time.now += 0.5 / most
            slots.refused() if random.random() < 0.05 else slots.answered(0.5)
            least.append(slots.limit)

    least: list[int] = []
    run(work)
    assert sum(limit == most for limit in least) > 0.95 * len(least)


def test_one_refusal_in_two_is_an_overrun(time: Time) -> None:
    async def work() -> None:
        slots, random = Slots("gpt", 64, time), Random(7)
        await take(slots, 64)
        for _ in range(64):
            time.now += 0.5 / 64
            slots.refused() if random.random() < 0.5 else slots.answered(0.5)
        assert slots.limit < 50

    run(work)


def test_there_is_always_one(time: Time) -> None:
    slots = Slots("gpt", 60, time)
    for _ in range(200):
        time.now += 10
        slots.refused()
    assert slots.limit == 1


def test_answers_let_one_more_through_for_each_round_and_never_more_than_the_most(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 12, time)
        await take(slots, 12)
        for _ in range(3):
            slots.refused()
        assert slots.limit == 8
        for _ in range(9):
            slots.answered(1.0)
        assert slots.limit == 9
        for _ in range(200):
            slots.answered(1.0)
        assert slots.limit == 12

    run(work)


def test_answers_that_take_far_longer_let_fewer_through(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 20, time)
        await take(slots, 20)
        for _ in range(40):
            slots.answered(1.0)
        assert slots.limit == 20
        for _ in range(20):
            slots.answered(2.0)  # as any server's answers vary
        assert slots.limit == 20
        time.now += 10
        for _ in range(20):
            slots.answered(4.0)
        assert slots.limit == 17

    run(work)


def test_a_call_that_ends_in_silence_counts_and_one_that_fails_at_once_does_not(time: Time) -> None:
    async def work() -> None:
        slots = Slots("gpt", 20, time)
        await take(slots, 20)
        slots.unanswered(0.1)
        assert slots.limit == 20
        slots.unanswered(60)
        assert slots.limit == 14

    run(work)


def test_against_a_server_with_room_for_some_it_settles_around_them() -> None:
    """A server takes 20 calls at once and refuses the rest; there is work for many more."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        slots, room, served, refused = Slots("gpt", 200, lambda: loop.time() * 100), 20, 0, 0
        in_air = 0

        async def call() -> None:
            nonlocal in_air, served, refused
            await slots.acquire()
            try:
                if in_air >= room:
                    refused += 1
                    slots.refused()
                    return
                in_air += 1
                await asyncio.sleep(0.002)
                in_air -= 1
                served += 1
                slots.answered(0.2)
            finally:
                slots.release()

        async def worker() -> None:
            for _ in range(15):
                await call()
                await asyncio.sleep(0.001)

        await asyncio.gather(*(worker() for _ in range(100)))
        assert slots.limit < 60
        assert served > refused

    run(work)
