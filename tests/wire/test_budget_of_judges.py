"""When the money is spent judges pause and rules go on; what is to be caught up with comes back when there is more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from evaluator.app import App
from evaluator.sampling.jobs import Job
from evaluator.sampling.sampler import position
from evaluator.state.ledger import EVERYBODY, Settlement, billionths
from evaluator.worker import Queue, open_queue, take_up, working
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic, WrongClock

MODELS = "models: {prices: {gpt-5.4-mini: {input: 10, output: 100}, cheap: {input: 0, output: 0}}}\n"
SHORT = RUBRIC + "judge: {max_output_tokens: 100}\n"
MOST = 0.04
"""USD that one call of `SHORT` reserves, rounded up; it costs about a fifth of it."""


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def found(app: App) -> list[Job]:
    jobs: list[Job] = []
    app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
    return jobs


def scored(sandbox: Sandbox, name: str) -> Counter[str]:
    return Counter(score["traceId"] for score in sandbox.langfuse.all_scores() if score["name"] == name)


def put(queue: Queue, jobs: list[Job], size: int = 10) -> None:
    for start in range(0, len(jobs), size):
        queue.put(jobs[start : start + size])


def is_empty(queue: Queue) -> Callable[[], bool]:
    return lambda: queue.size() == 0


def spent(app: App) -> float:
    return app.money.ledger.spent(app.clock.now().date()).get(EVERYBODY, 0.0)


def paid(sandbox: Sandbox) -> float:
    """Return what the provider would put on its bill."""
    counts = sandbox.model.counts()
    return float(counts["input_tokens"] * 10 + counts["output_tokens"] * 100) / 1_000_000


def test_judges_pause_and_take_up_again_what_they_left_when_a_new_day_brings_money(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(
        service=SERVICE + MODELS + "budget: {usd_per_day: 0.3, catch_up: true}\n", rubrics={"helpfulness": SHORT}
    )
    ids, clock = traffic.add(80), WrongClock()
    with service(folder, clock=clock) as app:
        queue = open_queue(app)
        put(queue, found(app))
        with working(app, queue, threads=4):
            assert eventually(is_empty(queue))
        assert scored(sandbox, "answered") == Counter(ids)
        first = scored(sandbox, "helpfulness")
        assert spent(app) == pytest.approx(paid(sandbox))
        assert 0.3 <= spent(app) <= 0.3 + MOST
        assert app.money.arrears.parked() == {"helpfulness": 80 - len(first)}
        assert take_up(app, queue) == 0  # not today
    # The next days, each after a restart: there is money for a part of the rest, then none again.
    for day in range(1, 4):
        clock.wrong = timedelta(days=day)
        with service(folder, clock=clock) as app:
            queue = open_queue(app)
            if take_up(app, queue):
                with working(app, queue, threads=4):
                    assert eventually(is_empty(queue))
            assert spent(app) <= 0.3 + MOST
    with service(folder, clock=clock) as app:
        assert app.money.arrears.parked() == {}
        assert app.state.funnel()["helpfulness", "scored", ""] == 80
        assert app.state.dead_letters() == []
    assert scored(sandbox, "helpfulness") == Counter(ids)
    assert sandbox.langfuse.counts()["duplicates"] == 0
    assert sandbox.model.counts()["calls"] == 80


def test_without_catching_up_what_there_was_no_money_for_is_skipped_and_counted(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(service=SERVICE + MODELS + "budget: {usd_per_day: 0.1}\n", rubrics={"helpfulness": SHORT})
    ids = traffic.add(40)
    with service(folder) as app:
        queue = open_queue(app)
        put(queue, found(app))
        with working(app, queue, threads=4):
            assert eventually(is_empty(queue))
        counts = app.state.funnel()
        left = counts["helpfulness", "skipped", "no money left that day"]
        assert counts["helpfulness", "scored", ""] == len(scored(sandbox, "helpfulness")) == 40 - left
        assert 0 < left < 40
        assert app.money.arrears.parked() == {}
    assert scored(sandbox, "answered") == Counter(ids)


def test_a_rubric_without_money_keeps_no_other_one_of_its_group_from_being_asked(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    group = "judge: {max_output_tokens: 100, group: g, model: %s}\n"
    poor = RUBRIC + group % "gpt-5.4-mini" + "budget: {usd_per_day: 0.02}\n"
    rich = RUBRIC.replace("helpfulness", "tone") + group % "gpt-5.4-mini"
    free = RUBRIC.replace("helpfulness", "free") + "judge: {model: cheap}\nbudget: {usd_per_day: 1}\n"
    folder = config(service=SERVICE + MODELS, rubrics={"poor": poor, "rich": rich, "free": free})
    ids = traffic.add(30)
    with service(folder) as app:
        queue = open_queue(app)
        put(queue, found(app))
        with working(app, queue, threads=2):
            assert eventually(is_empty(queue))
        assert 0 < len(scored(sandbox, "helpfulness")) < 30
        assert app.money.ledger.spent(app.clock.now().date())["helpfulness"] <= 0.02 + MOST
    assert scored(sandbox, "tone") == scored(sandbox, "free") == Counter(ids)


def test_a_server_that_does_not_say_what_was_used_is_paid_what_was_reserved(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    sandbox.model.tells_usage = False
    folder = config(service=SERVICE + MODELS + "budget: {usd_per_day: 0.3}\n", rubrics={"helpfulness": SHORT})
    traffic.add(40)
    with service(folder) as app:
        queue = open_queue(app)
        put(queue, found(app))
        with working(app, queue, threads=2):
            assert eventually(is_empty(queue))
        assert 0.3 <= spent(app) <= 0.3 + MOST
        assert 0 < len(scored(sandbox, "helpfulness")) < 20


def test_a_line_with_a_budget_is_sampled_at_the_rate_it_lasts_for(
    service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(rubrics={"helpfulness": RUBRIC.replace("[{rate: 1}]", "{budget: 20/day}")})
    traffic.add(400)
    with service(folder) as app:
        jobs = found(app)
        taken = [sampled for job in jobs for sampled in job.samples if sampled.evaluator == "helpfulness"]
        assert len({job.ref.id for job in jobs}) == 400  # rules see all
        assert 5 < len(taken) < 40
        assert all(sampled.probability == pytest.approx(20 * 0.99 / 400) for sampled in taken)
        (today,) = app.money.volumes.days([app.clock.now().date()])
        assert today.taken["helpfulness", 0] == len(taken)
        assert not today.matched  # a sweep over what is old says nothing of the traffic to come
        assert ("helpfulness", 0) in app.money.volumes.rates()


def test_what_ends_while_there_is_no_money_stays_in_langfuse_and_is_decided_when_there_is(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    half = SHORT.replace("[{rate: 1}]", "[{rate: 0.5}]")
    folder = config(
        service=SERVICE + MODELS + "budget: {usd_per_day: 1, catch_up: true}\n", rubrics={"helpfulness": half}
    )
    clock, jobs = WrongClock(), list[Job]()
    with service(folder, clock=clock) as app:
        finder = app.discovery(jobs.extend)
        before = traffic.add(40, ended_ago=30)
        app.state.advance(clock.now() - timedelta(seconds=60))
        finder.catch_up()
        taken = of_rubric(jobs)
        assert len(jobs) == 40
        assert 5 < len(taken) < 35
        jobs.clear()
        app.money.ledger.pay(clock.now().date(), "w", {}, Settlement({EVERYBODY: billionths(1)}), [])
        later = traffic.add(60, first=100, ended_ago=-2)
        clock.wrong = timedelta(seconds=10)
        finder.catch_up()
        assert len(jobs) == 60  # rules see them
        assert of_rubric(jobs) == {}
        assert app.state.funnel()["helpfulness", "sampled", ""] == len(taken)
        (span,) = app.money.arrears.owed()["helpfulness"]
        assert app.money.arrears.parked() == {}
        assert set(before + later) == {job.ref.id for job in jobs} | set(before)
        assert span.end - span.start < timedelta(minutes=2)
    clock.wrong = timedelta(days=1)
    with service(folder, clock=clock) as app:
        queue = open_queue(app)
        number = take_up(app, queue)
        assert take_up(app, queue) == 0
        assert app.money.arrears.owed() == {}
        with working(app, queue, threads=2):
            assert eventually(is_empty(queue))
        counts = app.state.funnel()
    expected = {i for i in later if position(i, "evaluator") < 0.5}
    assert number == len(expected)
    scores = {s["traceId"]: s["metadata"] for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"}
    assert scores.keys() == expected
    assert {metadata["inclusion_probability"] for metadata in scores.values()} == {0.5}
    assert counts["helpfulness", "sampled", ""] == len(taken) + len(expected)
    assert counts["helpfulness", "sampled_out", ""] == 100 - len(taken) - len(expected)


def of_rubric(jobs: list[Job]) -> dict[str, float]:
    return {
        job.ref.id: sampled.probability for job in jobs for sampled in job.samples if sampled.evaluator == "helpfulness"
    }
