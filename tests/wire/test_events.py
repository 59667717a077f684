"""Scores as OpenTelemetry events, at a collector that may misbehave: nothing else ever notices."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

from structlog.testing import capture_logs

from evaluator.service import sweep
from evaluator.settings import Settings
from sandbox.server import Sandbox
from tests.serving import SERVICE, Config, OpenService, Traffic

RUBRICS: Final = {
    "kind": """
name: kind
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Which kind is it?
score: {type: categorical, labels: [good, bad]}
""",
    "helpful": """
name: helpful
sample: [{rate: 1}]
inputs: {answer: $.root.output}
criteria: Does it help?
score: {type: numeric, min: 1, max: 5}
""",
}
RULES: Final = "[{name: answered, rule: not_empty}]"


def run(service: OpenService, folder: Any, **settings: Any) -> dict[str, Any]:
    with service(folder, **settings) as app:
        return sweep(app, timedelta(hours=1), drain=True, threads=2).as_json()


def test_every_score_is_an_event_at_the_span_that_was_judged(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    (trace_id,) = traffic.add(1, first=1, id="00000000000000ab")
    folder = config(rules=RULES, rubrics=RUBRICS)
    told = {"otel_exporter_otlp_endpoint": sandbox.collector_url, "otel_exporter_otlp_headers": "api-key=secret%3D1"}
    run(service, folder, **told)
    records = {record["attributes"].pop("gen_ai.evaluation.name"): record for record in sandbox.collector.records}
    scores = {score["name"]: score for score in sandbox.langfuse.all_scores()}
    assert set(records) == set(scores) == {"answered", "kind", "helpful"}
    for name, record in records.items():
        assert (record["event"], record["trace_id"], record["span_id"]) == (
            "gen_ai.evaluation.result",
            trace_id,
            "00000000000000ab",
        )
        assert record["resource"]["service.name"] == "evaluator"
        assert abs(record["time"] - time.time()) < 60
        assert record["attributes"].pop("evaluator.version") == scores[name]["metadata"]["evaluator_version"]
        assert record["attributes"].pop("langfuse.environment") == "production"
    assert records["answered"]["attributes"] == {
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "pass",
    }
    assert records["kind"]["attributes"] == {"gen_ai.evaluation.score.label": scores["kind"]["value"]}
    assert records["helpful"]["attributes"] == {"gen_ai.evaluation.score.value": scores["helpful"]["value"]}
    assert sandbox.collector.headers["api-key"] == "secret=1"


def test_reasons_are_sent_only_when_asked_for(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    asked = SERVICE.replace("trace: off", "trace: off, event_explanations: true")
    folder = config(rules="[]", rubrics={"helpful": RUBRICS["helpful"]}, service=asked)
    run(service, folder, otel_exporter_otlp_logs_endpoint=f"{sandbox.collector_url}/v1/logs")
    (record,) = sandbox.collector.records
    (score,) = sandbox.langfuse.all_scores()
    assert record["attributes"]["gen_ai.evaluation.explanation"] == score["comment"]


def test_a_collector_that_fails_harms_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(3)
    sandbox.collector.faults.change({"errors": 1.0})
    folder = config(rules=RULES, rubrics={})
    done = run(service, folder, otel_exporter_otlp_endpoint=sandbox.collector_url)
    assert done["evaluations"] == {"sampled": 3, "scored": 3}
    assert len(sandbox.langfuse.all_scores()) == 3
    assert sandbox.collector.counts() == {"records": 0, "spans": 0}


def test_whoever_does_not_answer_any_more_holds_the_end_for_some_seconds_all_together(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(3)
    sandbox.collector.faults.change({"hangs": 1.0})
    folder = config(rules=RULES, rubrics=RUBRICS, service=SERVICE.replace("trace: off", "trace: all"))
    with capture_logs() as lines, service(folder, otel_exporter_otlp_endpoint=sandbox.collector_url) as app:
        done = sweep(app, timedelta(hours=1), drain=True, threads=2).as_json()
        sandbox.langfuse.faults.change({"hangs": 1.0})
        began = time.monotonic()
    assert time.monotonic() - began < 8
    assert done["evaluations"] == {"sampled": 9, "scored": 9}
    assert sandbox.collector.counts() == {"records": 0, "spans": 0}
    unsent = {line["what"] for line in lines if line["event"] == "not all was sent before the end"}
    assert unsent == {"judge calls to Langfuse", "score events to the collector", "spans to the collector"}


def test_without_a_collector_nothing_is_sent(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    run(service, config(rules=RULES, rubrics={}))
    assert sandbox.collector.counts() == {"records": 0, "spans": 0}


def test_ids_of_another_kind_stand_in_an_attribute(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1, traceId="my own id")
    run(service, config(rules=RULES, rubrics={}), otel_exporter_otlp_endpoint=sandbox.collector_url)
    (record,) = sandbox.collector.records
    assert (record["trace_id"], record["attributes"]["langfuse.trace.id"]) == ("", "my own id")


def test_headers_are_secrets_and_need_a_name() -> None:
    settings = Settings(
        otel_exporter_otlp_endpoint="http://collector:4318/", otel_exporter_otlp_headers="a=b%20c, ,x,D = e"
    )
    assert settings.otlp_logs_endpoint == "http://collector:4318/v1/logs"
    assert settings.otlp_headers == {"a": "b c", "d": "e"}
    assert "b c" in settings.secrets()
