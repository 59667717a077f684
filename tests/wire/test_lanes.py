"""Lanes: a slow model, old traffic and too much traffic each hold up nobody but themselves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from evaluator.app import App
from evaluator.sampling.jobs import Backlog, Burden, Job, Lane
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic, trace_id

SLEEPY = RUBRIC.replace("helpfulness", "sleepy") + "judge: {model: sleepy}\n"
LIMITS = "limits: {model_calls_in_flight: 4, patience: 300ms}\n"


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False


def scored(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def found(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
    return jobs


def test_a_slow_model_delays_neither_rules_nor_other_rubrics_and_is_paid_once(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(service=SERVICE + LIMITS, rubrics={"helpfulness": RUBRIC, "sleepy": SLEEPY})
    sandbox.model.latency_of = {"sleepy": 1.5}
    with service(folder) as app:
        queue = open_queue(app)
        with working(app, queue, threads=2):
            first = traffic.add(12)
            queue.put(found(app))
            assert eventually(lambda: sum(name == "answered" for _, name in scored(sandbox)) == len(first))
            # From now on nobody live waits for it.
            second = traffic.add(12, first=100)
            began = time.monotonic()
            queue.put(found(app))
            quick = {(i, name) for i in second for name in ("answered", "no-errors", "helpfulness")}
            assert eventually(lambda: quick <= scored(sandbox).keys())
            assert time.monotonic() - began < 1.5
            assert not {(i, "sleepy") for i in second} & scored(sandbox).keys()
            sandbox.model.latency_of = {"sleepy": 0.01}
            assert eventually(lambda: queue.size() == 0)
    names = ("answered", "no-errors", "helpfulness", "sleepy")
    assert scored(sandbox) == Counter((i, name) for i in first + second for name in names)
    assert sandbox.model.counts()["calls_of"]["sleepy"] == len(first + second)
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_old_traffic_gives_way_to_live_traffic(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(rubrics={})
    traffic.add(60)
    with service(folder) as app:
        jobs = sorted(found(app), key=lambda job: job.ref.id)
        queue = open_queue(app)
        queue.put(jobs[:1], lane=Lane.BACKFILL)
        for job in jobs[1:]:
            queue.put([job])
        with working(app, queue, threads=1):
            assert eventually(lambda: (trace_id(0), "answered") in scored(sandbox))
            # What a worker has in hand already may still be under way.
            assert len(scored(sandbox)) / 2 > 60 - 8
            assert eventually(lambda: queue.size() == 0)


@pytest.mark.parametrize(("order", "taken"), [("oldest_first", [0, 1, 2]), ("newest_first", [2, 1, 0])])
def test_waiting_traces_are_taken_in_the_order_asked_for(
    service: OpenService, traffic: Traffic, config: Config, order: str, taken: list[int]
) -> None:
    folder = config(service=f"{SERVICE}overload: {{order: {order}}}\n", rubrics={})
    traffic.add(3)
    with service(folder) as app:
        jobs = sorted(found(app), key=lambda job: job.ref.id)
        queue = open_queue(app)
        for job in jobs:
            queue.put([job])
        assert queue.waiting(Lane.LIVE) == 3
        messages = queue.broker.do_fetch(Lane.LIVE, 3)
    places = [next(n for n, job in enumerate(jobs) if job.ref.id.encode() in message) for message in messages]
    assert places == taken


def test_the_backlog_is_what_no_worker_has_taken(service: OpenService, traffic: Traffic, config: Config) -> None:
    traffic.add(2)
    with service(config(rubrics={})) as app:
        queue, now = open_queue(app), datetime.now(UTC)
        assert queue.backlog(now) == Backlog()
        queue.put(found(app))
        queue.put(found(app), timedelta(minutes=5))
        backlog = queue.backlog(now + timedelta(minutes=10))
    assert backlog.messages == 1
    assert timedelta(minutes=9) < backlog.oldest < timedelta(minutes=11)


def test_under_overload_fewer_are_sampled_and_say_with_which_probability(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(service=f"{SERVICE}overload: {{max_lag: 10m}}\n", rubrics={})
    jobs: list[Job] = []
    late = Burden(50, timedelta(minutes=20))
    with service(folder) as app:
        app.state.advance(datetime.now(UTC) - timedelta(minutes=4))
        discovery = app.discovery(jobs.extend)
        traffic.add(200, ended_ago=60)
        discovery.catch_up(late)
        assert app.state.load().share == 0.5
        assert 70 < len(jobs) < 130
        assert {sample.probability for job in jobs for sample in job.samples} == {0.5}
        funnel = app.state.funnel()
        assert funnel["answered", "shed", ""] == 200 - len(jobs)
        # The lag shrinks, then it is over: the rate comes back by itself.
        discovery.catch_up(Burden(40, timedelta(minutes=15)))
        assert app.state.load().share == 0.5
        for _ in range(4):
            discovery.catch_up()
        assert app.state.load().share == 1
        jobs.clear()
        traffic.add(50, first=1000, ended_ago=2)
        discovery.catch_up()
    assert len(jobs) == 50
    assert {sample.probability for job in jobs for sample in job.samples} == {1.0}


def test_old_questions_in_hand_give_way_to_live_ones_at_the_model_and_slow_it_for_nobody(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(service=SERVICE + LIMITS, rubrics={"helpfulness": RUBRIC})
    sandbox.model.latency_seconds = 0.1  # 40 answers a second: the old traces alone are five seconds of them
    with service(folder) as app:
        old = traffic.add(200)
        queue = open_queue(app)
        queue.put(found(app), lane=Lane.BACKFILL)
        with working(app, queue, threads=2):
            assert eventually(lambda: sandbox.model.counts()["calls"] > 24)
            live = traffic.add(8, first=1000, ended_ago=60)
            queue.put(found(app))
            assert eventually(lambda: {(i, "helpfulness") for i in live} <= scored(sandbox).keys())
            assert sandbox.model.counts()["calls"] < 100
            assert eventually(lambda: queue.size() == 0)
    assert scored(sandbox) == Counter((i, n) for i in old + live for n in ("answered", "no-errors", "helpfulness"))
    assert sandbox.model.counts()["calls"] == 208
