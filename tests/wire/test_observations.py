"""Scores of single observations over the wire: each its own, exactly once, and none stopped by another."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evaluator.app import App
from evaluator.service import Swept, sweep
from evaluator.state.counters import DECIDED
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.answering import Answering, refuses, scores
from tests.processes import Processes, eventually, running
from tests.serving import SERVICE, Config, OpenService, Traffic

RULES = """
- {name: answered, rule: not_empty}
- {name: tool-ok, rule: error_level, target: observation, observe: {type: tool}}
"""
RUBRIC = """
name: tool-choice
target: observation
observe: {type: TOOL, name: "find_*"%s}
sample: [{rate: 1}]
inputs: {question: $.root.input, arguments: $.observation.input, result: $.observation.output}
criteria: Was this the right tool, called with the right arguments? 1 is wrong, 5 is right.
score: {type: numeric, min: 1, max: 5}
"""
IN_FLIGHT = 16


@pytest.fixture
def agents(sandbox: Sandbox, traffic: Traffic) -> Any:
    """Load traces of an agent that calls `find_order` so many times, and `send` once; return the ids by trace."""

    def add(number: int, calls: int = 3) -> dict[str, list[str]]:
        ids = traffic.add(number)
        start = datetime.now(UTC) - timedelta(seconds=121)
        found: dict[str, list[str]] = {}
        for n, trace in enumerate(ids):
            found[trace] = [f"find-{n}-{call}" for call in range(calls)]
            rows = [(each, "find_order", place) for place, each in enumerate(found[trace])]
            for id_, name, place in [*rows, (f"send-{n}", "send", calls)]:
                began = start + timedelta(milliseconds=10 * place)
                row = {
                    "id": id_,
                    "traceId": trace,
                    "parentObservationId": f"root-{n}",
                    "type": "TOOL",
                    "name": name,
                    "startTime": began.isoformat(),
                    "endTime": (began + timedelta(milliseconds=5)).isoformat(),
                    "updatedAt": began.isoformat(),
                    "input": {"order": id_},
                    "output": f"{id_} is on its way",
                    "level": "ERROR" if name == "send" else "DEFAULT",
                }
                sandbox.langfuse.load_observations([row])
        return found

    return add


def swept(app: App, **options: Any) -> Swept:
    return sweep(app, timedelta(hours=1), drain=True, threads=8, **options)


def subjects(sandbox: Sandbox, name: str = "tool-choice") -> Counter[tuple[str, str]]:
    return Counter((s["traceId"], s["observationId"]) for s in sandbox.langfuse.all_scores() if s["name"] == name)


def each(found: dict[str, list[str]]) -> Counter[tuple[str, str]]:
    return Counter((trace, id_) for trace, ids in found.items() for id_ in ids)


def test_each_observation_that_is_meant_gets_a_score_of_its_own(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any
) -> None:
    found = agents(10)
    with service(config(rules=RULES, rubrics={"tool": RUBRIC % ""})) as app:
        result = swept(app)
    assert subjects(sandbox) == each(found)
    checked = subjects(sandbox, "tool-ok")
    assert checked == each(found) + Counter((trace, f"send-{n}") for n, trace in enumerate(found))
    assert subjects(sandbox, "answered") == Counter((trace, None) for trace in found)
    # The funnel counts pairs of trace and evaluator; each pair became three scores of the rubric, four of the rule.
    assert result.as_json()["evaluations"] == {"sampled": 30, "scored": 30}
    assert result.used.calls == 30
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_how_fast_a_judge_is_is_told_in_pairs_as_what_waits_is(
    service: OpenService, config: Config, agents: Any
) -> None:
    """What waits was divided by scores: a judge of ten observations a trace seemed ten times as fast."""
    agents(10)
    with service(config(rules=RULES, rubrics={"tool": RUBRIC % ""})) as app:
        swept(app)
        app.state.counters.flush()
        decided = {name[1]: number for name, number in app.state.counters.read().items() if name[0] == DECIDED}
    assert decided == {"tool-choice": pytest.approx(10)}


def test_a_score_says_what_it_is_about_and_when_that_ended(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any
) -> None:
    agents(1, calls=1)
    with service(config(rules=RULES, rubrics={"tool": RUBRIC % ""})) as app:
        swept(app)
    known = {(s["name"], s["observationId"]): s for s in sandbox.langfuse.all_scores()}
    judged = known["tool-choice", "find-0-0"]
    assert judged["subject"] == {"kind": "observation", "id": "find-0-0", "traceId": f"{0:032x}"}
    ago = datetime.now(UTC) - datetime.fromisoformat(judged["timestamp"])
    assert timedelta(seconds=120.5) < ago < known_age(known["answered", None]) + timedelta(seconds=5)
    assert judged["metadata"]["observation_name"] == "find_order"
    assert judged["metadata"]["segments"]["observation_name"] == "find_order"
    assert judged["metadata"]["segments"]["model"] == "gpt-5.4-mini"
    assert judged["metadata"]["session_id"] == "session-0"
    assert judged["metadata"]["inclusion_probability"] == 1
    assert "observations_matching" not in judged["metadata"]
    assert judged["environment"] == "production"
    assert (known["tool-ok", "find-0-0"]["value"], known["tool-ok", "send-0"]["value"]) == (True, False)


def known_age(score: dict[str, Any]) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(score["timestamp"])


def test_of_many_some_are_chosen_always_the_same_and_their_probability_says_so(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any, valkey: Any
) -> None:
    found = agents(5, calls=8)
    half = (RUBRIC % ", at_most: 2").replace("rate: 1", "rate: 0.5")
    with service(config(rules="[]", rubrics={"tool": half})) as app:
        swept(app)
        first = subjects(sandbox)
        valkey.flushall()
        swept(app)
    assert subjects(sandbox) == first
    assert first <= each(found)
    per_trace = Counter(trace for trace, _ in first)
    assert set(per_trace.values()) == {2}
    told = [s["metadata"] for s in sandbox.langfuse.all_scores()]
    assert {m["inclusion_probability"] for m in told} == {0.5 * 2 / 8}
    assert {(m["observations_matching"], m["observations_chosen"]) for m in told} == {(8, 2)}


def test_a_trace_without_such_an_observation_is_skipped_and_counted(
    sandbox: Sandbox, service: OpenService, config: Config, traffic: Traffic
) -> None:
    traffic.add(3)
    with service(config(rules=RULES, rubrics={"tool": RUBRIC % ""})) as app:
        result = swept(app)
    assert result.as_json()["reasons"] == {"skipped: no such observation": 6}
    assert result.used.calls == 0


async def _refuses_one(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    return await (refuses(400, "No.") if b"find-1-1" in body else scores(4))(request)


def test_an_observation_that_cannot_be_judged_stops_no_other_and_is_not_hidden(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any
) -> None:
    found = agents(3)
    folder = config(rules="[]", rubrics={"tool": RUBRIC % ""})
    with Answering() as model, service(folder, openai_base_url=model.url) as app:
        model.always = _refuses_one
        result = swept(app)
        letters = app.state.dead_letters()
    assert subjects(sandbox) == each(found) - Counter([(f"{1:032x}", "find-1-1")])
    assert result.as_json()["evaluations"] == {"sampled": 3, "scored": 2, "failed": 1}
    assert [letter.job.ref.id for letter in letters] == [f"{1:032x}"]
    assert letters[0].reason.endswith("(observation find-1-1)")


def test_when_a_model_fails_only_what_is_missing_is_asked_again(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.scoring.endings._FIRST_DELAY", timedelta(milliseconds=50))
    found = agents(6)
    failing = {"find-1-1", "find-4-0"}

    async def fails_once(request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        for id_ in [each for each in failing if each in body]:
            failing.discard(id_)
            return await refuses(503, "Later.")(request)
        return await scores(4)(request)

    folder = config(rules="[]", rubrics={"tool": RUBRIC % ""})
    with Answering() as model, service(folder, openai_base_url=model.url) as app:
        monkeypatch.setattr(app.model, "_attempts", 1)
        model.always = fails_once
        result = swept(app)
        asked = len(model.requests)
    assert subjects(sandbox) == each(found)
    assert asked == 18 + 2
    assert result.as_json()["evaluations"] == {"sampled": 6, "scored": 6}
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_observations_may_be_judged_in_batches(
    sandbox: Sandbox, service: OpenService, config: Config, agents: Any
) -> None:
    found = agents(4)
    lane = f"{SERVICE}batches: {{every: 10m}}\n"
    with service(config(rules="[]", service=lane, rubrics={"tool": RUBRIC % "" + "judge: {lane: batch}\n"})) as app:
        result = swept(app)
    assert subjects(sandbox) == each(found)
    assert result.as_json()["evaluations"] == {"sampled": 4, "scored": 4}
    counts = sandbox.model.counts()
    assert (counts["calls"], counts["batched"]) == (0, 12)


@pytest.fixture
def processes(environment: dict[str, str], config: Config, tmp_path: Path) -> Iterator[Processes]:
    limits = f"{SERVICE}limits: {{model_calls_in_flight: {IN_FLIGHT}}}\n"
    folder = config(rules=RULES, service=limits, rubrics={"tool": RUBRIC % ""})
    with running(environment, folder, tmp_path / "log") as started:
        yield started


def test_a_worker_killed_in_mid_batch_loses_and_doubles_no_observation(
    sandbox: Sandbox, service: OpenService, agents: Any, processes: Processes
) -> None:
    found = agents(40)
    with service() as app:
        app.discovery(open_queue(app).put).since(datetime.now(UTC) - timedelta(hours=1))
    sandbox.model.latency_seconds = 0.2
    victim = processes.start("worker", "--threads", "2")
    assert eventually(lambda: sandbox.model.counts()["calls"] >= 60), processes.log()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    sandbox.model.latency_seconds = 0.0
    processes.start("worker", "--threads", "2")
    assert eventually(lambda: len(subjects(sandbox)) == 120), processes.log()
    assert subjects(sandbox) == each(found)
    assert sandbox.langfuse.counts()["duplicates"] == 0
    # Observations already judged are not paid for again: at most what was in the air, and what had just landed.
    assert sandbox.model.counts()["calls"] - 120 <= 2 * IN_FLIGHT
