"""One look at how the service is doing."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime, timedelta

from rich.console import Console

from evaluator.sampling.jobs import Job, Lane
from evaluator.sampling.overload import Load
from evaluator.sampling.sampler import Sampled
from evaluator.service import sweep
from evaluator.state.ledger import EVERYBODY, Settlement, billionths
from evaluator.status.overview import Status, look
from evaluator.status.report import show
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic
from traces import TraceRef

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def shown(status: Status) -> str:
    out = Console(file=io.StringIO(), width=160)
    show(status, out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_before_anything_ran_it_says_so(service: OpenService) -> None:
    with service() as app:
        status = look(app, open_queue(app), NOW)
    text = shown(status)
    assert "none: no scheduler is running" in text
    assert "nothing was read yet" in text
    assert status.as_json()["evaluators"] == {}


def test_what_became_of_everything(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    traffic.add(10)
    sandbox.model.answers.malformed = 1.0
    with service() as app:
        sweep(app, timedelta(hours=1), drain=True, threads=4)
        status = look(app, open_queue(app), datetime.now(UTC))
    assert status.counts["answered"] == Counter(sampled=10, scored=10)
    assert status.counts["helpfulness"] == Counter(sampled=10, failed=10)
    assert status.as_json()["dead_letters"] == {"bad_answer": 10}
    assert status.as_json()["reasons"] == {"failed: bad_answer": 10}
    text = shown(status)
    assert "bad_answer" in text
    assert "dead letters" in text


def test_what_waits_and_how_far_behind(service: OpenService) -> None:
    with service() as app:
        queue = open_queue(app)
        now = datetime.now(UTC)
        app.state.advance(now - timedelta(minutes=3))
        app.state.lease("scheduler", "host:1", timedelta(seconds=30))
        app.state.set_load(Load(timedelta(minutes=20), 0.25, {"tone": 0.1}, timedelta(minutes=3)))
        assert app.state.load() == Load(timedelta(minutes=20), 0.25, {"tone": 0.1}, timedelta(minutes=3))
        ref = TraceRef("t", "r", "production", NOW, NOW)
        app.state.claim({ref: ["answered/sampled/"]})
        queue.put([Job(ref, (Sampled("answered", 1.0, "0"),))])
        queue.put([Job(ref, (Sampled("answered", 1.0, "0"),))], timedelta(hours=1), Lane.PATIENT)
        status = look(app, queue, now + timedelta(minutes=5))
    document = status.as_json()
    assert document["leader"] == "host:1"
    assert document["behind_seconds"] == 480
    assert document["lanes"]["evaluate"]["waiting"] == 1
    assert 290 < document["lanes"]["evaluate"]["oldest_seconds"] < 310
    assert document["lanes"]["patient"]["waiting"] == 0
    assert document["in_hand"] == 1
    assert (document["lag_seconds"], document["share"], document["shares"]) == (1200, 0.25, {"tone": 0.1})
    assert (status.load.of("tone"), status.load.of("answered"), status.load.least) == (0.1, 0.25, 0.1)
    assert status.counts["answered"]["pending"] == 1
    text = shown(status)
    for said in (
        "host:1",
        "8 min",
        "1 waiting",
        "sampling at 25% of the configured rates",
        "held up       tone",
        "pending",
    ):
        assert said in text


def test_what_was_spent_and_what_waits_for_money(service: OpenService, config: Config) -> None:
    budget = "models: {prices: {gpt-5.4-mini: {input: 1, output: 1}}}\nbudget: {usd_per_day: 20}\n"
    with service(config(service=budget)) as app:
        app.money.ledger.pay(NOW.date(), "a", {}, Settlement({EVERYBODY: billionths(5)}), [])
        app.money.arrears.park([Job(TraceRef("t", "r", "production", NOW, NOW), (Sampled("helpfulness", 1.0, "0"),))])
        status = look(app, open_queue(app), NOW)
    assert status.as_json()["budgets"] == {"all judges": {"spent_usd": 5.0, "usd_per_day": 20.0}}
    assert status.as_json()["waiting_for_money"] == {"helpfulness": 1}
    assert "all judges: 5.00 of 20.00 USD spent today (25%)" in shown(status)
    assert "no money yet  1 of helpfulness" in shown(status)
