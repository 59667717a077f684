"""Real processes and real signals: killed, stopped and doubled, nothing is lost and nothing is scored twice."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from evaluator.worker import open_queue
from sandbox.server import Sandbox
from tests.processes import Processes, eventually, running
from tests.serving import SERVICE, Config, OpenService, Traffic, everything

NAMES = {"answered", "no-errors", "helpfulness"}
IN_FLIGHT = 16


@pytest.fixture
def processes(environment: dict[str, str], config: Config, tmp_path: Path) -> Iterator[Processes]:
    folder = config(service=f"{SERVICE}limits: {{model_calls_in_flight: {IN_FLIGHT}}}\n")
    with running(environment, folder, tmp_path / "log") as started:
        yield started


def pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def each_once(ids: list[str]) -> Counter[tuple[str, str]]:
    return Counter({(i, name): 1 for i in ids for name in NAMES})


def hand_over(service: OpenService) -> None:
    """Find everything and enqueue it, evaluating nothing."""
    with service() as app:
        app.discovery(open_queue(app).put).since(datetime.now(UTC) - timedelta(hours=1))


def test_a_worker_killed_in_mid_batch_loses_and_doubles_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, processes: Processes
) -> None:
    ids = traffic.add(150)
    hand_over(service)
    sandbox.model.latency_seconds = 0.2
    victim = processes.start("worker", "--threads", "4")
    assert eventually(lambda: sandbox.model.counts()["calls"] >= 80), processes.log()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    paid = sandbox.model.counts()["calls"]
    assert len(pairs(sandbox)) < len(each_once(ids))
    sandbox.model.latency_seconds = 0.0
    processes.start("worker", "--threads", "4")
    assert eventually(lambda: len(pairs(sandbox)) == len(each_once(ids))), processes.log()
    assert pairs(sandbox) == each_once(ids)
    assert sandbox.langfuse.counts()["duplicates"] == 0
    # Remembered outcomes are not paid for again: at most what was in the air, and what had just landed.
    assert sandbox.model.counts()["calls"] - len(ids) <= 2 * IN_FLIGHT < paid


def test_a_scheduler_killed_in_mid_sweep_loses_and_doubles_nothing(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, processes: Processes
) -> None:
    with service() as app:
        app.state.advance(datetime.now(UTC) - timedelta(minutes=10))
    ids = traffic.add(300, ended_ago=60)
    # Each page takes long enough to be killed between two of them.
    sandbox.langfuse.faults.latency = 0.2
    victim = processes.start("scheduler")
    assert eventually(lambda: _requests(sandbox) >= 1), processes.log()
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    sandbox.langfuse.faults.latency = 0.0
    with service() as app:
        app.state.release("scheduler", _owner(app.state, processes))
    processes.start("run", "--threads", "8")
    assert eventually(lambda: len(pairs(sandbox)) == len(each_once(ids)), 90), processes.log()
    assert pairs(sandbox) == each_once(ids)
    assert sandbox.langfuse.counts()["duplicates"] == 0


def test_a_worker_told_to_stop_finishes_paid_calls_and_hands_the_rest_back(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, processes: Processes
) -> None:
    ids = traffic.add(200)
    hand_over(service)
    sandbox.model.latency_seconds = 0.3
    worker = processes.start("worker", "--threads", "4")
    assert eventually(lambda: sandbox.model.counts()["calls"] >= 20), processes.log()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0, processes.log()
    sandbox.model.latency_seconds = 0.0
    judged = sum(name == "helpfulness" for _, name in pairs(sandbox))
    # Every paid call became a score before the process ended.
    assert judged == sandbox.model.counts()["calls"] < len(ids)
    processes.start("worker", "--threads", "4")
    assert eventually(lambda: len(pairs(sandbox)) == len(each_once(ids))), processes.log()
    assert sandbox.model.counts()["calls"] == len(ids)
    assert pairs(sandbox) == each_once(ids)


def test_two_of_everything_score_once(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, processes: Processes
) -> None:
    with service() as app:
        app.state.advance(datetime.now(UTC) - timedelta(minutes=10))
    ids = traffic.add(120, ended_ago=30)
    for _ in range(2):
        processes.start("scheduler")
        processes.start("worker", "--threads", "4")
    assert eventually(lambda: len(pairs(sandbox)) == len(each_once(ids))), processes.log()
    assert pairs(sandbox) == each_once(ids)
    assert sandbox.model.counts()["calls"] == len(ids)
    for process in processes.running:
        process.send_signal(signal.SIGTERM)
    # One that is still starting has nothing in hand yet, and ends by the signal itself.
    assert {process.wait(20) for process in processes.running} <= {0, -signal.SIGTERM}, processes.log()


def test_secrets_and_content_never_reach_the_logs_or_redis(
    sandbox: Sandbox,
    service: OpenService,
    traffic: Traffic,
    processes: Processes,
    valkey: redis.Redis,
) -> None:
    ids = traffic.add(20, output="planted-content-7f3a")
    sandbox.langfuse.faults.change({"errors": 0.2, "resets": 0.1})
    sandbox.model.faults.change({"errors": 0.2})
    hand_over(service)
    assert "planted-content" not in str(everything(valkey))
    processes.start("worker", "--threads", "4")
    assert eventually(lambda: len(pairs(sandbox)) == len(each_once(ids))), processes.log()
    for planted in ("planted-content", sandbox.secret_key, "sk-sandbox"):
        assert planted not in processes.log()
        assert planted not in str(everything(valkey))


def _requests(sandbox: Sandbox) -> int:
    reads = sandbox.langfuse.counts()["requests"]
    return sum(sum(by_status.values()) for route, by_status in reads.items() if "observations" in route)


def _owner(state: object, processes: Processes) -> str:
    del state
    return next(line.split('"owner": "')[1].split('"')[0] for line in processes.log().splitlines() if '"owner"' in line)
