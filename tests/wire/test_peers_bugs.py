"""Ten bugs of comparable products, as acceptance tests.

Two of them are proved elsewhere: samples that another evaluator reshuffles (unit/evaluator/test_sampling.py) and
missing data that counts as 0 (test_walk_two.py).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluator.app import App
from evaluator.service import Swept, sweep
from judges import Question
from sandbox.server import Sandbox
from tests.serving import RUBRIC, Config, OpenService, Traffic, trace_id

HOUR = timedelta(hours=1)


def swept(app: App) -> Swept:
    return sweep(app, HOUR, drain=True, threads=4)


def verdicts(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [score for score in sandbox.langfuse.all_scores() if score["name"] == "helpfulness"]


@pytest.mark.parametrize(
    ("spoilt", "kind"),
    [
        ("malformed", "bad_answer"),
        ("out_of_range", "bad_answer"),
        ("truncated", "answer_cut"),
        ("filtered", "content_filter"),
        ("empty", "no_answer"),
    ],
)
def test_a_failed_judge_is_never_a_number_and_never_silent(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, spoilt: str, kind: str
) -> None:
    setattr(sandbox.model.answers, spoilt, 1.0)
    traffic.add(4)
    with service() as app:
        result = swept(app)
        letters = app.state.dead_letters()
    assert verdicts(sandbox) == []
    assert result.as_json()["reasons"] == {f"failed: {kind}": 4}
    assert len(letters) == 4
    # One repair and no more: a hopeless question does not eat the budget.
    assert sandbox.model.counts()["calls"] == (4 if kind == "content_filter" else 8)


def test_a_retry_is_a_retry(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.pipeline._FIRST_DELAY", timedelta(milliseconds=300))
    traffic.add(3)
    # More failures than one round of attempts takes: the questions come back to the queue, and then succeed.
    sandbox.model.faults.change({"burst": 8, "error_statuses": [503]})
    with service() as app:
        monkeypatch.setattr(app.model, "_attempts", 2)
        monkeypatch.setattr(app.model, "_first_backoff", 0.01)
        result = swept(app)
    assert result.as_json()["evaluations"]["scored"] + result.as_json()["evaluations"].get("failed", 0) == 9
    assert len(verdicts(sandbox)) == 3


def test_one_run_has_one_score_however_often_its_spans_arrive(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    traffic.add(5)
    with service() as app:
        swept(app)
        traffic.add(5)
        swept(app)
    assert len(verdicts(sandbox)) == 5
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_an_agent_is_not_judged_before_it_has_ended(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    (only,) = traffic.add(1, ended_ago=2)
    now = datetime.now(UTC)
    running = {
        "id": "running",
        "traceId": only,
        "parentObservationId": "root-0",
        "type": "TOOL",
        "name": "slow",
        "startTime": (now - timedelta(seconds=3)).isoformat(),
    }
    sandbox.langfuse.load_observations([running])
    with service() as app:
        jobs: list[Any] = []
        app.discovery(lambda batch, _: jobs.extend(batch)).since(now - HOUR)
        (again,) = app.evaluation.evaluate(jobs)
        assert [job.ref.id for job in again.jobs] == [only]
        assert verdicts(sandbox) == []
        ended = running | {
            "endTime": datetime.now(UTC).isoformat(),
            "updatedAt": (now - timedelta(seconds=9)).isoformat(),
        }
        sandbox.langfuse.load_observations([ended])
        app.clock.sleep(1.2)
        assert app.evaluation.evaluate(again.jobs) == []
    assert len(verdicts(sandbox)) == 1


def test_a_service_that_does_nothing_shows_what_is_pending(service: OpenService, traffic: Traffic) -> None:
    traffic.add(6)
    with service() as app:
        result = sweep(app, HOUR, drain=False)
    assert result.as_json()["evaluations"] == {"sampled": 18}
    assert result.left == 1


def test_the_judge_sees_the_whole_output_and_every_step(service: OpenService, traffic: Traffic, config: Config) -> None:
    long = "\n".join(f"Line {number} of the answer." for number in range(600))
    traffic.add(1, output=long)
    with_steps = RUBRIC.replace("answer: $.root.output", "answer: $.root.output, steps: transcript")
    with service(config(rubrics={"helpfulness": with_steps})) as app:
        jobs: list[Any] = []
        app.discovery(lambda batch, _: jobs.extend(batch)).since(datetime.now(UTC) - HOUR)
        trace = app.langfuse.fetch([job.ref for job in jobs])[trace_id(0)]
        rubric = next(e.rubric for e in app.definitions.evaluators if e.rubric is not None)
        question = rubric.question(trace)
    assert isinstance(question, Question)
    assert long in question.prompt.user
    for step in ("[SPAN answer-user-query", "[RETRIEVER search", "[GENERATION answer"):
        assert step in question.prompt.user
