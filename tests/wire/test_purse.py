"""A process's way to the fleet's money, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from random import Random

import pytest
import redis

from evaluator.clock import SystemClock
from evaluator.errors import Unavailable
from evaluator.money.purse import Bill, FleetPurse, Spent
from evaluator.state.ledger import EVERYBODY, Ledger, Parts, Settlement
from tests.serving import WrongClock


class Counting(Ledger):
    """Counts how often Redis is asked; may be away."""

    asked = 0
    away = False

    def pay(
        self, day: date, process: str, limits: Mapping[str, int], settlement: Settlement, wanted: Sequence[Parts]
    ) -> list[str]:
        self.asked += 1
        if self.away:
            raise Unavailable("Redis is away")
        return super().pay(day, process, limits, settlement, wanted)


@pytest.fixture
def books(valkey: redis.Redis) -> Counting:
    return Counting(valkey, "test")


def purse(books: Ledger, **limits: float) -> FleetPurse:
    return FleetPurse(books, {EVERYBODY: 1.0} | limits, SystemClock(), Random(1))


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(timed())


def today(books: Ledger) -> dict[str, float]:
    return books.spent(SystemClock().now().date())


async def funded(money: FleetPurse, usd: float, *payers: str) -> Bill:
    while True:
        await money.room(payers)
        bill = await money.reserve(payers, usd)
        if bill is not None:
            return bill


def test_many_calls_are_paid_for_together(books: Counting) -> None:
    async def work() -> None:
        money = purse(books)
        bills = await asyncio.gather(*(funded(money, 0.001, "tone") for _ in range(300)))
        for bill in bills:
            money.settle(bill, 0.0005)
        await money.close()

    run(work)
    assert books.asked < 20
    assert today(books) == {EVERYBODY: 0.15, "tone": 0.15}


def test_when_it_is_spent_redis_is_not_asked_again_before_the_next_day(books: Counting) -> None:
    clock = WrongClock()

    async def work() -> None:
        money = FleetPurse(books, {"tone": 0.1}, clock, Random(1))
        money.settle(await funded(money, 0.1, "tone"), 0.1)
        with pytest.raises(Spent, match="the budget of 'tone' is spent for today"):
            await money.reserve(["tone"], 0.1)
        assert money.is_spent(["tone"])
        assert not money.is_spent(["other"])
        asked = books.asked
        for _ in range(50):
            with pytest.raises(Spent):
                await money.room(["facts", "tone"])
        assert books.asked == asked
        clock.wrong = timedelta(days=1)
        assert not money.is_spent(["tone"])
        money.settle(await funded(money, 0.1, "tone"), 0.05)
        await money.close()

    run(work)


def test_those_who_wait_for_money_go_on_as_soon_as_some_is_free(books: Counting) -> None:
    async def work() -> None:
        money = purse(books)

        async def call() -> None:
            bill = await funded(money, 0.5)
            await asyncio.sleep(0.01)
            money.settle(bill, 0.001)

        await asyncio.gather(*(call() for _ in range(60)))
        await money.close()

    run(work)
    assert today(books)[EVERYBODY] == pytest.approx(0.06)


def test_what_was_paid_is_written_down_when_redis_is_back(books: Counting) -> None:
    async def work() -> None:
        money = purse(books)
        bill = await funded(money, 0.5)
        books.away = True
        money.settle(bill, 0.25)
        with pytest.raises(Unavailable):
            await money.reserve([], 0.1)
        books.away = False
        await money.close()

    run(work)
    assert today(books) == {EVERYBODY: 0.25}
    assert books.held(SystemClock().now().date()) == {EVERYBODY: 0.0}


def test_a_call_that_takes_long_keeps_its_reservation(valkey: redis.Redis) -> None:
    patient = Ledger(valkey, "test", timedelta(milliseconds=400))

    async def work() -> None:
        ours, theirs = purse(patient), purse(patient)
        bill = await funded(ours, 0.9)
        await asyncio.sleep(1.0)
        assert await theirs.reserve([], 0.9) is None
        ours.settle(bill, 0.0)
        await asyncio.gather(ours.close(), theirs.close())

    run(work)


def test_a_reservation_of_one_who_has_gone_is_given_back(books: Counting) -> None:
    async def work() -> None:
        money = purse(books)
        asking = asyncio.create_task(money.reserve([], 0.9))
        await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await funded(money, 0.9)
        await money.close()

    run(work)
