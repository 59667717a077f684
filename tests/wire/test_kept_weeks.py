"""Finished weeks are read from Langfuse once in a while, not every day, and say the same as if they were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from evaluator.alerts.judged import judged
from evaluator.alerts.kept_weeks import KeptWeeks
from evaluator.alerts.weekly_look import analysed
from evaluator.langfuse import Window
from evaluator.service import sweep
from monitors import AlertState, DropTest, Held, Judged, MonitorSpec
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic
from tests.watching import START, House
from tests.wire.test_alert_over_the_wire import MONITORS, scores
from traces import DataType, Score, Subject

SPEC = MonitorSpec(score="faithfulness")
WINDOW = Window(START - timedelta(weeks=12), START)


@pytest.fixture
def house() -> House:
    made = House(SPEC)
    made.fill(7, 98)
    made.fill(0, 7, low=0.4)
    return made


@pytest.fixture
def weeks(valkey: redis.Redis, house: House) -> KeptWeeks:
    return KeptWeeks(valkey, "test", house.langfuse, house.clock)


def read(weeks: KeptWeeks, spec: MonitorSpec = SPEC) -> list[Judged]:
    return [score for score in weeks.read(spec, WINDOW) if score.at >= WINDOW.start]


def asked(house: House) -> timedelta:
    """Return how much time was read from Langfuse since last asked."""
    total = sum((window.end - window.start for window, _ in house.langfuse.asked), timedelta())
    house.langfuse.asked.clear()
    return total


def plain(found: Iterator[Judged] | list[Judged]) -> list[tuple[object, ...]]:
    return sorted(
        (s.at.replace(microsecond=0), s.value, s.weight, s.version, s.boolean, str(s.segments)) for s in found
    )


def test_what_is_kept_says_the_same(weeks: KeptWeeks, house: House) -> None:
    direct = list(judged(house.langfuse, SPEC, WINDOW))
    for _ in range(2):
        found = read(weeks)
        assert plain(found) == plain(direct)
    tests = [
        analysed(SPEC, AlertState(), START, Held.of(each, now=START, segments=SPEC.segments)).test
        for each in (direct, found)
    ]
    first, second = (test for test in tests if isinstance(test, DropTest))
    assert (first.drop, first.low, first.p) == pytest.approx((second.drop, second.low, second.p))


def test_sixteen_weeks_are_read_once_and_then_two(weeks: KeptWeeks, house: House) -> None:
    read(weeks)
    assert asked(house) >= timedelta(weeks=12)
    read(weeks)
    assert asked(house) <= timedelta(days=15)


def test_people_are_shown_the_traces_of_this_week(weeks: KeptWeeks) -> None:
    read(weeks)
    recent = [score for score in read(weeks) if score.at >= START - timedelta(days=7)]
    assert len(recent) == 350
    assert all(score.trace_id and score.comment for score in recent)


def test_no_text_and_no_session_is_kept(weeks: KeptWeeks, valkey: redis.Redis) -> None:
    read(weeks)
    old = [score for score in read(weeks) if score.at < START - timedelta(days=15)]
    assert not any(score.trace_id or score.comment or score.session_id for score in old)
    assert not any("session-" in score.session for score in old)
    assert valkey.keys("test:week:*")


def test_each_week_expires_on_another_day(weeks: KeptWeeks, valkey: redis.Redis) -> None:
    read(weeks)
    days = {round(valkey.ttl(key) / 86400) for key in valkey.keys("test:week:*")}
    assert days == set(range(4, 11))


def test_what_counts_otherwise_is_kept_apart(weeks: KeptWeeks, house: House) -> None:
    read(weeks)
    asked(house)
    other = SPEC.model_copy(update={"environment": ("staging",)})
    assert read(weeks, other) == []
    assert asked(house) >= timedelta(weeks=12)
    assert len(read(weeks)) == 50 * 84


def old_score(weeks_ago: float) -> Score:
    at = START - timedelta(weeks=weeks_ago)
    return Score("id", Subject("t" * 32), "faithfulness", 1.0, DataType.NUMERIC, at)


def test_a_backfill_is_seen_at_once_and_todays_scores_forget_nothing(weeks: KeptWeeks, house: House) -> None:
    read(weeks)
    asked(house)
    weeks.written([old_score(0.1)])
    read(weeks)
    assert asked(house) <= timedelta(days=15)
    weeks.written([old_score(5), replace(old_score(0.5), id="b")])
    read(weeks)
    assert timedelta(weeks=1) < asked(house) <= timedelta(days=22)


def test_a_week_that_is_too_large_is_read_again(
    weeks: KeptWeeks, house: House, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.alerts.kept_weeks._LARGEST", 100)
    assert len(read(weeks)) == 50 * 84
    assert valkey.keys("test:week:*") == []


def test_without_redis_everything_is_read(house: House) -> None:
    nobody = redis.Redis(unix_socket_path="/nowhere", retry=Retry(NoBackoff(), 0))
    away = KeptWeeks(nobody, "test", house.langfuse, house.clock)
    assert len(read(away)) == 50 * 84


def pages_read(sandbox: Sandbox) -> int:
    answers: dict[str, int] = sandbox.langfuse.counts()["requests"].get("GET /api/public/v3/scores", {})
    return sum(answers.values())


def test_the_second_look_of_the_service_asks_for_less(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    sandbox.langfuse.load_scores(scores(fall=0.0))
    config(monitors=MONITORS)
    requests = []
    with service() as app:
        for _ in range(2):
            before = pages_read(sandbox)
            assert app.watch.look() == []
            requests.append(pages_read(sandbox) - before)
    assert requests[1] < requests[0] / 3


def test_the_services_own_backfill_is_seen(
    sandbox: Sandbox, service: OpenService, config: Config, valkey: redis.Redis, traffic: Traffic
) -> None:
    config(rules="[{name: answered, rule: not_empty}]", rubrics={}, monitors="- {score: answered}")
    month = timedelta(days=30)
    with service() as app:
        app.watch.look()
        kept = valkey.keys("*:week:*")
        traffic.add(3, ended_ago=month.total_seconds())
        sweep(app, month + timedelta(hours=1), drain=True)
    assert len(kept) - len(valkey.keys("*:week:*")) == 1
