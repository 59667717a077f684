"""A cut of one process is a cut of all: what the fleet shares of how many calls a server takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
import redis
from aiohttp import web

from evaluator.errors import Unavailable
from evaluator.model.concurrency import Slots
from evaluator.model.pacing import Pacing
from evaluator.state.connection import connect
from evaluator.state.paces import Cut, Paces, Slowed
from tests.answering import Answering, Open, ask, question, refuses, scores
from traces import Verdict


class Time:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counted(Paces):
    """Counts looks."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client, "test")
        self.looks = 0

    def look(self, models: Sequence[str]) -> dict[str, Cut]:
        self.looks += 1
        return super().look(models)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def paces(valkey: redis.Redis) -> Counted:
    return Counted(valkey)


@pytest.fixture
def process(paces: Counted, time: Time) -> Callable[[], Pacing]:
    """Give what one more process of the fleet knows."""
    return lambda: Pacing(paces, lambda _: 64, time)


@pytest.fixture
def away() -> Iterator[Paces]:
    with connect("redis://127.0.0.1:1/0") as client:
        yield Paces(client, "test")


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(timed())


async def overrun(pacing: Pacing, calls: int) -> Slots:
    """Have so many calls in the air, and as many of them refused as it takes."""
    slots = await pacing.slots("gpt")
    for _ in range(calls - slots._taken):
        await slots.acquire()
    for _ in range(calls):
        slots.refused()
    await pacing.close()
    return slots


async def looked(pacing: Pacing, time: Time) -> Slots:
    """Let a second pass and look."""
    time.now += 1
    await pacing.slots("gpt")
    await pacing.close()
    return await pacing.slots("gpt")


def test_what_one_process_meets_the_others_need_not_meet(process: Callable[[], Pacing], time: Time) -> None:
    async def work() -> None:
        first, second, idle = process(), process(), process()
        busy = await second.slots("gpt")
        for _ in range(60):
            await busy.acquire()
        await idle.slots("gpt")
        assert (await overrun(first, 50)).limit == 35
        assert busy.limit == 64
        assert (await looked(second, time)).limit == 42  # of the 60 it has in the air
        assert (await looked(idle, time)).limit == 35
        assert (await process().slots("gpt")).limit == 35

    run(work)


def test_those_who_meet_the_same_together_cut_once(process: Callable[[], Pacing], paces: Counted, time: Time) -> None:
    async def work() -> None:
        fleet = [process() for _ in range(8)]
        for each in fleet:
            await each.slots("gpt")
        for each in fleet:
            assert (await overrun(each, 50)).limit == 35
        cut = paces.look(["gpt"])["gpt"]
        for each in fleet:
            assert (await looked(each, time)).limit == 35
        assert paces.look(["gpt"])["gpt"] == cut

    run(work)


def test_all_calls_of_a_process_that_starts_begin_where_the_fleet_is(process: Callable[[], Pacing]) -> None:
    async def work() -> None:
        await overrun(process(), 50)
        new = process()

        async def limit(model: str) -> int:
            return (await new.slots(model)).limit

        assert await asyncio.gather(*(limit(model) for model in ("other", "gpt", "gpt", "gpt"))) == [64, 35, 35, 35]

    run(work)


def test_a_look_that_the_own_cut_overtook_makes_nobody_cut_twice(valkey: redis.Redis, time: Time) -> None:
    class Late(Paces):
        def look(self, models: Sequence[str]) -> dict[str, Cut]:
            found = super().look(models)
            if slow:
                read.set()
                assert goes_on.wait(10)
            return found

        def cut(self, model: str, known: int, calls: int) -> tuple[int, bool]:
            answer = super().cut(model, known, calls)
            if answer[1] and calls == 24:
                told.set()
            return answer

    slow, read, told, goes_on = False, threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        nonlocal slow
        first, second = (Pacing(Late(valkey, "test"), lambda _: 64, time) for _ in range(2))
        await second.slots("gpt")
        await overrun(first, 50)
        await looked(second, time)
        time.now, slow = time.now + 5, True
        await second.slots("gpt")
        await asyncio.to_thread(read.wait, 10)
        slow = False
        slots = await second.slots("gpt")
        for _ in range(35):
            await slots.acquire()
        for _ in range(35):
            slots.refused()
        await asyncio.to_thread(told.wait, 10)
        goes_on.set()
        await second.close()
        for _ in range(35):
            slots.release()
        for _ in range(100):
            slots.answered(0.1)
        grown, time.now = slots.limit, time.now + 5
        assert (await looked(second, time)).limit == grown > 24

    run(work)


def test_the_next_overload_is_another_cut(process: Callable[[], Pacing], time: Time) -> None:
    async def work() -> None:
        first, second = process(), process()
        await second.slots("gpt")
        await overrun(first, 50)
        await looked(second, time)
        time.now += 5
        assert (await overrun(second, 35)).limit == 24
        assert (await looked(first, time)).limit == 35  # it has 50 in the air, and lets them end

    run(work)


def test_redis_is_asked_once_a_second_whatever_the_number_of_calls(
    process: Callable[[], Pacing], paces: Counted, time: Time
) -> None:
    async def work() -> None:
        pacing = process()
        for _ in range(500):
            time.now += 0.01
            await pacing.slots("gpt")
            await pacing.close()
        assert 4 <= paces.looks <= 6

    run(work)


def test_a_cut_that_is_forgotten_does_not_keep_the_next_from_counting(
    process: Callable[[], Pacing], valkey: redis.Redis, time: Time
) -> None:
    async def work() -> None:
        first, second = process(), process()
        await second.slots("gpt")
        await overrun(first, 50)
        await looked(second, time)
        valkey.flushall()
        time.now += 5
        await overrun(first, 35)
        time.now += 5
        assert (await looked(second, time)).limit == 24

    run(work)


def test_people_see_how_far_a_model_is_slowed_down_and_why_as_long_as_it_is(
    process: Callable[[], Pacing], paces: Paces, time: Time, valkey: redis.Redis
) -> None:
    async def work() -> None:
        first, second = process(), process()
        assert (await second.slots("gpt")).slowed is None
        slots = await overrun(first, 50)
        await looked(first, time)
        assert paces.slowed(["gpt", "other"]) == {"gpt": Slowed(35, 64, "the server is overrun")}
        assert 0 < valkey.pttl("test:slowed:gpt") <= 10_000
        for _ in range(400):
            slots.answered(0.01)
        valkey.delete("test:slowed:gpt")  # it is kept for some seconds after the last word
        await looked(first, time)
        assert paces.slowed(["gpt"]) == {}
        await looked(second, time)
        assert await second.slots("gpt") is not None
        await looked(second, time)
        assert paces.slowed(["gpt"])["gpt"].why == "another process has met an overrun server"

    run(work)
    assert paces.slowed([]) == {}


def test_without_redis_each_goes_by_what_it_meets(away: Paces, time: Time) -> None:
    async def work() -> None:
        assert (await overrun(Pacing(away, lambda _: 64, time), 50)).limit == 35

    run(work)
    with pytest.raises(Unavailable):
        away.look(["gpt"])


def test_of_two_processes_on_one_server_only_one_is_refused(
    opened: Open, server: Answering, valkey: redis.Redis
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return await refuses(429)(request)

    first, second = (opened(paces=Paces(valkey, "test"), attempts=1, max_in_flight=64) for _ in range(2))
    assert isinstance(ask(second)[0], Verdict)
    server.always = refuse
    ask(first, *(question(str(n)) for n in range(64)))
    learned = first._pacing._slots["gpt"].limit
    assert learned < 64
    server.always = scores(4)
    second._pacing._look_at = 0.0
    ask(second)
    ask(second)
    assert second._pacing._slots["gpt"].limit <= learned + 1
