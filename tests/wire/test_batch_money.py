"""Money for batches: reserved for as long as one is on its way, settled once, and no more than there is."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from evaluator.clock import SystemClock
from evaluator.money.batches import BatchMoney, Wanted, first_that_fit
from evaluator.state.ledger import EVERYBODY, Ledger, Settlement, parts_of

NOW = SystemClock().now()
TODAY = NOW.date()


@pytest.fixture
def books(valkey: redis.Redis) -> Ledger:
    return Ledger(valkey, "test", timedelta(milliseconds=1))


def money(books: Ledger, **limits: float) -> BatchMoney:
    return BatchMoney(books, {EVERYBODY: 10.0, **limits}, SystemClock())


def test_a_reservation_lasts_and_is_settled_once_on_its_own_day(books: Ledger) -> None:
    batches = money(books)
    assert batches.reserve("a", NOW, [Wanted(("tone",), 1.0)] * 2) == ["+", "+"]
    books.pay(TODAY + timedelta(days=1), "other", {}, Settlement(), [])
    books.pay(TODAY, "other", {}, Settlement(), [])  # frees what was reserved by those who are silent
    assert books.held(TODAY) == {EVERYBODY: 2.0, "tone": 2.0}
    for _ in range(2):
        batches.settle("a", NOW, [("tone", 0.1), ("tone", 0.2)])
    assert set(books.held(TODAY).values()) == {0.0}
    assert books.spent(TODAY) == pytest.approx({EVERYBODY: 0.3, "tone": 0.3})


def test_a_batch_leaves_half_of_what_is_left_to_calls(books: Ledger) -> None:
    batches = money(books, tone=4.0)
    wanted = [Wanted(("tone",), 1.0)] * 5 + [Wanted(("safe",), 1.0)] * 5
    assert "".join(batches.reserve("a", NOW, wanted)) == "++???" + "+++??"
    assert books.pay(TODAY, "live", {EVERYBODY: 10_000_000_000}, Settlement(), [parts_of(("safe",), 5.0)]) == ["+"]
    assert batches.reserve("b", NOW, [Wanted(("tone",), 3.0)]) == ["?"]
    assert batches.spent() == frozenset()


def test_when_it_is_spent_nothing_is_reserved(books: Ledger) -> None:
    batches = money(books, tone=1.0)
    assert batches.reserve("a", NOW, [Wanted(("tone",), 5.0)]) == ["+"]  # nothing else is reserved: one more
    batches.settle("a", NOW, [("tone", 1.5)])
    assert batches.spent() == {"tone"}
    assert batches.reserve("b", NOW, [Wanted(("tone",), 0.1)] * 3 + [Wanted(("safe",), 0.1)]) == ["!", "!", "!", "+"]
    assert books.spent(TODAY)[EVERYBODY] == 1.5


def test_without_a_price_a_batch_is_counted_all_the_same(books: Ledger) -> None:
    batches = money(books)
    assert batches.reserve("a", NOW, [Wanted(("tone",), 0.0)]) == ["+"]
    batches.settle("a", NOW, [("tone", 0.25)])
    assert books.spent(TODAY)[EVERYBODY] == 0.25


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50))), st.integers(0, 100), st.integers(0, 100))
def test_what_fits_fits_together_but_for_the_first(wanted: list[tuple[str, int]], all_left: int, a_left: int) -> None:
    room = {EVERYBODY: all_left, "a": a_left}
    places = first_that_fit([((EVERYBODY, usd), (payer, usd)) for payer, usd in wanted], room)
    assert places == sorted(set(places))
    assert bool(places) == bool(wanted)
    for payer, left in room.items():
        costs = [wanted[place][1] for place in places if payer in (EVERYBODY, wanted[place][0])]
        first = next((cost for cost in costs if cost), 0)
        assert sum(costs) <= max(left, first)
