"""Walk 1 over the wire: finished traces in, scores out, exactly once, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evaluator.app import App
from evaluator.discovery.sweep import Found
from evaluator.service import Swept, sweep
from sandbox.server import Sandbox
from tests.serving import Config, OpenService, Traffic, trace_id

NAMES = {"answered", "no-errors", "helpfulness"}


def swept(app: App, **options: Any) -> Swept:
    return sweep(app, timedelta(hours=1), drain=True, threads=8, **options)


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def assert_each_once(sandbox: Sandbox, ids: list[str], names: set[str] = NAMES) -> None:
    assert pairs(sandbox) == Counter({(i, name): 1 for i in ids for name in names})
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_every_trace_gets_each_score_once(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    ids = traffic.add(120)
    with service() as app:
        result = swept(app)
    assert result.found == Found(traces=120, enqueued=120, sampled=360)
    assert result.as_json()["evaluations"] == {"sampled": 360, "scored": 360}
    assert result.used.calls == sandbox.model.counts()["calls"] == 120
    assert result.left == 0
    assert_each_once(sandbox, ids)


def test_a_score_carries_what_a_monitor_needs(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    traffic.add(1)
    with service() as app:
        swept(app)
    score = next(s for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness")
    assert score["environment"] == "production"
    assert score["comment"]
    assert score["metadata"]["inclusion_probability"] == 1
    assert score["metadata"]["session_id"] == "session-0"
    assert score["metadata"]["segments"] == {
        "trace_name": "answer-user-query",
        "model": "gpt-5.4-mini",
        "prompt_version": "support:3",
        "environment": "production",
    }
    assert 1 <= score["value"] <= 5
    assert datetime.now(UTC) - datetime.fromisoformat(score["timestamp"]) > timedelta(seconds=100)


def test_sweeping_again_finds_nothing_and_changes_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    ids = traffic.add(30)
    with service() as app:
        swept(app)
        again = swept(app)
    assert again.found == Found()
    assert sandbox.model.counts()["calls"] == 30
    assert_each_once(sandbox, ids)


def test_a_wiped_redis_repeats_work_and_doubles_no_score(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: Any
) -> None:
    ids = traffic.add(30)
    with service() as app:
        swept(app)
        valkey.flushall()
        assert swept(app).found.traces == 30
    assert_each_once(sandbox, ids)


def test_only_a_sample_is_judged_and_the_probability_is_told(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    traffic.add(200)
    rubric = """
name: helpfulness
sample: [{rate: 0.25}, {when: {level: ERROR}, rate: 1}]
inputs: {answer: $.root.output}
criteria: Is it helpful?
score: {type: boolean}
"""
    with service(config(rubrics={"helpfulness": rubric})) as app:
        result = swept(app)
    states = result.as_json()["evaluations"]
    assert states["scored"] + states["sampled_out"] == 600
    judged = [s for s in sandbox.langfuse.all_scores() if s["name"] == "helpfulness"]
    # 200 traces at a quarter: mean 50, standard deviation 6.
    assert 25 < len(judged) < 75
    assert {s["metadata"]["inclusion_probability"] for s in judged} == {0.25}


def test_environments_of_judges_are_never_evaluated(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    for place, environment in enumerate(("llm-as-a-judge", "langfuse-experiment", "sdk-experiment", "code-eval")):
        traffic.add(1, first=place, environment=environment)
    ids = traffic.add(1, first=10)
    with service() as app:
        assert swept(app).found.traces == 1
    assert_each_once(sandbox, ids)


def test_duplicate_rows_and_late_rows_make_no_difference(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    sandbox.langfuse.behaviour.duplicates = 0.5
    ids = traffic.add(80)
    with service() as app:
        swept(app)
    assert_each_once(sandbox, ids)


def test_a_trace_that_is_still_open_waits_until_it_rests(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    (only,) = traffic.add(1, ended_ago=3)
    now = datetime.now(UTC)
    open_step = {
        "id": "still-running",
        "traceId": only,
        "parentObservationId": "root-0",
        "type": "TOOL",
        "name": "slow",
        "startTime": (now - timedelta(seconds=4)).isoformat(),
        "updatedAt": (now - timedelta(seconds=3)).isoformat(),
    }
    sandbox.langfuse.load_observations([open_step])
    with service() as app:
        first = sweep(app, timedelta(hours=1), drain=False)
        assert first.found.traces == 1
        closed = open_step | {"endTime": now.isoformat(), "output": "done", "updatedAt": now.isoformat()}
        sandbox.langfuse.load_observations([closed])
        swept(app)
    assert_each_once(sandbox, [only])


def test_a_trace_that_never_closes_is_evaluated_after_the_longest_wait(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    (only,) = traffic.add(1, ended_ago=60)
    sandbox.langfuse.load_observations(
        [
            {
                "id": "never-ends",
                "traceId": only,
                "parentObservationId": "root-0",
                "type": "TOOL",
                "name": "lost",
                "startTime": (datetime.now(UTC) - timedelta(seconds=61)).isoformat(),
            }
        ]
    )
    with service() as app:
        swept(app)
    assert_each_once(sandbox, [only])


@pytest.mark.parametrize(
    "fault",
    [
        {"errors": 0.15},
        {"resets": 0.15},
        {"lost_answers": 0.15},
        {"rate_limited": 0.15, "retry_after": 0.2},
        {"errors": 0.05, "resets": 0.05, "lost_answers": 0.05, "rate_limited": 0.05, "retry_after": 0.1},
    ],
    ids="+".join,
)
def test_a_langfuse_that_misbehaves_loses_and_doubles_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, fault: dict[str, float]
) -> None:
    ids = traffic.add(100)
    with service() as app:
        app.langfuse.capabilities()
        sandbox.langfuse.faults.change(fault)
        swept(app)
    assert_each_once(sandbox, ids)


def test_an_old_langfuse_takes_one_score_a_request(sandbox: Sandbox, service: OpenService, traffic: Traffic) -> None:
    sandbox.langfuse.behaviour.version = "4.20.0"
    ids = traffic.add(10)
    with service() as app:
        swept(app)
    assert_each_once(sandbox, ids)


def test_a_model_that_misbehaves_costs_retries_and_no_score(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    sandbox.model.faults.change({"errors": 0.1, "resets": 0.1, "rate_limited": 0.05, "retry_after": 0.1})
    ids = traffic.add(60)
    with service() as app:
        swept(app)
    assert_each_once(sandbox, ids)


def test_a_deleted_trace_is_gone_and_named(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.scoring.gathering.LOOKS", 2)
    monkeypatch.setattr("evaluator.scoring.endings._FIRST_DELAY", timedelta(milliseconds=100))
    traffic.add(3)
    with service() as app:
        sweep(app, timedelta(hours=1), drain=False)
        sandbox.langfuse.delete_traces([trace_id(0)])
        swept(app)
        funnel = app.state.funnel()
    assert funnel["helpfulness", "gone", "not visible in Langfuse"] == 1
    assert_each_once(sandbox, [trace_id(1), trace_id(2)])


def test_a_broken_rule_of_a_team_fails_alone_and_is_named(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, config: Config
) -> None:
    folder = config(
        rules="[{name: answered, rule: not_empty}, {name: broken, rule: explodes}]",
        service="rules_path: own\ndiscovery: {quiet_for: 1s}\n",
        rubrics={},
    )
    (folder / "own").mkdir()
    (folder / "own" / "explodes.py").write_text(
        "from rules.base import Rule\n"
        "class Explodes(Rule):\n"
        '    """Always raises."""\n'
        "    def check(self, trace):\n"
        "        raise RuntimeError(trace.root.output)\n"
    )
    ids = traffic.add(5)
    with service(folder) as app:
        result = swept(app)
        letters = app.state.dead_letters()
    assert result.as_json()["reasons"] == {"failed: rule_error": 5}
    assert [letter.reason for letter in letters] == ["rule_error: RuntimeError in broken"] * 5
    assert_each_once(sandbox, ids, {"answered"})


def test_the_first_catch_up_starts_at_now_and_the_next_takes_what_came_since(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    traffic.add(5, ended_ago=600)
    jobs: list[Any] = []
    with service() as app:
        discovery = app.discovery(jobs.extend)
        assert discovery.catch_up() == Found()
        traffic.add(4, first=100, ended_ago=2)
        assert discovery.catch_up().traces == 4
        assert discovery.catch_up().traces == 0
    assert {job.ref.id for job in jobs} == {trace_id(n) for n in range(100, 104)}


def test_a_sweep_cut_off_leaves_the_watermark_where_it_was(
    sandbox: Sandbox, service: OpenService, traffic: Traffic
) -> None:
    with service() as app:
        start = datetime.now(UTC) - timedelta(minutes=30)
        app.state.advance(start)
        traffic.add(4, ended_ago=600)

        def fail(batch: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            app.discovery(fail).catch_up()
        assert app.state.watermark() == start
        jobs: list[Any] = []
        assert app.discovery(jobs.extend).catch_up().traces == 4
