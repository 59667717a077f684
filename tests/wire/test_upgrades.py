"""Releases and definitions change while the service runs: nothing is lost, each score says what it was made with."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from evaluator.sampling.jobs import Job, Lane, from_message, to_message
from evaluator.sampling.sampler import Sampled
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.processes import Processes, eventually, running
from tests.serving import RUBRIC, Config, OpenService, Traffic, trace_id
from traces import TraceRef

NOT_AT_ALL = timedelta()


def newer(number: int) -> dict[str, Any]:
    """Return a message as a release to come may write it."""
    ended = datetime.now(UTC) - timedelta(minutes=2)
    ref = TraceRef(trace_id(number), f"root-{number}", "production", ended - timedelta(seconds=2), ended)
    return {**to_message([Job(ref, (Sampled("answered", 1.0, "0"),))]), "v": 99, "of_tomorrow": True}


def test_an_old_worker_leaves_a_newer_message_to_a_newer_one(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.worker._NEWER_DELAY", timedelta(milliseconds=200))
    traffic.add(1)
    with service() as app:
        queue = open_queue(app)
        queue.put_message(newer(0), NOT_AT_ALL, Lane.LIVE)
        with capture_logs() as lines, working(app, queue, 1):
            assert eventually(lambda: len(told(lines)) >= 2)
        assert "version 99" in told(lines)[0]["reason"]
        assert "update the worker" in told(lines)[0]["reason"]
        assert queue.size() == 1
        assert app.state.dead_letters() == []
        # The worker of the next release takes it.
        monkeypatch.setattr("evaluator.worker.from_message", lambda message: from_message({**message, "v": 1}))
        with working(app, queue, 1):
            assert eventually(lambda: queue.size() == 0)
    assert [score["name"] for score in sandbox.langfuse.all_scores()] == ["answered"]


def told(lines: Any) -> list[Any]:
    return [line for line in lines if line["event"] == "a message is left to a newer worker"]


@pytest.fixture
def processes(environment: dict[str, str], config: Config, tmp_path: Path) -> Iterator[Processes]:
    with running(environment, config(rules="[]"), tmp_path / "log") as started:
        yield started


def test_a_hangup_changes_the_definitions_between_batches_and_a_wrong_file_changes_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, processes: Processes, config: Config
) -> None:
    def hand_over(first: int) -> None:
        traffic.add(4, first=first)
        with service() as app:
            app.discovery(open_queue(app).put).since(datetime.now(UTC) - timedelta(hours=1))

    def versions(first: int) -> set[str]:
        mine = {trace_id(n) for n in range(first, first + 4)}
        scores = [s for s in sandbox.langfuse.all_scores() if s["traceId"] in mine]
        return {s["metadata"]["evaluator_version"] for s in scores} if len(scores) == 4 else set()

    sandbox.model.latency_seconds, sandbox.model.latency_spread = 2.0, 0.0
    hand_over(0)
    worker = processes.start("worker", "--threads", "1")
    assert eventually(lambda: sandbox.model.counts()["most_in_flight"] == 4), processes.log()
    folder = config(rules="[]", rubrics={"helpfulness": RUBRIC.replace("useless", "of no use")})
    worker.send_signal(signal.SIGHUP)
    assert eventually(lambda: bool(versions(0))), processes.log()
    assert eventually(lambda: processes.log().count("worker started") == 2), processes.log()
    sandbox.model.latency_seconds = 0.0
    hand_over(10)
    assert eventually(lambda: bool(versions(10))), processes.log()
    assert len(versions(0)) == len(versions(10)) == 1
    assert versions(0) != versions(10)

    (folder / "rules.yaml").write_text("- {name: answered, rule: not_emty}\n")
    worker.send_signal(signal.SIGHUP)
    assert eventually(lambda: "the old ones stay" in processes.log()), processes.log()
    assert "rules.yaml:1:20: rule: unknown kind 'not_emty'" in processes.log()
    (folder / "rules.yaml").write_text("[]")
    hand_over(20)
    assert eventually(lambda: versions(20) == versions(10)), processes.log()
    assert worker.poll() is None
    assert sandbox.langfuse.counts()["duplicates"] == 0
