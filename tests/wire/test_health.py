"""Health, the pulse of processes, and the guard before what is served: over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from evaluator.app import App
from evaluator.errors import ConfigError
from evaluator.pulse import Process, Processes, beating, living
from evaluator.settings import Settings
from evaluator.status.health import NOBODY_LEADS, OK
from evaluator.status.server import listen, served_beside
from sandbox.server import Sandbox
from tests.serving import OpenService

TOKEN = "a-token-that-is-long-enough"


def free_port() -> int:
    with listen("127.0.0.1", 0) as found:
        return int(found.getsockname()[1])


class Page:
    """What a process serves."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def checks(self, path: str) -> tuple[int, dict[str, str]]:
        status, text, _ = self.get(path)
        return status, json.loads(text)["checks"]


@contextmanager
def served(service: OpenService, role: str = "run", **changes: Any) -> Iterator[tuple[App, Page]]:
    port = free_port()
    with (
        service(evaluator_status_port=port, **changes) as app,
        beating(app, role, 8) as pulse,
        served_beside(app, pulse) as address,
    ):
        assert address == f"http://127.0.0.1:{port}/"
        yield app, Page(port)


def test_a_process_is_alive_and_ready(service: OpenService) -> None:
    with served(service) as (app, page):
        app.state.lease("scheduler", "host:1", timedelta(seconds=30))
        assert page.checks("/healthz") == (200, {"process": OK})
        assert page.checks("/readyz") == (200, {"redis": OK, "langfuse": OK, "leader": OK})


def test_what_is_missing_is_told_and_the_process_still_lives(service: OpenService, sandbox: Sandbox) -> None:
    sandbox.langfuse.faults.change({"errors": 1.0})
    with served(service) as (_, page):
        status, checks = page.checks("/readyz")
        assert (status, checks["redis"], checks["leader"]) == (503, OK, NOBODY_LEADS)
        assert checks["langfuse"].startswith("Langfuse answered 5")
        assert page.checks("/healthz")[0] == 200


def test_a_worker_is_ready_without_a_leader(service: OpenService) -> None:
    with served(service, "worker") as (_, page):
        assert page.checks("/readyz") == (200, {"redis": OK, "langfuse": OK, "leader": NOBODY_LEADS})


def test_the_fleet_knows_who_lives(service: OpenService, valkey: Any) -> None:
    with service() as app:
        with beating(app, "worker", 8):
            for _ in range(200):
                if found := living(app):
                    break
                app.clock.sleep(0.02)
            (one,) = found
            assert (one.role, one.threads, one.name.split(":")[0]) == ("worker", 8, socket.gethostname())
        assert living(app) == []
        now = app.clock.now()
        Processes(valkey, "evaluator").beat(Process("x", "run", 1, "0", now, now - timedelta(seconds=45)))
        assert living(app) == []


def test_counts_are_added_at_the_end(service: OpenService) -> None:
    with service() as app:
        with beating(app, "sweep"):
            app.state.counters.count("seen")
        assert app.state.counters.read()["seen",] == 1


def test_with_a_token_everything_but_health_wants_it(service: OpenService) -> None:
    basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
    with served(service, evaluator_status_token=SecretStr(TOKEN)) as (_, page):
        assert page.get("/healthz")[0] == 200
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic %"}, {"Authorization": "Basic"}):
            status, _, headers = page.get("/nothing", **wrong)
            assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
        for right in (f"Bearer {TOKEN}", f"Basic {basic}"):
            assert page.get("/nothing", Authorization=right)[0] == 404


def test_without_a_token_only_names_of_this_machine_are_answered(service: OpenService) -> None:
    with served(service) as (_, page):
        assert page.get("/nothing", Host="evil.example")[0] == 421
        assert page.get("/nothing", Host="localhost:1234")[0] == 404
        status, _, headers = page.get("/nothing", Host="[::1]:1")
        assert status == 404
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"evaluator_status_host": "0.0.0.0"}, "openssl rand -hex 24"),
        ({"evaluator_status_host": "status.example.com"}, "served on status.example.com for others"),
        ({"evaluator_status_token": SecretStr("short")}, "less than 16 characters"),
    ],
)
def test_it_is_not_shown_to_others_without_a_token(service: OpenService, values: dict[str, Any], said: str) -> None:
    with (
        service(evaluator_status_port=free_port(), **values) as app,
        beating(app, "run") as pulse,
        pytest.raises(ConfigError, match=said),
        served_beside(app, pulse),
    ):
        pass


def test_a_port_that_was_asked_for_must_be_free(service: OpenService) -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        service(evaluator_status_port=taken.getsockname()[1]) as app,
        beating(app, "run") as pulse,
        pytest.raises(ConfigError, match="set another one"),
        served_beside(app, pulse),
    ):
        pass


def test_nothing_is_served_where_nobody_wants_it(service: OpenService) -> None:
    with service(evaluator_status_port=0) as app, beating(app, "run") as pulse, served_beside(app, pulse) as address:
        assert address is None


def test_the_token_is_a_secret() -> None:
    assert TOKEN in Settings(evaluator_status_token=SecretStr(TOKEN)).secrets()
