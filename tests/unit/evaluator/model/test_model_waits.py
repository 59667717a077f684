from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from evaluator.errors import Unavailable
from evaluator.model.waits import Waits


async def waiting(waits: Waits, log: list[str]) -> None:
    try:
        with waits:
            await asyncio.Event().wait()
    except Unavailable:
        log.append("ended")
    except asyncio.CancelledError:
        log.append("cancelled")
        raise


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def test_ending_the_waits_ends_all_of_them_and_cancels_nobody() -> None:
    async def work() -> None:
        waits, log = Waits(), list[str]()
        tasks = [asyncio.create_task(waiting(waits, log)) for _ in range(3)]
        await asyncio.sleep(0)
        waits.end("stopping")
        await asyncio.gather(*tasks)
        assert log == ["ended"] * 3
        assert not any(task.cancelled() or task.cancelling() for task in tasks)

    run(work())


def test_when_the_waits_are_over_nobody_begins_one() -> None:
    async def work() -> None:
        waits = Waits()
        waits.end("stopping")
        waits.end("slow")
        with pytest.raises(Unavailable, match="stopping"), waits:
            raise AssertionError("nobody waits")

    run(work())


def test_a_cancellation_from_elsewhere_is_one() -> None:
    async def work() -> None:
        waits, log = Waits(), list[str]()
        task = asyncio.create_task(waiting(waits, log))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["cancelled"]

    run(work())


def test_a_cancellation_from_elsewhere_is_not_lost_when_both_come() -> None:
    async def work() -> None:
        waits, log = Waits(), list[str]()
        task = asyncio.create_task(waiting(waits, log))
        await asyncio.sleep(0)
        waits.end("stopping")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["cancelled"]

    run(work())


def test_what_went_on_in_time_is_left_alone() -> None:
    async def work() -> None:
        waits = Waits()
        with waits:
            await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError), waits:
            raise ZeroDivisionError
        waits.end("stopping")
        await asyncio.sleep(0)

    run(work())


def test_a_place_in_a_queue_is_not_lost_when_its_wait_ends() -> None:
    async def work() -> None:
        waits, slots, log = Waits(), asyncio.Semaphore(1), list[str]()

        async def queued() -> None:
            try:
                with waits:
                    await slots.acquire()
            except Unavailable:
                log.append("ended")

        await slots.acquire()
        tasks = [asyncio.create_task(queued()) for _ in range(4)]
        await asyncio.sleep(0)
        slots.release()
        waits.end("stopping")
        await asyncio.gather(*tasks)
        assert log == ["ended"] * 4
        await slots.acquire()

    run(work())
