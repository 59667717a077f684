"""Ten bugs of comparable products, as acceptance tests over the wire."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from evaluator.app import App
from evaluator.preview.check import check
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
    monkeypatch.setattr("evaluator.scoring.endings._FIRST_DELAY", timedelta(milliseconds=300))
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
        app.discovery(jobs.extend).since(now - HOUR)
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
        app.discovery(jobs.extend).since(datetime.now(UTC) - HOUR)
        trace = app.langfuse.fetch([job.ref for job in jobs])[trace_id(0)]
        rubric = next(e.rubric for e in app.definitions.evaluators if e.rubric is not None)
        question = rubric.question(trace)
    assert isinstance(question, Question)
    assert long in question.prompt.user
    for step in ("[SPAN answer-user-query", "[RETRIEVER search", "[GENERATION answer"):
        assert step in question.prompt.user


@pytest.fixture
def heard(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the model was asked: the body of every request that it answered."""
    bodies: list[dict[str, Any]] = []
    answer = sandbox.model._answer

    def listening(body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body)
        return answer(body)

    monkeypatch.setattr(sandbox.model, "_answer", listening)
    return bodies


def test_the_model_receives_a_long_answer_from_first_to_last_line(
    service: OpenService, traffic: Traffic, heard: list[dict[str, Any]]
) -> None:
    long = "\n".join(f"Line {number} of the answer." for number in range(600))
    traffic.add(1, output=long)
    with service() as app:
        swept(app)
    (body,) = heard
    assert any(long in message["content"] for message in body["messages"])


def test_a_run_that_does_not_fit_is_cut_in_plain_sight_and_never_scored_0(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, heard: list[dict[str, Any]]
) -> None:
    traffic.add(1, output="The beginning. " + "filler " * 400_000 + "The very end.")
    with service() as app:
        result = swept(app)
    states = result.as_json()["evaluations"]
    assert states["scored"] + states.get("failed", 0) == 3
    assert all(1 <= score["value"] <= 5 for score in verdicts(sandbox))
    assert heard
    for body in heard:
        said = json.dumps(body["messages"])
        assert "The beginning." in said
        assert "The very end." in said
        assert "characters left out" in said
        assert len(said) < 2_000_000


def test_an_answer_that_was_cut_gets_more_room_and_then_a_score(
    sandbox: Sandbox,
    service: OpenService,
    traffic: Traffic,
    heard: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoilt = sandbox.model._spoilt
    monkeypatch.setattr(
        sandbox.model,
        "_spoilt",
        # A reasoning model that spends the first budget before it says a word.
        lambda text: ("", "length") if len(heard) == 1 else spoilt(text),
    )
    traffic.add(1)
    with service() as app:
        result = swept(app)
    first, second = (body["max_completion_tokens"] for body in heard)
    assert second >= 2 * first
    assert result.as_json()["evaluations"] == {"sampled": 3, "scored": 3}
    assert result.used.calls == 2
    assert len(verdicts(sandbox)) == 1


def test_another_rule_and_another_rubric_leave_every_sample_as_it_was(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config, valkey: Any
) -> None:
    ids = set(traffic.add(150))
    half = RUBRIC.replace("rate: 1", "rate: 0.5")
    with service(config(rubrics={"helpfulness": half})) as app:
        swept(app)
    before = {score["traceId"] for score in verdicts(sandbox)}
    assert 40 < len(before) < 110
    valkey.flushall()
    sandbox.langfuse.reset()
    traffic.add(150)
    tone = half.replace("name: helpfulness", "name: aa-tone").replace("rate: 0.5", "rate: 0.6")
    rules = "[{name: aa-first, rule: length, max: 10, sample: [{rate: 0.6}]}, {name: answered, rule: not_empty}]"
    folder = config(rules=rules, rubrics={"helpfulness": half, "aa-tone": tone})
    with service(folder) as app:
        swept(app)
    scores = sandbox.langfuse.all_scores()
    after, of_tone = ({s["traceId"] for s in scores if s["name"] == name} for name in ("helpfulness", "aa-tone"))
    assert after == before
    # And who is judged twice: the smaller sample lies within the larger.
    assert before <= of_tone < ids


def test_missing_data_is_not_0_and_pages_nobody(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    now = datetime.now(UTC)
    sandbox.langfuse.load_scores(
        {
            "id": f"old-{number}",
            "traceId": trace_id(1000 + number),
            "name": "helpfulness",
            "value": 4 + number % 2,
            "dataType": "NUMERIC",
            "timestamp": (now - timedelta(days=7, hours=1 + number)).isoformat(),
        }
        for number in range(24 * 7 * 9)
    )
    sandbox.model.answers.malformed = 1.0
    traffic.add(40)
    with service(config(monitors="- {score: helpfulness, smallest_drop: 2%}")) as app:
        # The judge fails on everything: this week has no verdict at all.
        assert swept(app).as_json()["reasons"] == {"failed: bad_answer": 40}
        assert app.watch.look() == []
    assert sandbox.slack.messages == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"langfuse_secret_key": "sk-lf-other"}, "FAIL Langfuse: "),
        ({"openai_base_url": "http://127.0.0.1:9/v1"}, "FAIL model API: "),
        ({"langfuse_public_key": ""}, "FAIL LANGFUSE_PUBLIC_KEY: is not set"),
    ],
    ids=["keys", "model", "no key"],
)
def test_a_runtime_that_is_off_is_not_called_active(service: OpenService, broken: dict[str, Any], said: str) -> None:
    with service() as app:
        settings = app.settings
    changed = type(settings)(**{**settings.model_dump(), **broken})
    out = Console(record=True, width=200, file=io.StringIO())
    assert check(settings, out)
    assert not check(changed, out)
    assert said in out.export_text()
