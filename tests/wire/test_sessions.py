"""Sessions over the wire: judged when idle, again only when they went on, one score each, whatever happens."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from evaluator.app import App
from evaluator.discovery.idle_sessions import SESSIONS_A_MESSAGE
from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job
from evaluator.service import Swept, sweep
from evaluator.status.overview import look
from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.answering import Answering
from tests.processes import Processes, eventually, running
from tests.serving import SERVICE, Config, OpenService, Traffic
from traces import SessionRef

RUBRIC = """
name: session-resolution
target: session
idle: 1m
sample: [{rate: 1}]
inputs: {conversation: transcript, last_answer: "$.traces[-1].root.output"}
criteria: Did the user get what they came for? 1 is not at all, 5 is entirely.
score: {type: numeric, min: 1, max: 5}
"""


@pytest.fixture
def folder(config: Config) -> Path:
    return config(rules="[]", rubrics={"resolved": RUBRIC})


@pytest.fixture
def talk(sandbox: Sandbox, traffic: Traffic) -> Any:
    """Add a trace to a session; traces are numbered as they come."""
    number = iter(range(10_000))

    def add(session: str, ended_ago: float, **fields: Any) -> str:
        first = next(number)
        (trace,) = traffic.add(1, first=first, ended_ago=ended_ago, sessionId=session, **fields)
        return trace

    return add


def swept(app: App, days: int = 1, **options: Any) -> Swept:
    return sweep(app, timedelta(days=days), drain=True, threads=4, **options)


def subjects(sandbox: Sandbox) -> Counter[str]:
    scores = sandbox.langfuse.all_scores()
    assert all(s["traceId"] is None and s["name"] == "session-resolution" for s in scores)
    return Counter(s["sessionId"] for s in scores)


def only(sandbox: Sandbox) -> dict[str, Any]:
    (score,) = sandbox.langfuse.all_scores()
    return score


def test_an_idle_session_gets_one_score_for_all_its_traces(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any
) -> None:
    for ago in (500, 400, 300):
        talk("monday", ago)
        talk("tuesday", ago)
    with Answering() as model, service(folder, openai_base_url=model.url) as app:
        result = swept(app)
    assert subjects(sandbox) == Counter({"monday": 1, "tuesday": 1})
    assert (result.found.traces, result.found.sessions, result.found.sampled) == (6, 2, 2)
    assert result.as_json()["evaluations"] == {"sampled": 2, "scored": 2}
    assert len(model.requests) == 2
    (asked,) = [text for text in map(str, model.requests) if "Order 4 can be returned" in text]
    told = [asked.index(f"How do I return order {n}?") for n in (0, 2, 4)]
    assert told == sorted(told)
    assert "order 1?" not in asked
    assert "[TRACE 3 of 3] answer-user-query" in asked


def test_a_score_says_what_it_is_about(sandbox: Sandbox, service: OpenService, folder: Path, talk: Any) -> None:
    talk("monday", 400, tags=["vip"])
    talk("monday", 300, tags=["web"], release="r2")
    with service(folder) as app:
        swept(app)
    score = only(sandbox)
    assert score["subject"] == {"kind": "session", "id": "monday"}
    assert score["environment"] == "production"
    age = datetime.now(UTC) - datetime.fromisoformat(score["timestamp"])
    assert timedelta(seconds=300) < age < timedelta(seconds=360)
    assert score["metadata"]["session_traces"] == 2
    assert score["metadata"]["session_id"] == "monday"
    assert score["metadata"]["segments"]["tags"] == "vip,web"
    assert score["metadata"]["segments"]["release"] == "r2"
    assert "older_traces_left_out" not in score["metadata"]


def test_a_session_is_judged_again_only_when_it_went_on_and_its_score_is_replaced(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any
) -> None:
    talk("monday", 400)
    with service(folder) as app:
        swept(app)
        first = only(sandbox)
        assert swept(app).found.sessions == 0
        assert sandbox.model.counts()["calls"] == 1
        talk("monday", 200)
        assert swept(app).found.sessions == 1
    again = only(sandbox)
    assert sandbox.model.counts()["calls"] == 2
    assert (again["id"], again["timestamp"]) == (first["id"], first["timestamp"])
    assert (first["metadata"]["session_traces"], again["metadata"]["session_traces"]) == (1, 2)


def test_a_session_that_goes_on_the_next_day_still_has_one_score(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any, valkey: redis.Redis
) -> None:
    talk("monday", 30 * 3600)
    with service(folder) as app:
        swept(app, days=3)
        first = only(sandbox)
        valkey.flushall()
        talk("monday", 300)
        swept(app, days=3)
    again = only(sandbox)
    assert again["timestamp"] == first["timestamp"]
    assert again["metadata"]["session_traces"] == 2
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_a_session_that_is_not_idle_waits(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any, valkey: redis.Redis
) -> None:
    talk("monday", 300)
    talk("monday", 20)
    talk("tuesday", 300)
    with service(folder) as app:
        swept(app)
        assert subjects(sandbox) == Counter({"tuesday": 1})
        assert look(app, open_queue(app), datetime.now(UTC)).as_json()["sessions_waiting"] == 1
        assert valkey.ttl("evaluator:sessions") > 0


def test_a_late_trace_of_a_judged_session_is_a_reason_to_judge_it_again(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any
) -> None:
    talk("monday", 300)
    with service(folder) as app:
        swept(app)
        talk("monday", 400)
        swept(app)
    assert only(sandbox)["metadata"]["session_traces"] == 2


def test_a_session_that_goes_on_while_it_waits_for_a_worker_is_judged_once_when_it_rests(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any
) -> None:
    talk("monday", 400)
    with service(folder) as app:
        assert sweep(app, timedelta(days=1), drain=False).found.sessions == 1
        talk("monday", 200)
        swept(app)
        funnel = app.state.funnel()
    assert funnel["session-resolution", "skipped", "the session went on"] == 1
    assert funnel["session-resolution", "scored", ""] == 1
    assert sandbox.model.counts()["calls"] == 1
    assert only(sandbox)["metadata"]["session_traces"] == 2


def test_a_session_is_taken_through_any_of_its_traces(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any
) -> None:
    when = "when: {level: ERROR}\nsample: [{rate: 0}, {when: {tags: vip}, rate: 1}]"
    folder = config(rules="[]", rubrics={"resolved": RUBRIC.replace("sample: [{rate: 1}]", when)})
    talk("taken", 500, level="ERROR", tags=["vip"])
    talk("taken", 400)
    talk("not the same trace", 500, level="ERROR")
    talk("not the same trace", 400, tags=["vip"])
    talk("filtered", 400)
    with service(folder) as app:
        swept(app)
        funnel = app.state.funnel()
    assert subjects(sandbox) == Counter({"taken": 1})
    assert funnel["session-resolution", "sampled_out", ""] == 1
    assert funnel["session-resolution", "filtered", ""] == 1


@pytest.mark.parametrize("subject", [{"sessionId": "sad"}, {"traceId": f"{1:032x}"}], ids=["session", "trace"])
def test_feedback_on_a_session_or_on_a_trace_of_it_takes_it(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any, subject: dict[str, str]
) -> None:
    when = "when: {score: {name: user-feedback, at_most: 0}}\nsample: [{rate: 1}]"
    folder = config(rules="[]", rubrics={"resolved": RUBRIC.replace("sample: [{rate: 1}]", when)})
    for session in ("glad", "sad", "glad"):
        talk(session, 400)
    now = datetime.now(UTC) - timedelta(seconds=100)
    feedback = {"name": "user-feedback", "value": 0, "timestamp": now.isoformat(), **subject}
    sandbox.langfuse.load_scores([feedback])
    with service(folder) as app:
        swept(app)
    judged = [s["sessionId"] for s in sandbox.langfuse.all_scores() if s["name"] == "session-resolution"]
    assert judged == ["sad"]


def test_sessions_are_sampled_by_their_own_hash_and_their_probability_is_told(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any
) -> None:
    folder = config(rules="[]", rubrics={"resolved": RUBRIC.replace("rate: 1", "rate: 0.3")})
    for n in range(60):
        talk(f"session-{n}", 400)
    with service(folder) as app:
        swept(app)
        taken = subjects(sandbox)
        for session in taken:
            talk(session, 200)
        assert swept(app).found.sampled == len(taken)
    assert 6 < len(taken) < 32
    assert subjects(sandbox) == taken
    assert {s["metadata"]["inclusion_probability"] for s in sandbox.langfuse.all_scores()} == {0.3}


def test_of_a_long_session_the_newest_traces_are_judged_and_that_is_told(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any
) -> None:
    folder = config(rules="[]", service=f"{SERVICE}sessions: {{most_traces: 3}}\n", rubrics={"resolved": RUBRIC})
    for n in range(6):
        talk("monday", 600 - 10 * n)
    with Answering() as model, service(folder, openai_base_url=model.url) as app:
        swept(app)
    (asked,) = map(str, model.requests)
    assert [f"order {n}?" in asked for n in range(6)] == [False, False, False, True, True, True]
    assert "[older traces of this session are left out]" in asked
    assert only(sandbox)["metadata"]["session_traces"] == 3
    assert only(sandbox)["metadata"]["older_traces_left_out"] is True


def test_environments_of_judges_belong_to_no_session(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any
) -> None:
    talk("monday", 400)
    talk("monday", 300, environment="llm-as-a-judge")
    talk("judges", 300, environment="llm-as-a-judge")
    with service(folder) as app:
        swept(app)
    assert subjects(sandbox) == Counter({"monday": 1})
    assert only(sandbox)["metadata"]["session_traces"] == 1


def test_a_wiped_redis_repeats_work_and_doubles_no_score(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any, valkey: redis.Redis
) -> None:
    for n in range(9):
        talk(f"session-{n % 3}", 400)
    with service(folder) as app:
        swept(app)
        before = sandbox.langfuse.all_scores()
        valkey.flushall()
        assert swept(app).found.sessions == 3
    after = sandbox.langfuse.all_scores()
    assert [(s["id"], s["timestamp"]) for s in after] == [(s["id"], s["timestamp"]) for s in before]
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_another_idle_time_judges_what_waited_for_the_old_one(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any
) -> None:
    talk("monday", 200)
    with service(config(rules="[]", rubrics={"resolved": RUBRIC.replace("1m", "150s")})) as app:
        assert sweep(app, timedelta(seconds=1), drain=False).found.sessions == 0
        app.sessions.touch({"monday": datetime.now(UTC) - timedelta(seconds=200)}, [timedelta(seconds=90)])
        swept(app)
        assert subjects(sandbox) == Counter({"monday": 1})
        assert app.sessions.number() == 0


def test_a_deleted_session_is_not_waited_for(sandbox: Sandbox, service: OpenService, config: Config, talk: Any) -> None:
    soon = SERVICE.replace("max_wait: 30s", "max_wait: 5m")
    folder = config(rules="[]", service=soon, rubrics={"resolved": RUBRIC})
    with service(folder) as app:
        app.sessions.touch({"young": datetime.now(UTC) - timedelta(seconds=200)}, [timedelta(minutes=1)])
        app.sessions.touch({"old": datetime.now(UTC) - timedelta(seconds=600)}, [timedelta(minutes=1)])
        talk("monday", 400)
        assert swept(app).found.sessions == 1
        # What was seen so lately may be hidden by an old copy of the rows: it is looked for again.
        assert [each.session_id for each in app.sessions.due(datetime.now(UTC), 10)] == ["young"]


def test_the_scheduler_takes_idle_sessions_at_the_end_of_each_look_and_a_crash_repeats_it(
    service: OpenService, folder: Path, talk: Any
) -> None:
    for n in range(12):
        talk(f"session-{n}", 120)
    talk("going on", 5)
    jobs: list[Job] = []

    def dies_behind_the_first(batch: Sequence[Job]) -> None:
        jobs.extend(batch)
        raise Unavailable("the scheduler died")

    with service(folder) as app:
        app.state.advance(datetime.now(UTC) - timedelta(minutes=5))
        with pytest.raises(Unavailable):
            app.discovery(dies_behind_the_first).catch_up()
        assert len(jobs) == SESSIONS_A_MESSAGE
        assert app.discovery(jobs.extend).catch_up().sessions == 12
        assert app.discovery(jobs.extend).catch_up().sessions == 0
        assert app.sessions.number() == 1
    assert {job.ref.session_id for job in jobs if isinstance(job.ref, SessionRef)} == {
        f"session-{n}" for n in range(12)
    }
    assert max(Counter(job.ref.id for job in jobs).values()) == 2


def test_a_long_session_does_not_hide_the_short_ones_beside_it(
    service: OpenService, folder: Path, talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.langfuse.scanning.ROOTS_A_PAGE", 3)
    expected: dict[str, list[str]] = {"short": [talk("short", 900), talk("short", 800)], "long": []}
    expected["long"] = [talk("long", 700 - n) for n in range(30)][-4:]
    expected["middle"] = [talk("middle", 690), talk("middle", 300)]
    since = datetime.now(UTC) - timedelta(hours=1)
    with service(folder) as app:
        found = app.langfuse.session_roots(dict.fromkeys([*expected, "nobody"], since), most=4)
        later = app.langfuse.session_roots({"short": datetime.now(UTC) - timedelta(seconds=850)}, most=4)
    assert {name: [root.ref.id for root in known.roots] for name, known in found.items()} == expected
    assert {name: known.more for name, known in found.items()} == {"short": False, "long": True, "middle": False}
    assert [root.ref.id for root in later["short"].roots] == expected["short"][1:]


@pytest.mark.parametrize("fault", [{"errors": 0.15}, {"lost_answers": 0.15}, {"resets": 0.1, "rate_limited": 0.1}])
def test_a_langfuse_that_misbehaves_loses_and_doubles_no_session(
    sandbox: Sandbox, service: OpenService, folder: Path, talk: Any, fault: dict[str, float]
) -> None:
    for n in range(40):
        talk(f"session-{n % 20}", 400)
    with service(folder) as app:
        app.langfuse.capabilities()
        sandbox.langfuse.faults.change({"retry_after": 0.2, **fault})
        swept(app)
    assert subjects(sandbox) == Counter(f"session-{n}" for n in range(20))
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_nothing_is_noted_of_sessions_while_no_rubric_looks_at_them(
    sandbox: Sandbox, service: OpenService, config: Config, talk: Any, valkey: redis.Redis
) -> None:
    talk("monday", 400)
    with service(config(rubrics={})) as app:
        swept(app)
    assert not valkey.exists("evaluator:sessions")


@pytest.fixture
def processes(environment: dict[str, str], config: Config, tmp_path: Path) -> Iterator[Processes]:
    limits = f"{SERVICE}limits: {{model_calls_in_flight: 8}}\n"
    folder = config(rules="[]", service=limits, rubrics={"resolved": RUBRIC})
    with running(environment, folder, tmp_path / "log") as started:
        yield started


def test_workers_killed_in_mid_batch_lose_and_double_no_session(
    sandbox: Sandbox, service: OpenService, talk: Any, processes: Processes
) -> None:
    for n in range(80):
        talk(f"session-{n % 40}", 400)
    with service() as app:
        app.discovery(open_queue(app).put).since(datetime.now(UTC) - timedelta(hours=1))
    sandbox.model.latency_seconds = 0.3
    victim = processes.start("worker", "--threads", "2")
    assert eventually(lambda: sandbox.model.counts()["calls"] >= 12), processes.log()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    sandbox.model.latency_seconds = 0.0
    processes.start("worker", "--threads", "2")
    assert eventually(lambda: len(subjects(sandbox)) == 40), processes.log()
    assert subjects(sandbox) == Counter(f"session-{n}" for n in range(40))
    assert sandbox.langfuse.counts()["duplicates"] == 0
    assert sandbox.model.counts()["calls"] - 40 <= 2 * 8
