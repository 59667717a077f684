from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from typing import Any

import pytest
from aiohttp import web

from sandbox.langfuse import Behaviour, LangfuseStandIn
from sandbox.server import Sandbox


class Echo:
    """A stand-in that answers its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def app(self) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(text=self.name)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        return app

    def counts(self) -> dict[str, int]:
        return {}


def sandbox(**options: Any) -> Sandbox:
    return Sandbox(**{"model": Echo("model"), "slack": Echo("slack")} | options)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def threads() -> set[threading.Thread]:
    """Return the threads of sandboxes; one of another test may run in this process all the time."""
    return {thread for thread in threading.enumerate() if thread.name == "sandbox"}


def test_every_stand_in_listens_on_a_port_of_its_own() -> None:
    with sandbox() as running:
        assert json.loads(fetch(running.langfuse_url + "/api/public/health"))["status"] == "OK"
        assert fetch(running.model_url + "/models") == "model"
        assert fetch(running.slack_url) == "slack"
        assert fetch(running.slack_api_url + "chat.postMessage") == "slack"
        ports = {url.split(":")[2].split("/")[0] for url in running.document().values() if url.startswith("http")}
        assert len(ports) == 5


def test_urls_have_the_form_their_clients_want() -> None:
    with sandbox() as running:
        document = running.document()
    assert document["model_url"].endswith("/v1")
    assert document["slack_api_url"].endswith("/api/")
    assert "/services/" in document["slack_url"]
    assert (document["public_key"], document["secret_key"]) == ("pk-lf-sandbox", "sk-lf-sandbox")


def test_stopping_ends_the_thread_and_closes_the_ports() -> None:
    before = threads()
    running = sandbox().start()
    port = int(running.langfuse_url.rsplit(":", 1)[1])
    running.stop()
    assert threads() <= before
    with socket.socket() as probe, pytest.raises(ConnectionError):
        probe.connect(("127.0.0.1", port))
    running.stop()


def test_it_can_be_started_again_and_keeps_what_it_holds() -> None:
    langfuse = LangfuseStandIn()
    row = {"id": "o", "traceId": "t", "startTime": "2026-11-23T09:00:00Z"}
    running = sandbox(langfuse=langfuse)
    with running:
        running.langfuse.load_observations([row])
    with running:
        assert json.loads(fetch(running.langfuse_url + "/_sandbox/counts"))["observations"] == 1


def test_two_may_run_side_by_side() -> None:
    with sandbox() as one, sandbox() as other:
        assert one.langfuse_url != other.langfuse_url


def test_misuse_is_told() -> None:
    running = sandbox()
    with pytest.raises(RuntimeError, match="not running"):
        _ = running.langfuse_url
    with running, pytest.raises(RuntimeError, match="already"):
        running.start()


def test_a_taken_port_is_an_error_and_nothing_stays_behind() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        before = threads()
        taken = sandbox(slack_port=holder.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            taken.start()
    assert threads() <= before


def test_a_given_port_is_used() -> None:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port = finder.getsockname()[1]
    with sandbox(langfuse_port=port) as running:
        assert running.langfuse_url == f"http://127.0.0.1:{port}"


def test_a_langfuse_of_ones_own_is_served() -> None:
    langfuse = LangfuseStandIn(Behaviour(version="4.16.0"), secret_key="sk-other")
    with sandbox(langfuse=langfuse) as running:
        assert json.loads(fetch(running.langfuse_url + "/api/public/health"))["version"] == "4.16.0"
        assert running.secret_key == "sk-other"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_where_it_listens_and_ends_on_a_signal(number: signal.Signals) -> None:
    pytest.importorskip("sandbox.model_api")
    command = [sys.executable, "-m", "sandbox", "--langfuse-version", "4.20.0", "--requests-per-minute", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        assert json.loads(fetch(urls["langfuse_url"] + "/api/public/health"))["version"] == "4.20.0"
        os.kill(process.pid, number)
        assert process.wait(10) == 0
