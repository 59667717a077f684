"""What waits for money: packed, in order, and as spans of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import redis

from evaluator.sampling.jobs import Job, to_message
from evaluator.sampling.sampler import Sampled
from evaluator.state.arrears import Arrears, Span
from traces import TraceRef

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.fixture
def arrears(valkey: redis.Redis) -> Arrears:
    return Arrears(valkey, "test")


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def job(number: int, *evaluators: str) -> Job:
    trace_id = f"{Random(number).getrandbits(128):032x}"
    ref = TraceRef(trace_id, f"{number:016x}", "production", NOW, NOW + timedelta(milliseconds=number))
    return Job(ref, tuple(Sampled(name, 0.05, "1") for name in evaluators), attempt=2)


def test_jobs_come_back_as_they_were_each_evaluator_in_its_own_order(arrears: Arrears) -> None:
    arrears.park([job(1, "a", "b"), job(2, "a")])
    arrears.park([job(3, "a")])
    assert arrears.parked() == {"a": 3, "b": 1}
    first = arrears.first_parked("a")
    assert list(first) == [job(1, "a"), job(2, "a")]
    arrears.unpark("a", first)
    assert list(arrears.first_parked("a")) == [job(3, "a")]
    assert arrears.parked() == {"a": 1, "b": 1}
    arrears.unpark("a", arrears.first_parked("a"))
    assert arrears.first_parked("a") == []
    assert arrears.parked() == {"b": 1}


def test_a_pair_that_is_parked_again_waits_once(arrears: Arrears) -> None:
    arrears.park([job(1, "a"), job(2, "a")])
    arrears.park([job(2, "a")])  # a backfill took it up, and there was no money yet
    assert arrears.parked() == {"a": 2}
    arrears.unpark("a", arrears.first_parked("a"))
    arrears.unpark("a", arrears.first_parked("a"))
    assert arrears.parked() == {}


def test_what_a_release_without_ids_parked_is_counted_and_comes_back(arrears: Arrears, valkey: redis.Redis) -> None:
    arrears.park([job(1, "a"), job(2, "a")])
    valkey.delete("test:parked:ids:a")
    assert arrears.parked() == {"a": 2}
    arrears.unpark("a", arrears.first_parked("a"))
    assert arrears.parked() == {}


def test_a_parked_pair_takes_less_than_half_of_what_it_took_in_the_queue(arrears: Arrears, valkey: redis.Redis) -> None:
    jobs = [job(number, "helpfulness") for number in range(50)]
    arrears.park(jobs)
    packed = valkey.lindex("test:parked:helpfulness", 0)
    assert isinstance(packed, bytes)
    assert len(packed) < len(str(to_message(jobs))) / 2
    assert len(packed) / 50 < 80  # its id, by which it is counted once, stands beside it


def test_spans_that_meet_are_one(arrears: Arrears) -> None:
    arrears.owe("a", Span(at(0), at(1)))
    arrears.owe("a", Span(at(1), at(2)))
    arrears.owe("a", Span(at(1), at(2)))  # a sweep that was repeated
    arrears.owe("a", Span(at(60), at(61)))
    arrears.owe("b", Span(at(0), at(1)))
    assert arrears.owed() == {"a": [Span(at(0), at(2)), Span(at(60), at(61))], "b": [Span(at(0), at(1))]}


def test_what_was_caught_up_is_owed_no_more(arrears: Arrears) -> None:
    arrears.owe("a", Span(at(0), at(30)))
    arrears.owe("a", Span(at(60), at(61)))
    arrears.caught_up("a", at(10))
    assert arrears.owed()["a"] == [Span(at(10), at(30)), Span(at(60), at(61))]
    arrears.caught_up("a", at(30))
    assert arrears.owed()["a"] == [Span(at(60), at(61))]
    arrears.caught_up("a", at(61))
    assert arrears.owed() == {}
