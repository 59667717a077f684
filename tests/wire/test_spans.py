"""Spans of the service itself, at a collector over OTLP: what is told of each step, and what never is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pytest

from evaluator.app import App
from evaluator.broker import TRACEPARENT
from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job, Lane
from evaluator.scheduler import Scheduler
from evaluator.service import sweep, until_empty
from evaluator.worker import Queue, open_queue, take_up, working
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic, WrongClock

SEEN: Final = SERVICE.replace("trace: off", "trace: all")
PRICED: Final = SERVICE + "models: {prices: {gpt-5.4-mini: {input: 1, output: 2}}}\n"
OWN: Final = "pk-lf-spans"
"""Langfuse's SDK keeps one client for each key, with the address it had first."""
BROKEN: Final = "[{name: answered, rule: not_empty}, {name: broken, rule: broken}]"
BREAKS: Final = '''
from rules import Rule


class Broken(Rule):
    """Raises."""

    def check(self, trace):
        raise KeyError("what the trace holds")
'''


def collected(sandbox: Sandbox, *names: str) -> list[dict[str, Any]]:
    return [span for span in sandbox.collector.spans if not names or span["name"] in names]


def only(sandbox: Sandbox, name: str) -> dict[str, Any]:
    (span,) = collected(sandbox, name)
    return span


def swept(app: App) -> dict[str, Any]:
    return sweep(app, timedelta(hours=1), drain=True, threads=2).as_json()


def away(jobs: Sequence[Job]) -> None:
    raise Unavailable("Redis does not answer")


def queued(queue: Queue) -> str:
    """Return the live messages that wait, as Redis holds them."""
    return repr(queue.broker.client.hgetall(f"{queue.broker.namespace}:{Lane.LIVE}.msgs")).replace(" ", "")


def test_a_batch_is_linked_to_the_sweep_that_found_it_and_its_steps_stand_below_it(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    ids = traffic.add(3)
    with service(config(service=PRICED), otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        assert swept(app)["evaluations"] == {"sampled": 9, "scored": 9}
    found, batch = only(sandbox, "sweep"), only(sandbox, "batch")
    assert batch["links"] == [(found["trace_id"], found["span_id"])]
    assert batch["trace_id"] != found["trace_id"]
    assert found["attributes"]["evaluator.traces"] == 3
    assert (batch["kind"], batch["parent"], found["parent"]) == ("SPAN_KIND_CONSUMER", "", "")
    assert batch["attributes"]["messaging.destination.name"] == "backfill"
    assert sorted(batch["attributes"]["langfuse.trace.id"]) == sorted(ids)
    steps = collected(sandbox, "read", "rules", "judge", "write")
    assert {(step["trace_id"], step["parent"]) for step in steps} == {(batch["trace_id"], batch["span_id"])}
    judged = collected(sandbox, "judge")
    assert sorted(step["attributes"]["langfuse.trace.id"] for step in judged) == sorted(ids)
    for step in judged:
        told = step["attributes"]
        assert (told["evaluator.name"], told["evaluator.outcome"]) == ("helpfulness", "verdict")
        assert told["gen_ai.usage.input_tokens"] > 50
        assert told["evaluator.cost_usd"] > 0
        assert step["error"] is None
    assert only(sandbox, "write")["attributes"]["evaluator.scores"] == 9
    assert only(sandbox, "rules")["attributes"]["evaluator.left_to_judges"] == 3
    assert {span["resource"]["service.name"] for span in collected(sandbox)} == {"evaluator"}


@pytest.mark.parametrize("lane", ["live", "batch"])
def test_what_waited_for_money_or_a_providers_batch_is_linked_to_the_sweep_that_sampled_it(
    lane: str, sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    budget = "budget: {usd_per_day: 0.000001, catch_up: true}\n" if lane == "live" else ""
    rubrics = {"helpfulness": RUBRIC + f"judge: {{lane: {lane}}}\n"}
    traffic.add(3)
    clock = WrongClock()
    folder = config(service=PRICED + budget, rules="[]", rubrics=rubrics)
    with service(folder, clock=clock, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        swept(app)
        if lane == "live":
            assert app.money.arrears.parked() == {"helpfulness": 2}
            clock.wrong = timedelta(days=1)
            queue = open_queue(app)
            assert take_up(app, queue) == 2
            with working(app, queue, 2):
                until_empty(app, queue, threading.Event())
    found = only(sandbox, "sweep")
    first, later = collected(sandbox, "batch")
    assert later["attributes"]["messaging.destination.name"] == ("backfill" if lane == "live" else "patient")
    for batch in (first, later):
        assert batch["links"] == [(found["trace_id"], found["span_id"])]


def test_no_span_holds_content_or_a_key_and_none_goes_where_the_other_kind_goes(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(2)
    before = sandbox.langfuse.counts()["observations"]
    told = {"otel_exporter_otlp_endpoint": sandbox.collector_url, "langfuse_public_key": OWN}
    with service(config(service=SEEN), **told) as app:
        swept(app)
    text = repr(sandbox.collector.spans)
    for secret in ("How do I return", "within 30 days", "Judge whether", sandbox.secret_key, "sk-sandbox"):
        assert secret not in text
    assert {span["name"] for span in collected(sandbox)} == {"sweep", "batch", "read", "rules", "judge", "write"}
    assert sandbox.langfuse.counts()["observations"] - before == 2, "judge calls, and nothing of ours, went to Langfuse"
    judged = {score["metadata"].get("judge_trace_id") for score in sandbox.langfuse.all_scores()} - {None}
    assert len(judged) == 2, "each judge call is a trace of its own still"
    assert judged.isdisjoint(span["trace_id"] for span in collected(sandbox))


def test_what_fails_is_told_by_its_kind(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    sandbox.model.answers.malformed = 1.0
    folder = config(rules=BROKEN, service=f"rules_path: checks\n{SERVICE}")
    (folder / "checks").mkdir()
    (folder / "checks" / "broken.py").write_text(BREAKS)
    with service(folder, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        assert swept(app)["reasons"] == {"failed: bad_answer": 1, "failed: rule_error": 1}
        traffic.add(1, first=1)
        with pytest.raises(Unavailable):
            app.discovery(away).since(app.clock.now() - timedelta(hours=1))
    judged = only(sandbox, "judge")
    assert (judged["error"], judged["attributes"]["error.type"]) == ("bad_answer", "bad_answer")
    ((event, told),) = only(sandbox, "rules")["events"]
    assert (event, told["evaluator.name"], told["error.type"]) == ("failed", "broken", "rule_error")
    assert told["langfuse.trace.id"] == f"{0:032x}"
    assert "what the trace holds" not in repr(sandbox.collector.spans)
    assert [span["error"] for span in collected(sandbox, "sweep")] == [None, "unavailable"]


def test_looks_and_deliveries_are_spans_too(sandbox: Sandbox, service: OpenService, config: Config) -> None:
    clock = WrongClock()
    with service(config(), clock=clock, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        scheduler = Scheduler(app, app.discovery(lambda _: None), lambda _: None)  # type: ignore[arg-type,return-value]
        scheduler.renew()
        scheduler.due()
        with app.state.monitor("tone") as record:
            record.outbox["m1"] = {"message": {"text": "fell"}, "chart": None, "at": clock.now().isoformat()}
        clock.wrong += timedelta(days=7)
        scheduler.renew()
        scheduler.due()
    assert {"look", "digest", "calibration", "deliver"} <= {span["name"] for span in collected(sandbox)}
    sent = collected(sandbox, "deliver")[0]["attributes"]
    assert (sent["evaluator.destination"], sent["evaluator.message"]) == ("Slack", "m1")


def test_workers_that_know_nothing_of_spans_take_such_messages_and_the_other_way_round(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    folder = config(rubrics={})
    with service(folder, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        queue = open_queue(app)
        app.discovery(queue.put).since(app.clock.now() - timedelta(hours=1))
        assert f'"{TRACEPARENT}":"00-' in queued(queue)
    with service(folder) as app:
        assert not app.spans.is_on
        assert swept(app)["evaluations"] == {"scored": 2}
    sandbox.collector.spans.clear()
    traffic.add(1, first=1)
    with service(folder) as app:
        queue = open_queue(app)
        app.discovery(queue.put).since(app.clock.now() - timedelta(hours=1))
        assert TRACEPARENT not in queued(queue)
        queue.broker.enqueue(
            queue.actors[Lane.LIVE].message_with_options(args=({"v": 1, "jobs": []},), traceparent="00-mangled")
        )
    with service(folder, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        swept(app)
    assert [span["links"] for span in collected(sandbox, "batch")] == [[], []]
