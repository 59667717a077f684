"""Who judged since when, as workers note it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from evaluator.state.judges_seen import JudgesSeen
from traces import DataType, Score, Subject

NOW = datetime(2026, 3, 30, 6, 0, tzinfo=UTC)


def score(name: str = "tone", *, ago: float = 0.0, **metadata: Any) -> Score:
    at = NOW - timedelta(minutes=ago)
    return Score(f"{name}-{ago}", Subject("t"), name, 1.0, DataType.NUMERIC, at, metadata=metadata)


def test_each_configuration_is_seen_since_its_earliest_trace_whichever_worker_notes_it(valkey: redis.Redis) -> None:
    one, two = (JudgesSeen(valkey, "test", ["tone"], lambda: 0.0) for _ in range(2))
    one.written([score(judge_model="gpt", judge_fingerprint="fp_a")])
    two.written([score(ago=30, judge_model="gpt", judge_fingerprint="fp_a + fp_b")])
    one.written([score(ago=10, judge_model="gpt", judge_fingerprint="fp_a"), score("other", judge_model="x")])
    one.written([score(judge_model=""), score(ago=99)])
    half_an_hour = NOW - timedelta(minutes=30)
    assert one.of("tone") == two.of("tone") == {"gpt fp_a": half_an_hour, "gpt fp_b": half_an_hour}
    assert one.of("other") == {}


def test_what_is_known_costs_redis_nothing(valkey: redis.Redis) -> None:
    seen = JudgesSeen(valkey, "test", ["tone"], lambda: 0.0)
    seen.written([score(judge_model="gpt")])
    valkey.flushall()
    seen.written([score(ago=-5, judge_model="gpt"), score(ago=0.5, judge_model="gpt")])
    assert seen.of("tone") == {}


def test_a_redis_that_was_wiped_knows_within_an_hour_who_judges_and_since_when(valkey: redis.Redis) -> None:
    now = 0.0
    seen = JudgesSeen(valkey, "test", ["tone"], lambda: now)
    seen.written([score(ago=30, judge_model="gpt"), score(judge_model="other")])
    valkey.flushall()
    now = 3599.0
    seen.written([score(judge_model="gpt")])
    assert seen.of("tone") == {}
    now = 3600.0
    seen.written([score(ago=-60, judge_model="gpt")])
    assert seen.of("tone") == {"gpt": NOW - timedelta(minutes=30)}
    valkey.flushall()
    seen.written([score(ago=-60, judge_model="gpt")])
    assert seen.of("tone") == {}, "once an hour is enough"
