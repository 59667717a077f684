"""One scheduler leads, jobs that are due run once, and a job that fails stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluator.app import App
from evaluator.clock import SystemClock
from evaluator.errors import Unavailable
from evaluator.sampling.jobs import NOTHING_WAITS
from evaluator.scheduler import Scheduler
from sandbox.server import Sandbox
from tests.serving import OpenService, Traffic


class Looks:
    """Counts what the scheduler asks of the watch."""

    def __init__(self) -> None:
        self.looked = self.digested = self.delivered = 0

    def look(self) -> None:
        self.looked += 1

    def digest(self) -> None:
        self.digested += 1

    def deliver(self) -> None:
        self.delivered += 1
        raise Unavailable("Slack is down")


@pytest.fixture
def app(service: OpenService) -> Iterator[App]:
    with service() as opened:
        yield opened


def scheduler(app: App, jobs: list[Any] | None = None) -> Scheduler:
    found = jobs if jobs is not None else []
    return Scheduler(app, app.discovery(found.extend), lambda _: NOTHING_WAITS)


def test_only_the_leader_discovers_and_another_takes_over(app: App, traffic: Traffic) -> None:
    app.state.advance(datetime.now(UTC) - timedelta(minutes=10))
    traffic.add(3)
    jobs: list[Any] = []
    first, second = scheduler(app, jobs), scheduler(app, jobs)
    first.renew()
    second.renew()
    second.discover()
    assert jobs == []
    first.discover()
    assert len(jobs) == 3
    traffic.add(2, first=50, ended_ago=30)
    app.state.release("scheduler", first._owner)
    second.renew()
    first.renew()
    first.discover()
    assert len(jobs) == 3
    second.discover()
    assert len(jobs) == 5


def test_a_missed_look_is_made_up_for_once(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    object.__setattr__(app, "watch", looks)
    leader = scheduler(app)
    leader.renew()
    app.state.ran("look", datetime.now(UTC) - timedelta(days=2))
    app.state.ran("digest", datetime.now(UTC) - timedelta(days=8))
    leader.due()
    leader.due()
    # Delivery failed each time, and kept nothing else from running.
    assert (looks.looked, looks.digested, looks.delivered) == (1, 1, 2)


def test_a_first_start_waits_for_its_time(app: App) -> None:
    looks = Looks()
    object.__setattr__(app, "watch", looks)
    leader = scheduler(app)
    leader.renew()
    leader.due()
    assert (looks.looked, looks.digested) == (0, 0)
    assert app.state.last_run("look") is not None


def test_a_langfuse_that_is_down_leaves_the_watermark_and_the_scheduler_running(app: App, sandbox: Sandbox) -> None:
    start = datetime.now(UTC) - timedelta(minutes=10)
    app.state.advance(start)
    leader = scheduler(app)
    leader.renew()
    sandbox.langfuse.faults.change({"errors": 1.0, "error_statuses": [400]})
    leader.discover()
    assert app.state.watermark() == start
    sandbox.langfuse.faults.clear()
    leader.discover()
    assert (app.state.watermark() or start) > start


def test_running_starts_at_once_and_gives_the_lead_back(app: App, traffic: Traffic) -> None:
    app.state.advance(datetime.now(UTC) - timedelta(minutes=10))
    traffic.add(3)
    jobs: list[Any] = []
    with scheduler(app, jobs).running():
        for _ in range(200):
            if jobs:
                break
            app.clock.sleep(0.05)
    assert len(jobs) == 3
    assert app.state.lease("scheduler", "another", timedelta(seconds=1))


def test_another_takes_over_from_a_leader_that_fell_silent(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.scheduler.LEASE", timedelta(seconds=1))
    app.state.advance(datetime.now(UTC) - timedelta(minutes=10))
    looks = Looks()
    object.__setattr__(app, "watch", looks)
    first, second = scheduler(app), scheduler(app)
    first.renew()
    second.renew()
    second.due()
    assert looks.delivered == 0
    app.clock.sleep(1.1)
    second.renew()
    second.due()
    assert looks.delivered == 1
    # The first one wakes up, sees who leads, and does nothing.
    monkeypatch.setattr("evaluator.scheduler.LEASE", timedelta(seconds=30))
    second.renew()
    first.renew()
    first.due()
    assert looks.delivered == 1


def test_a_look_that_fails_is_repeated_ever_less_often_and_stops_no_other_job(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [1000.0]
    monkeypatch.setattr(SystemClock, "monotonic", lambda _: at[0])
    looks = Looks()
    object.__setattr__(app, "watch", looks)
    leader = scheduler(app)
    leader.renew()
    before = datetime.now(UTC) - timedelta(days=8)
    app.state.ran("look", before)
    app.state.ran("digest", before)

    def fail() -> None:
        looks.looked += 1
        raise Unavailable("Langfuse is down")

    with monkeypatch.context() as broken:
        broken.setattr(looks, "look", fail)
        # Each look reads weeks of scores: one that cannot be read must not take the requests of all others.
        for wait in (0, 20, 39, 2, 118, 3):
            at[0] += wait
            leader.due()
    assert (looks.looked, looks.digested) == (3, 1)
    assert app.state.last_run("look") == before
    at[0] += 240
    leader.due()
    leader.due()
    assert (looks.looked, looks.digested) == (4, 1)


def test_a_redis_that_is_down_takes_the_lead_away(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    object.__setattr__(app, "watch", looks)
    leader = scheduler(app)
    leader.renew()

    def fail(*_: object) -> bool:
        raise Unavailable("Redis does not answer")

    with monkeypatch.context() as broken:
        broken.setattr("evaluator.state.fleet.State.lease", fail)
        leader.renew()
        leader.due()
    assert looks.delivered == 0
    leader.renew()
    leader.due()
    assert looks.delivered == 1
