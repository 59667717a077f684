"""The hourly funnel, promises and counters in a real Valkey."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis

from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job, from_message, to_message
from evaluator.sampling.sampler import Sampled
from evaluator.state.connection import connect
from evaluator.state.counters import SUM, Counters
from evaluator.state.fleet import Settled, State
from evaluator.state.hours import Promises
from traces import TraceRef

NOW = datetime(2026, 11, 29, 12, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ref(number: int, ended: datetime = NOW) -> TraceRef:
    return TraceRef(f"trace-{number}", "root", "production", ended, ended)


def test_an_hour_knows_what_became_of_the_traces_that_ended_in_it(state: State) -> None:
    before, this = NOW - HOUR, NOW
    state.claim({ref(1, before): ["a/sampled/"], ref(2, this): ["a/sampled/"], ref(3, this): ["a/filtered/"]})
    state.settle([Settled(ref(1, before), "a", "scored"), Settled(ref(2, this), "a", "failed", "bad_answer")])
    assert state.hours.funnels(NOW, 2) == {
        datetime(2026, 11, 29, 11, tzinfo=UTC): Counter({("a", "sampled", ""): 1, ("a", "scored", ""): 1}),
        datetime(2026, 11, 29, 12, tzinfo=UTC): Counter(
            {("a", "sampled", ""): 1, ("a", "filtered", ""): 1, ("a", "failed", "bad_answer"): 1}
        ),
    }


def test_hours_are_kept_for_two_weeks_and_promises_for_two_days(state: State, valkey: redis.Redis) -> None:
    state.claim({ref(1): ["a/sampled/"]}, NOW)
    state.settle([Settled(ref(1), "a", "scored", handed=NOW)], NOW)
    assert 13 * 86400 < int(valkey.ttl("test:hour:2026112912")) <= 14 * 86400
    assert 86400 < int(valkey.ttl("test:promised:2026112912")) <= 2 * 86400


def test_promises_are_counted_once_and_only_where_something_was_promised(state: State) -> None:
    state.claim({ref(n): ["a/sampled/", "b/filtered/"] for n in range(4)}, NOW)
    state.claim({ref(9): ["a/sampled/"]})
    late = NOW + timedelta(minutes=16)
    ends = [
        Settled(ref(0), "a", "scored", handed=NOW),
        Settled(ref(1), "a", "failed", "bad_answer", handed=NOW),
        Settled(ref(9), "a", "scored"),
    ]
    for _ in range(2):
        state.settle(ends, NOW)
    state.settle([Settled(ref(2), "a", "scored", handed=NOW)], late)
    start = datetime(2026, 11, 29, 12, 5, tzinfo=UTC)
    (found,) = state.hours.promises(late, HOUR)
    assert found == Promises(start, "a", sampled=4, kept=1, missed=2)
    assert found.pending == 1
    assert state.hours.promises(NOW + 3 * HOUR, HOUR) == []


def test_a_score_that_takes_the_place_of_a_failure_is_told_to_counters_that_never_go_back(state: State) -> None:
    state.settle([Settled(ref(1), "a", "failed", "bad answer/odd")])
    state.settle([Settled(ref(1), "a", "scored")])
    assert state.counters.read() == {("taken_back", "a", "failed", "bad answer/odd"): 1}
    (hour,) = state.hours.funnels(NOW, 1).values()
    assert hour == state.funnel() == Counter({("a", "scored", ""): 1})


def test_a_message_says_when_it_was_handed_over_and_an_older_one_does_not() -> None:
    job = Job(ref(1), (Sampled("a", 1.0, "0"),), handed=NOW)
    assert from_message(to_message([job])) == (job,)
    assert "handed" not in to_message([Job(ref(1), ())])["jobs"][0]
    assert job.again().handed == NOW


def test_counts_of_many_processes_add_up(valkey: redis.Redis) -> None:
    for _ in range(2):
        counters = Counters(valkey, "test")
        counters.count("seen", by=3)
        counters.count("asked", 'a "name" / with anything')
        counters.took("judge_seconds", "gpt", seconds=0.3)
        counters.took("judge_seconds", "gpt", seconds=100)
        counters.flush()
        counters.flush()
    assert counters.read() == {
        ("seen",): 6,
        ("asked", 'a "name" / with anything'): 2,
        ("judge_seconds", "gpt", "1"): 2,
        ("judge_seconds", "gpt", "9"): 2,
        ("judge_seconds", "gpt", SUM): pytest.approx(200.6),
    }


def test_counts_wait_for_redis(valkey: redis.Redis) -> None:
    counters = Counters(connect("redis://127.0.0.1:1"), "test")
    counters.count("seen")
    with pytest.raises(Unavailable):
        counters.flush()
    counters._redis = valkey
    counters.flush()
    assert counters.read() == {("seen",): 1}
