"""Sessions of the past on real sockets: each is judged once, as it ended, in the span in which it ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from evaluator.app import App
from evaluator.backfill import Backfill, Backfilled, Request, at_rate
from evaluator.cli import cli
from evaluator.langfuse import Window
from evaluator.sampling.sampler import position
from evaluator.service import sweep
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.serving import SERVICE, Config, OpenService, Traffic

RUBRIC = """
name: resolved
target: session
idle: 5m
sample: [{rate: 0.5}]
inputs: {conversation: transcript}
criteria: Was it settled?
score: {type: numeric, min: 1, max: 5}
"""
PRICED = SERVICE + "models: {prices: {gpt-5.4-mini: {input: 1, output: 10}}}\n"
Talk = Callable[[str, float], None]


@pytest.fixture(autouse=True)
def folder(config: Config) -> None:
    config(rules="[]", rubrics={"resolved": RUBRIC}, service=PRICED)


@pytest.fixture
def talk(traffic: Traffic) -> Talk:
    """Add a trace to a session, which ended so many minutes ago."""
    number = iter(range(10_000))

    def add(session: str, minutes: float) -> None:
        traffic.add(1, first=next(number), ended_ago=60 * minutes, sessionId=session)

    return add


def request(app: App, rate: float | None = None, begins: float = 60, ends: float = 1) -> Request:
    chosen = [each if rate is None else at_rate(each, rate) for each in app.definitions.evaluators]
    now = datetime.now(UTC)
    window = Window(now - timedelta(minutes=begins), now - timedelta(minutes=ends))
    return Request(window, tuple(chosen), fixed=rate is not None)


def run(app: App, valkey: redis.Redis, asked: Request, **options: Any) -> Backfilled:
    queue = open_queue(app)
    with working(app, queue, 2):
        return Backfill(app, queue, valkey, asked, **options).run(lambda _: None)


def judged(sandbox: Sandbox) -> dict[str, float]:
    scores = [score for score in sandbox.langfuse.all_scores() if score["name"] == "resolved"]
    found = {score["sessionId"]: score["metadata"]["inclusion_probability"] for score in scores}
    assert len(found) == len(scores), "a session has two scores"
    return found


def test_each_is_judged_once_where_it_ended_and_what_goes_on_is_left(
    sandbox: Sandbox, service: OpenService, valkey: redis.Redis, talk: Talk
) -> None:
    for session, minutes in (("two", 50), ("two", 20), ("one", 30), ("later", 40), ("later", 8), ("warm", 3)):
        talk(session, minutes)
    with service() as app:
        asked = request(app, 1, ends=10)
        done = run(app, valkey, asked)
        assert (done.stopped, done.progress.pairs) == ("", 2)
        assert judged(sandbox) == {"two": 1.0, "one": 1.0}, "later went on after the span"
        assert sandbox.model.counts()["calls"] == 2
        assert app.state.funnel() == Counter({("resolved", "sampled", ""): 2, ("resolved", "scored", ""): 2})
        assert run(app, valkey, asked).progress.pairs == 0, "they have their scores"
        run(app, valkey, request(app, 1))
        assert set(judged(sandbox)) == {"two", "one", "later"}, "warm may go on"
    assert sandbox.langfuse.counts()["duplicates"] == 0
    (two,) = [score for score in sandbox.langfuse.all_scores() if score["sessionId"] == "two"]
    assert two["metadata"]["session_traces"] == 2


def test_steps_of_an_hour_take_each_once_and_a_higher_rate_makes_one_sample_of_both(
    sandbox: Sandbox, service: OpenService, valkey: redis.Redis, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.backfill._STEP", timedelta(minutes=7))
    for number in range(20):
        talk(f"s{number}", 50)
        talk(f"s{number}", 20)
    with service() as app:
        sweep(app, timedelta(hours=2), drain=True, threads=2)
        salt = app.definitions.service.sampling.salt
        live = {f"s{n}" for n in range(20) if position(f"session/s{n}", salt) < 0.5}
        assert judged(sandbox) == dict.fromkeys(live, 0.5)
        done = run(app, valkey, request(app, 0.8))
        both = {f"s{n}" for n in range(20) if position(f"session/s{n}", salt) < 0.8}
        assert judged(sandbox) == dict.fromkeys(both, 0.8)
        assert (done.progress.pairs, done.progress.raised) == (len(both - live), len(live))
        assert sandbox.model.counts()["calls"] == len(both)
        states = app.state.funnel()
        assert states["resolved", "sampled", ""] == states["resolved", "scored", ""] == len(both)


def test_only_so_many_are_handed_over(sandbox: Sandbox, service: OpenService, valkey: redis.Redis, talk: Talk) -> None:
    for number in range(6):
        talk(f"s{number}", 30)
    with service() as app:
        asked = request(app, 1)
        assert run(app, valkey, asked, limit=4).stopped == "limit"
        assert len(judged(sandbox)) == 4
        assert run(app, valkey, asked, limit=100).stopped == ""
    assert len(judged(sandbox)) == 6
    assert sandbox.model.counts()["calls"] == 6


def test_the_command_takes_them_and_says_how_many(
    sandbox: Sandbox, environment: dict[str, str], config: Config, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVALUATOR_CONFIG", str(config(rules="[]", rubrics={"resolved": RUBRIC}, service=PRICED)))
    for number in range(3):
        talk(f"s{number}", 30)
    start, end = ((datetime.now(UTC) - timedelta(minutes=ago)).isoformat() for ago in (60, 1))
    command = ["backfill", "--from", start, "--to", end, "--evaluator", "resolved", "--rate", "1"]
    told = CliRunner().invoke(cli, [*command, "--dry-run"])
    assert "resolved: 3 sessions, 3 judge calls" in told.stdout, told.output
    done = CliRunner().invoke(cli, [*command, "--yes", "--json"])
    assert json.loads(done.stdout)["done"]["pairs"] == 3
    assert set(judged(sandbox)) == {"s0", "s1", "s2"}
