"""A backfill on real sockets: told beforehand, each pair once, unbiased at any rate, and it goes on where it was."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from evaluator.app import App
from evaluator.backfill import Backfill, Backfilled, Positions, Request, at_rate
from evaluator.cli import cli
from evaluator.langfuse import Window
from evaluator.money.catching_up import MOST_WAITING
from evaluator.sampling.jobs import Lane, from_message
from evaluator.sampling.sampler import position
from evaluator.service import sweep
from evaluator.worker import Queue, open_queue, working
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic, WrongClock, everything, trace_id

HOUR = timedelta(hours=1)
JUDGED = RUBRIC.replace("rate: 1", "rate: 0.3")
PRICED = SERVICE + "models: {prices: {gpt-5.4-mini: {input: 1, output: 10}}}\n"

Asked = Callable[..., Backfilled]


@pytest.fixture
def only_judge(config: Config) -> None:
    config(rules="[]", rubrics={"helpfulness": JUDGED})


def request(app: App, rate: float | None = None, *, at: datetime | None = None) -> Request:
    now = at or datetime.now(UTC)
    chosen = [each if rate is None else at_rate(each, rate) for each in app.definitions.evaluators]
    window = Window(now - timedelta(minutes=30), now - timedelta(minutes=1))
    return Request(window, tuple(chosen), fixed=rate is not None)


def run(app: App, valkey: redis.Redis, asked: Request, **options: Any) -> Backfilled:
    queue = open_queue(app)
    with working(app, queue, 2):
        return Backfill(app, queue, valkey, asked, **options).run(lambda _: None)


def probabilities(sandbox: Sandbox) -> dict[str, float]:
    scores = [s for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"]
    found = {s["traceId"]: s["metadata"]["inclusion_probability"] for s in scores}
    assert len(found) == len(scores), "a trace has two scores"
    return found


def below(app: App, rate: float, number: int) -> set[str]:
    salt = app.definitions.service.sampling.salt
    return {trace_id(n) for n in range(number) if position(trace_id(n), salt) < rate}


@pytest.mark.usefixtures("only_judge")
def test_a_higher_rate_makes_one_sample_of_both_and_pays_only_for_what_is_new(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis
) -> None:
    traffic.add(80, ended_ago=300)
    with service() as app:
        sweep(app, HOUR, drain=True, threads=2)
        live = below(app, 0.3, 80)
        assert probabilities(sandbox) == dict.fromkeys(live, 0.3)
        before = {s["traceId"]: (s["id"], s["value"], s["comment"]) for s in sandbox.langfuse.all_scores()}
        done = run(app, valkey, request(app, 0.7))
        both = below(app, 0.7, 80)
        assert probabilities(sandbox) == dict.fromkeys(both, 0.7)
        assert sandbox.model.counts()["calls"] == len(both)
        assert (done.stopped, done.progress.pairs, done.progress.raised) == ("", len(both - live), len(live))
        after = {s["traceId"]: (s["id"], s["value"], s["comment"]) for s in sandbox.langfuse.all_scores()}
        assert {i: after[i] for i in before} == before
        # The sum of the weights is what tells how many traces there were: it has not become more wrong.
        assert sum(1 / p for p in probabilities(sandbox).values()) == pytest.approx(len(both) / 0.7)
        again = run(app, valkey, request(app, 0.7))
        assert (again.progress.pairs, again.progress.raised) == (0, 0)
        # A lower rate takes none away, and makes nothing count for less.
        run(app, valkey, request(app, 0.1))
    assert probabilities(sandbox) == dict.fromkeys(both, 0.7)
    assert sandbox.model.counts()["calls"] == len(both)
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_another_version_replaces_its_scores_and_the_counts_stay_true(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    folder = config(rules="[]")
    traffic.add(6, ended_ago=300)
    with service(folder) as app:
        sweep(app, HOUR, drain=True, threads=2)
    versions = {s["metadata"]["evaluator_version"] for s in sandbox.langfuse.all_scores()}
    config(rules="[]", rubrics={"helpfulness": RUBRIC.replace("useless", "of no use")})
    with service(folder) as app:
        done = run(app, valkey, request(app))
        assert done.progress.pairs == 6
        assert app.state.funnel() == Counter({("helpfulness", "sampled", ""): 6, ("helpfulness", "scored", ""): 6})
        (version,) = {s["metadata"]["evaluator_version"] for s in sandbox.langfuse.all_scores()}
        assert version not in versions
    assert len(probabilities(sandbox)) == 6
    assert sandbox.model.counts()["calls"] == 12


def test_what_failed_is_done_again_and_what_was_skipped_is_not(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis
) -> None:
    traffic.add(3, ended_ago=300)
    sandbox.model.answers.malformed = 1.0
    with service() as app:
        sweep(app, HOUR, drain=True, threads=2)
        assert len(app.state.dead_letters()) == 3
        sandbox.model.answers.malformed = 0.0
        assert run(app, valkey, request(app)).progress.pairs == 3
        assert app.state.dead_letters() == []
        assert app.state.funnel()["helpfulness", "failed", "bad_answer"] == 0
    assert len(probabilities(sandbox)) == 3


def test_what_waits_for_a_worker_already_is_not_counted_twice(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    config(rules="[]")
    traffic.add(4, ended_ago=300)
    traffic.add(2, first=4, ended_ago=300)
    with service() as app:
        queue = open_queue(app)
        finder = app.discovery(queue.put)
        finder.since(app.clock.now() - HOUR)
        (job, *_) = from_message(message_of(queue, Lane.LIVE)["args"][0])
        queue.put([job], timedelta(seconds=1), Lane.PATIENT)  # delayed, and a duplicate besides
        run(app, valkey, request(app))
        assert queue.size() == 0
        assert app.state.funnel() == Counter({("helpfulness", "sampled", ""): 6, ("helpfulness", "scored", ""): 6})
    assert len(probabilities(sandbox)) == 6
    assert sandbox.langfuse.counts()["duplicates"] == 0


@pytest.mark.parametrize("lane", ["live", "batch"])
def test_what_waits_for_money_or_in_a_providers_batch_is_not_counted_twice(
    lane: str, service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    budget = "budget: {usd_per_day: 0.000001, catch_up: true}\n" if lane == "live" else ""
    config(
        rules="[]", service=PRICED + budget, rubrics={"helpfulness": RUBRIC + f"judge: {{lane: {lane}, samples: 1}}\n"}
    )
    traffic.add(6, ended_ago=300)
    clock = WrongClock()
    with service(clock=clock) as app:
        queue, asked = open_queue(app), request(app)
        app.discovery(queue.put).since(app.clock.now() - HOUR)
        for _ in range(2):
            with working(app, queue, 2):
                emptied(queue)
            waiting = app.money.arrears.parked(), app.batches.room.waiting()[0]
            # One judgement, which spends the budget, is let through.
            assert waiting == (({"helpfulness": 5}, 0) if lane == "live" else ({}, 6))
            assert app.state.funnel()["helpfulness", "sampled", ""] == 6
            clock.wrong += timedelta(days=1)
            Positions(valkey, "evaluator").forget(asked)
            Backfill(app, queue, valkey, asked)._step()
            assert app.state.funnel()["helpfulness", "sampled", ""] == 6
            assert queue.size([Lane.BACKFILL]) > 0, "the backfill had nothing to count"


@pytest.mark.parametrize("settled", [False, True])
def test_what_a_backfill_took_before_live_discovery_is_not_counted_by_both(
    settled: bool, service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    config(rules="[]")
    traffic.add(6, ended_ago=300)
    with service() as app:
        queue = open_queue(app)
        Backfill(app, queue, valkey, request(app))._step()
        if settled:
            with working(app, queue, 2):
                emptied(queue)
        app.discovery(queue.put).since(app.clock.now() - HOUR)
        assert app.state.funnel()["helpfulness", "sampled", ""] == 6


def emptied(queue: Queue) -> None:
    """Wait until workers have taken all there is."""
    while queue.size():
        time.sleep(0.02)


def message_of(queue: Queue, lane: Lane) -> dict[str, Any]:
    """Return one message of a lane as Redis holds it."""
    (data, *_) = queue.broker.client.hvals(f"{queue.broker.namespace}:{lane}.msgs")
    message: dict[str, Any] = json.loads(data)
    return message


@pytest.mark.usefixtures("only_judge")
def test_it_goes_on_where_it_was_interrupted(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.backfill._STEP", timedelta(minutes=2))
    traffic.add(10, ended_ago=1200)
    traffic.add(10, first=10, ended_ago=300)
    told = threading.Event()
    with service() as app:
        asked, queue = request(app, 1), open_queue(app)
        job = Backfill(app, queue, valkey, asked, told=told)
        with working(app, queue, 2):
            stopped = job.run(lambda _: told.set())
        assert stopped.stopped == "interrupted"
        assert asked.window.start < stopped.progress.at < datetime.now(UTC) - timedelta(minutes=15)
        assert Positions(valkey, "evaluator").read(asked) == stopped.progress
        done = run(app, valkey, asked)
        assert (done.stopped, done.progress.pairs, done.progress.traces) == ("", 20, 20)
        assert not any(":backfill:" in key for key in everything(valkey))
    assert probabilities(sandbox) == {trace_id(n): 1.0 for n in range(20)}
    assert sandbox.model.counts()["calls"] == 20


@pytest.mark.usefixtures("only_judge")
def test_only_so_many_and_then_the_rest(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis
) -> None:
    traffic.add(10, ended_ago=300)
    with service() as app:
        asked = request(app, 1)
        first = run(app, valkey, asked, limit=4)
        assert (first.stopped, first.progress.pairs) == ("limit", 4)
        assert len(Counter(probabilities(sandbox))) <= 4
        assert run(app, valkey, asked, limit=100).stopped == ""
    assert len(probabilities(sandbox)) == 10
    assert sandbox.model.counts()["calls"] == 10


def test_it_stops_at_the_budget_and_goes_on_the_next_day(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    config(rules="[]", service=PRICED + "budget: {usd_per_day: 0.01}\nbatch_size: 5\n")
    traffic.add(30, ended_ago=300)
    clock = WrongClock()
    with service(clock=clock) as app:
        asked = request(app)
        stopped = run(app, valkey, asked)
        assert stopped.stopped == "budget"
        assert 0 < len(probabilities(sandbox)) < 30
        for _ in range(40):
            clock.wrong += timedelta(days=1)
            if run(app, valkey, asked).stopped == "":
                break
    assert len(probabilities(sandbox)) == 30
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_few_messages_wait_at_a_time_and_only_behind_live_ones(
    service: OpenService, traffic: Traffic, valkey: redis.Redis, config: Config
) -> None:
    config(service=SERVICE + "batch_size: 1\n")
    traffic.add(MOST_WAITING + 10, ended_ago=300)
    told = threading.Event()
    with service() as app:
        queue = open_queue(app)
        seen: list[int] = []

        def more(_: int) -> None:
            seen.append(queue.waiting(Lane.BACKFILL))
            if len(seen) == MOST_WAITING:
                told.set()

        done = Backfill(app, queue, valkey, request(app), told=told).run(more)
        assert done.stopped == "interrupted"
        assert seen == list(range(1, MOST_WAITING + 1))
        assert queue.size() == queue.size([Lane.BACKFILL]) == MOST_WAITING


@pytest.fixture
def typed(environment: dict[str, str], config: Config, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVALUATOR_CONFIG", str(config(service=PRICED)))
    start, end = ((datetime.now(UTC) - timedelta(minutes=ago)).isoformat() for ago in (30, 1))

    def ask(*words: str) -> Any:
        return CliRunner().invoke(cli, ["backfill", "--from", start, "--to", end, *words])

    return ask


def test_it_is_estimated_first_and_nobody_is_taken_by_surprise(
    sandbox: Sandbox, traffic: Traffic, typed: Any, valkey: redis.Redis
) -> None:
    traffic.add(12, ended_ago=300)
    document = json.loads(typed("--dry-run", "--json").stdout)
    assert (document["traces"], document["pairs"], document["done"], document["calls"]) == (12, 36, 0, 12)
    assert document["usd"] > 0
    assert "done" not in typed("--json").stdout
    refused = typed()
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert sandbox.langfuse.all_scores() == []
    assert sandbox.model.calls == 0
    assert everything(valkey) == {}


def test_it_is_done_with_yes_and_then_there_is_nothing_left(sandbox: Sandbox, traffic: Traffic, typed: Any) -> None:
    traffic.add(12, ended_ago=300)
    done = typed("--yes", "--evaluator", "answered", "--evaluator", "helpfulness", "--limit", "5")
    assert done.exit_code == 0, done.output
    assert "12 traces finished" in done.stdout
    assert "stopped: as many traces were handed over as were asked for" in done.stdout
    assert json.loads(typed("--yes", "--json").stdout)["done"]["pairs"] == 36 - 10
    assert Counter(s["name"] for s in sandbox.langfuse.all_scores()) == {
        "answered": 12,
        "helpfulness": 12,
        "no-errors": 12,
    }
    assert "0 are to be evaluated" in typed().stdout
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_mistakes_are_told_before_anything_is_read(typed: Any) -> None:
    assert "answered" in str(typed("--evaluator", "anwered").exception)
    assert typed("--to", "2020-01-01").exit_code == 2
    assert typed("--to", "someday").exit_code == 2
    assert typed("--rate", "1.5").exit_code == 2
