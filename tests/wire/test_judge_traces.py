"""Judge calls seen in Langfuse over real OTLP, each with what was said, and never judged themselves."""

from __future__ import annotations

import json
import urllib.request
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from evaluator.service import sweep
from sandbox.server import Sandbox
from tests.serving import RUBRIC, SERVICE, Config, OpenService, Traffic


def observations(sandbox: Sandbox, environment: str) -> list[dict[str, Any]]:
    key = b64encode(f"pk:{sandbox.secret_key}".encode()).decode()
    fields = "core,basic,io,model,usage,metadata"
    url = f"{sandbox.langfuse_url}/api/public/v2/observations?environment={environment}&fields={fields}&limit=1000"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Basic {key}"})) as answer:
        rows: list[dict[str, Any]] = json.load(answer)["data"]
    return rows


def scores(sandbox: Sandbox, *names: str) -> list[dict[str, Any]]:
    return [score for score in sandbox.langfuse.all_scores() if score["name"] in names]


def test_a_call_of_a_group_is_one_trace_that_all_its_scores_name(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(2)
    rubric = RUBRIC + "judge: {group: quality}\n"
    rubrics = {"helpfulness": rubric, "other": rubric.replace("helpfulness", "other")}
    with service(config(service=service_file("all"), rubrics=rubrics)) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    judged = observations(sandbox, "llm-as-a-judge")
    assert len(judged) == 2
    assert {row["metadata"]["evaluator"] for row in judged} <= {"helpfulness, other", "other, helpfulness"}
    assert all("reasoning" in row["output"] and "other" in row["output"] for row in judged)
    found = scores(sandbox, "helpfulness", "other")
    assert len(found) == 4
    assert {(s["traceId"], s["metadata"]["judge_trace_id"]) for s in found} == {
        (row["metadata"]["judged_trace_id"], row["traceId"]) for row in judged
    }


def service_file(which: str) -> str:
    return SERVICE.replace("trace: off", f"trace: {which}")


def test_every_call_is_a_trace_of_its_own_that_nobody_judges(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    ids = traffic.add(5)
    sandbox.model.cached_from = 100
    folder = config(service=service_file("all"))
    with service(folder) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    judged = observations(sandbox, "llm-as-a-judge")
    assert sorted(row["metadata"]["judged_trace_id"] for row in judged) == ids
    assert {row["type"] for row in judged} == {"GENERATION"}
    assert {row["name"] for row in judged} == {"judge helpfulness"}
    assert sum("input_cached_tokens" in row["usageDetails"] for row in judged) == 4
    assert all(row["model"] == "gpt-5.4-mini" and row["usageDetails"]["input"] > 0 for row in judged)
    of_scores = {s["metadata"]["judge_trace_id"]: s["traceId"] for s in scores(sandbox, "helpfulness")}
    assert of_scores == {row["traceId"]: row["metadata"]["judged_trace_id"] for row in judged}
    assert all(row["metadata"]["judged_trace_url"].endswith(row["metadata"]["judged_trace_id"]) for row in judged)
    assert all(row["totalCost"] >= 0 and row["usageDetails"]["output"] > 0 for row in judged)
    assert all("score" in row["output"] and "How do I return" in row["input"] for row in judged)
    with service(folder) as app:
        assert sweep(app, timedelta(hours=1), drain=True, threads=2).found.traces == 0


def test_where_the_environment_forbids_all_tracing_no_score_names_a_trace_that_is_not_there(
    sandbox: Sandbox,
    service: OpenService,
    traffic: Traffic,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traffic.add(2)
    with capture_logs() as lines, service(config(rules="[]", service=service_file("all"))) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    found = scores(sandbox, "helpfulness")
    assert len(found) == 2
    assert not any("judge_trace_id" in score["metadata"] for score in found)
    assert sum("judge calls are not seen in Langfuse" in line["event"] for line in lines) == 1


def test_a_question_for_which_there_is_no_room_is_told_and_its_score_names_no_trace(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.scoring.judge_queue.MOST_BYTES", 1)
    traffic.add(12)
    with capture_logs() as lines, service(config(rules="[]", service=service_file("all"))) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    written = {row["traceId"] for row in observations(sandbox, "llm-as-a-judge")}
    named = {
        s["metadata"]["judge_trace_id"] for s in scores(sandbox, "helpfulness") if "judge_trace_id" in s["metadata"]
    }
    assert named == written
    assert 0 < len(written) < 12
    (told,) = (line for line in lines if line["event"].startswith("judge calls are not shown"))
    assert (told["dropped"], told["waiting"]) == (1, 1)


@pytest.mark.parametrize(("malformed", "expected"), [(1.0, 3), (0.0, 0)])
def test_by_default_only_failed_calls_are_traced(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, malformed: float, expected: int
) -> None:
    sandbox.model.answers.malformed = malformed
    traffic.add(3)
    with service(config(service=service_file("failures"))) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    written = observations(sandbox, "llm-as-a-judge")
    failed = [row for row in written if row["parentObservationId"] is None]
    assert not any("judge_trace_id" in score["metadata"] for score in scores(sandbox, "helpfulness"))
    assert len(failed) == expected
    assert all(row["level"] == "ERROR" and row["statusMessage"].startswith("bad_answer") for row in failed)
    assert len(written) == 3 * expected  # each asked twice


def test_each_call_of_a_jury_is_a_generation_with_its_words_below_the_question(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    sandbox.model.answers.malformed = 1.0
    jury = {"helpfulness": RUBRIC + "judge: {model: gpt-5.4-mini, jury: [gpt-5.4]}\n"}
    prices = "models: {prices: {gpt-5.4-mini: {input: 1, output: 2}, gpt-5.4: {input: 3, output: 4}}}\n"
    with service(config(service=service_file("failures") + prices, rubrics=jury)) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    rows = observations(sandbox, "llm-as-a-judge")
    (whole,) = (row for row in rows if row["parentObservationId"] is None)
    calls = [row for row in rows if row["parentObservationId"] is not None]
    assert (whole["type"], whole["name"], whole["level"]) == ("EVALUATOR", "judge helpfulness", "ERROR")
    assert not whole["usageDetails"]  # Langfuse adds up what each call cost
    assert {(row["parentObservationId"], row["traceId"]) for row in calls} == {(whole["id"], whole["traceId"])}
    assert {row["type"] for row in calls} == {"GENERATION"}
    assert sorted(row["name"] for row in calls) == [
        "gpt-5.4, opinion 2",
        "gpt-5.4, opinion 2, repair",
        "gpt-5.4-mini, opinion 1",
        "gpt-5.4-mini, opinion 1, repair",
    ]
    told = {row["name"]: row for row in calls}
    for row in calls:
        assert row["output"]
        assert row["usageDetails"]["input"] > 0
        assert row["totalCost"] > 0
        assert row["level"] == "WARNING"
        assert whole["startTime"] <= row["startTime"] <= row["endTime"] <= whole["endTime"]
    assert "asked for once more" in told["gpt-5.4, opinion 2"]["statusMessage"]
    assert told["gpt-5.4, opinion 2, repair"]["statusMessage"].startswith("bad_answer: ")
    assert "could not be used" in told["gpt-5.4, opinion 2, repair"]["input"]
    assert told["gpt-5.4, opinion 2, repair"]["metadata"] == {
        "opinion": 2,
        "attempt": 1,
        "repair": True,
        "finish_reason": "stop",
    }


def test_a_juror_whose_answer_is_of_no_use_is_seen_though_the_others_judged(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    jury = {"helpfulness": RUBRIC + "judge: {model: gpt-5.4-mini, jury: [gpt-5.4, third]}\n"}
    answer, finishes = sandbox.model._spoilt, iter(["", "content_filter", ""])

    def spoilt(text: str) -> tuple[str, str]:
        finish = next(finishes)
        return ("", finish) if finish else answer(text)

    sandbox.model._spoilt = spoilt  # type: ignore[method-assign]
    with service(config(service=service_file("failures"), rubrics=jury)) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    rows = observations(sandbox, "llm-as-a-judge")
    (whole,) = (row for row in rows if row["parentObservationId"] is None)
    assert (whole["level"], len(rows)) == ("DEFAULT", 4)
    assert sorted(row["level"] for row in rows) == ["DEFAULT", "DEFAULT", "DEFAULT", "WARNING"]
    (score,) = scores(sandbox, "helpfulness")
    assert score["metadata"]["judge_trace_id"] == whole["traceId"]
    assert sum("failed" in opinion for opinion in score["metadata"]["opinions"]) == 1


def test_what_the_provider_withheld_in_a_batch_is_told_as_a_call_is(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    (trace_id,) = traffic.add(1)
    sandbox.model.answers.filtered = 1.0
    rubrics = {"helpfulness": RUBRIC + "judge: {lane: batch}\n"}
    with service(config(service=service_file("failures"), rubrics=rubrics)) as app:
        sweep(app, timedelta(hours=1), drain=True, threads=2)
    (row,) = observations(sandbox, "llm-as-a-judge")
    assert (row["type"], row["level"], row["metadata"]["judged_trace_id"]) == ("GENERATION", "ERROR", trace_id)
    assert row["statusMessage"].startswith("content_filter")
    assert row["usageDetails"]["input"] > 0


def test_a_reply_of_a_batch_that_could_not_be_read_is_seen_word_for_word_beside_its_repair(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(1)
    answer, spoilt = sandbox.model._spoilt, iter([True, False])
    sandbox.model._spoilt = lambda text: ("About four.", "stop") if next(spoilt) else answer(text)  # type: ignore[method-assign]
    rubrics = {"helpfulness": RUBRIC + "judge: {lane: batch}\n"}
    with service(config(service=service_file("all"), rules="[]", rubrics=rubrics)) as app:
        done = sweep(app, timedelta(hours=1), drain=True, threads=2)
    rows = observations(sandbox, "llm-as-a-judge")
    (whole,) = (row for row in rows if row["parentObservationId"] is None)
    first, repair = sorted((row for row in rows if row["parentObservationId"]), key=lambda row: str(row["startTime"]))
    assert (whole["type"], first["parentObservationId"]) == ("EVALUATOR", whole["id"])
    assert (first["name"], first["level"], first["output"]) == ("gpt-5.4-mini", "WARNING", "About four.")
    assert "asked for once more" in first["statusMessage"]
    assert (repair["name"], repair["level"]) == ("gpt-5.4-mini, repair", "DEFAULT")
    assert "could not be used" not in whole["input"]
    assert first["usageDetails"]["input"] > 0
    (score,) = scores(sandbox, "helpfulness")
    assert score["metadata"]["judge_trace_id"] == whole["traceId"]
    assert (done.used.calls, done.used.input_tokens) == (
        2,
        sum(row["usageDetails"]["input"] for row in (first, repair)),
    )


def test_reading_the_definitions_again_does_not_end_the_traces(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    for first in (0, 1):
        traffic.add(1, first=first)
        with service(config(service=service_file("all"))) as app:
            sweep(app, timedelta(hours=1), drain=True, threads=2)
    assert len(observations(sandbox, "llm-as-a-judge")) == 2
