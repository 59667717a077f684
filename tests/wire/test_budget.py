"""Money is reserved before a call and settled after it, by any number of workers at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta

import redis

from evaluator.state.ledger import EVERYBODY, Ledger, Settlement, billionths

TODAY = date(2026, 11, 23)
LIMIT = billionths(1.0)


def ledger(client: redis.Redis, silence: timedelta = timedelta(minutes=2)) -> Ledger:
    return Ledger(client, "test", silence)


def one(usd: float, *payers: str) -> tuple[tuple[str, int], ...]:
    return ((EVERYBODY, billionths(usd)), *((payer, billionths(usd / len(payers))) for payer in payers))


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def settled(usd: float, reserved: float) -> Settlement:
    return Settlement({EVERYBODY: billionths(usd)}, {EVERYBODY: billionths(reserved)})


def reserve(books: Ledger, usd: float, process: str = "a", limit: int = LIMIT) -> str:
    (answer,) = books.pay(TODAY, process, {EVERYBODY: limit}, Settlement(), [one(usd)])
    return answer


def test_what_fits_is_reserved_and_what_was_spent_counts(valkey: redis.Redis) -> None:
    books = ledger(valkey)
    assert reserve(books, 0.75) == "+"
    assert reserve(books, 0.5) == f"?{EVERYBODY}"  # not beside the other one
    books.pay(TODAY, "a", {}, settled(0.25, 0.75), [])
    assert books.spent(TODAY) == {EVERYBODY: 0.25}
    assert books.held(TODAY) == {EVERYBODY: 0.0}
    assert reserve(books, 0.5) == "+"
    books.pay(TODAY, "a", {}, settled(0.75, 0.5), [])
    assert reserve(books, 0.001) == f"!{EVERYBODY}"
    assert reserve(books, 0.0) == "+"  # what is free needs no money


def test_the_last_of_the_money_is_used_one_call_at_a_time(valkey: redis.Redis) -> None:
    """A reservation is far larger than what a call costs: else much of a small budget could never be spent."""
    books = ledger(valkey)
    books.pay(TODAY, "a", {}, settled(0.9, 0.0), [])
    assert reserve(books, 0.5) == "+"
    assert reserve(books, 0.5, "b") == f"?{EVERYBODY}"


def test_each_payer_has_a_limit_of_its_own_and_a_call_is_paid_whole_or_not_at_all(valkey: redis.Redis) -> None:
    books = ledger(valkey)
    limits = {"tone": billionths(0.1)}
    both = one(0.2, "tone", "facts")
    assert books.pay(TODAY, "a", limits, Settlement(), [both, both]) == ["+", "?tone"]
    books.pay(TODAY, "a", limits, Settlement(dict(both), dict(both)), [])
    assert books.pay(TODAY, "a", limits, Settlement(), [both, one(0.2, "facts")]) == ["!tone", "+"]
    assert books.spent(TODAY) == {EVERYBODY: 0.2, "tone": 0.1, "facts": 0.1}
    assert books.held(TODAY)["tone"] == 0.0


def test_each_day_has_its_own_money(valkey: redis.Redis) -> None:
    books = ledger(valkey)
    books.pay(TODAY, "a", {}, settled(2.0, 0.0), [])
    assert reserve(books, 0.1) == f"!{EVERYBODY}"
    tomorrow = books.pay(TODAY + timedelta(days=1), "a", {EVERYBODY: LIMIT}, Settlement(), [one(0.1)])
    assert tomorrow == ["+"]


def test_what_a_killed_process_reserved_is_free_after_a_time(valkey: redis.Redis) -> None:
    books = ledger(valkey, timedelta(milliseconds=150))
    assert reserve(books, 0.9, "killed") == "+"
    assert reserve(books, 0.9, "other") == f"?{EVERYBODY}"
    assert eventually(lambda: reserve(books, 0.9, "other") == "+")
    # It was only frozen: what it paid counts, and what it reserved is freed once, not twice.
    books.pay(TODAY, "killed", {}, settled(0.1, 0.9), [])
    assert books.spent(TODAY) == {EVERYBODY: 0.1}
    assert books.held(TODAY) == {EVERYBODY: 0.9}


SPENDER = """
import random, sys, time
from datetime import date
from evaluator.state.connection import connect
from evaluator.state.ledger import EVERYBODY, Ledger, Settlement, billionths
url, name = sys.argv[1:]
books, chance = Ledger(connect(url), "test"), random.Random(name)
limits, most = {EVERYBODY: billionths(1.0)}, billionths(0.01)
done, refused = Settlement(), False
while not refused:
    answers = books.pay(date(2026, 11, 23), name, limits, done, [((EVERYBODY, most),)] * 5)
    done = Settlement()
    refused = answers[0].startswith("!")
    taken = answers.count("+")
    costs = [chance.randint(most // 20, most) for _ in range(taken)]
    done = Settlement({EVERYBODY: sum(costs)}, {EVERYBODY: most * taken})
books.pay(date(2026, 11, 23), name, limits, done, [])
"""


def test_processes_together_spend_all_of_it_and_at_most_one_reservation_more(
    valkey: redis.Redis, valkey_url: str
) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", SPENDER, valkey_url, f"p{n}"]) for n in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    spent = ledger(valkey).spent(TODAY)[EVERYBODY]
    assert 1.0 <= spent <= 1.01
    assert ledger(valkey).held(TODAY) == {EVERYBODY: 0.0}
