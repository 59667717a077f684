"""A clock that was wrong for a while: what it left behind keeps nothing from being found, evaluated or looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluator.app import App
from evaluator.discovery.idle_sessions import IdleSessions
from evaluator.discovery.sweep import Discovery
from evaluator.pipeline import Evaluation
from evaluator.sampling.jobs import NOTHING_WAITS, Job
from evaluator.scheduler import Scheduler
from sandbox.server import Sandbox
from tests.processes import eventually
from tests.serving import OpenService, Traffic, WrongClock


def discovery(app: App, clock: WrongClock, jobs: list[Job]) -> Discovery:
    idle = IdleSessions(app.definitions, app.langfuse, app.state, app.sessions, app.money.rations, clock)
    return Discovery(app.definitions, app.langfuse, app.state, idle, app.money.rations, clock, jobs.extend)


@pytest.mark.parametrize("hours", [1, -1, 24 * 30])
def test_what_finishes_after_a_jump_of_the_clock_is_found_once(
    service: OpenService, traffic: Traffic, hours: int
) -> None:
    clock, jobs = WrongClock(), list[Job]()
    with service() as app:
        finder = discovery(app, clock, jobs)
        finder.catch_up()
        traffic.add(3, ended_ago=3)
        finder.catch_up()
        clock.wrong = timedelta(hours=hours)
        traffic.add(3, first=10, ended_ago=3)
        finder.catch_up()
        clock.wrong = timedelta()
        traffic.add(3, first=20, ended_ago=3)
        finder.catch_up()
        finder.catch_up()
        assert len(jobs) == len({job.ref.id for job in jobs}) == 9
        # The mark is where it would be had the clock never been wrong.
        assert abs((app.state.watermark() or clock.now()) - clock.now()) < timedelta(seconds=10)


def test_the_overlap_is_read_again_in_time_after_a_jump(service: OpenService, traffic: Traffic) -> None:
    clock, jobs = WrongClock(), list[Job]()
    clock.wrong = timedelta(days=1)
    with service() as app:
        finder = discovery(app, clock, jobs)
        finder.catch_up()
        finder.catch_up()
        clock.wrong = timedelta()
        finder.catch_up()
        steady = clock.monotonic()
        clock.monotonic = lambda: steady + 200  # type: ignore[method-assign] # more than half of the overlap later
        traffic.add(3, ended_ago=280)
        finder.catch_up()
        assert len(jobs) == 3


@pytest.mark.parametrize("hours", [1, -1, -24 * 30])
def test_a_trace_evaluated_by_a_wrong_clock_waits_no_longer_than_one_that_moved(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, hours: int
) -> None:
    clock, jobs = WrongClock(), list[Job]()
    ids = traffic.add(3, ended_ago=5)
    with service() as app:
        discovery(app, clock, jobs).since(datetime.now(UTC) - timedelta(minutes=5))
        seen = app.evaluation._calls._judge_traces
        evaluation = Evaluation(app.definitions, app.langfuse, app.model, app.state, app.money.arrears, clock, seen)
        clock.wrong = timedelta(hours=hours)
        for again in evaluation.evaluate(jobs):
            assert again.delay <= app.definitions.service.discovery.quiet_for
            clock.wrong = timedelta()
            assert evaluation.evaluate(again.jobs) == []
    assert {score["traceId"] for score in sandbox.langfuse.all_scores()} == set(ids)


class Looks:
    """Counts looks."""

    def __init__(self) -> None:
        self.looked = 0

    def look(self) -> None:
        self.looked += 1

    def digest(self) -> None: ...

    def deliver(self) -> None: ...


def test_a_scheduler_that_starts_by_a_clock_that_is_ahead_begins_at_once(service: OpenService) -> None:
    clock = WrongClock()
    clock.wrong = timedelta(hours=1)
    with service() as app:
        leader = Scheduler(replace(app, clock=clock), discovery(app, clock, []), lambda _: NOTHING_WAITS)
        with leader.running():
            assert eventually(lambda: app.state.watermark() is not None, seconds=10)


def test_a_look_that_ran_in_the_future_keeps_none_from_running(service: OpenService) -> None:
    clock, looks = WrongClock(), Looks()
    with service() as app:
        wrong: Any = replace(app, clock=clock, watch=looks)  # type: ignore[arg-type] # all that is asked of it
        leader = Scheduler(wrong, discovery(app, clock, []), lambda _: NOTHING_WAITS)
        leader.renew()
        clock.wrong = timedelta(days=10)
        app.state.ran("look", datetime.now(UTC))
        leader.due()
        assert looks.looked == 1
        clock.wrong = timedelta()
        leader.due()
        clock.wrong = timedelta(days=1)
        leader.due()
        assert looks.looked == 2
