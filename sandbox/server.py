"""All stand-ins on real sockets, in one thread with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

from aiohttp import web

from sandbox.collector import CollectorStandIn
from sandbox.langfuse import LangfuseStandIn
from sandbox.model_api import ModelStandIn
from sandbox.receiver import ReceiverStandIn
from sandbox.slack import SlackStandIn

SLACK_HOOK: Final = "/services/T00000000/B00000000/sandbox"
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0


class StandIn(Protocol):
    """One service that is stood in for."""

    def app(self) -> web.Application:
        """Return the web application that serves it."""

    def counts(self) -> Mapping[str, Any]:
        """Return what arrived and what is stored, as JSON."""


class Sandbox:
    """Serves the stand-ins until stopped; use it as a context manager.

    Args:
        langfuse: The Langfuse stand-in; a fresh one when None. `model` and `slack` likewise.
        langfuse_port: Port to listen on; 0 takes a free one. `model_port` and `slack_port` likewise; those of
            collector and receiver are always free ones.
        host: Address to listen on.
    """

    def __init__(
        self,
        *,
        langfuse: LangfuseStandIn | None = None,
        model: ModelStandIn | None = None,
        slack: SlackStandIn | None = None,
        langfuse_port: int = 0,
        model_port: int = 0,
        slack_port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.langfuse = langfuse or LangfuseStandIn()
        self.model = model or ModelStandIn(seed=0)
        self.slack = slack or SlackStandIn()
        self.collector = CollectorStandIn()
        self.receiver = ReceiverStandIn()
        self.host = host
        self.public_key = self.langfuse.public_key
        self.secret_key = self.langfuse.secret_key
        self._wanted = (langfuse_port, model_port, slack_port, 0, 0)
        self._ports: list[int] = []
        self._runners: list[web.AppRunner] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def langfuse_url(self) -> str:
        """Base URL of Langfuse."""
        return self._url(0)

    @property
    def model_url(self) -> str:
        """Base URL of the model API, as OPENAI_BASE_URL takes it: it ends with /v1."""
        return self._url(1) + "/v1"

    @property
    def slack_url(self) -> str:
        """URL of a Slack incoming webhook."""
        return self._url(2) + SLACK_HOOK

    @property
    def slack_api_url(self) -> str:
        """Base URL of Slack's Web API; it ends with a slash, as the SDK wants it."""
        return self._url(2) + "/api/"

    @property
    def collector_url(self) -> str:
        """Address of the OpenTelemetry collector, as OTEL_EXPORTER_OTLP_ENDPOINT takes it."""
        return self._url(3)

    @property
    def receiver_url(self) -> str:
        """Address of a receiver of webhooks."""
        return self._url(4) + "/alerts"

    def document(self) -> dict[str, str]:
        """Return all URLs and keys as one JSON object."""
        return {
            "langfuse_url": self.langfuse_url,
            "model_url": self.model_url,
            "slack_url": self.slack_url,
            "slack_api_url": self.slack_api_url,
            "collector_url": self.collector_url,
            "receiver_url": self.receiver_url,
            "public_key": self.public_key,
            "secret_key": self.secret_key,
        }

    def start(self) -> Self:
        """Listen on all ports; return once every one accepts connections.

        Raises:
            OSError: A port is taken.
            RuntimeError: It was started already.
        """
        if self._loop is not None:
            raise RuntimeError("the sandbox was started already")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(_START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Close every connection and port, and end the thread. Requests in the air are cancelled."""
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(_STOP_SECONDS)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_STOP_SECONDS)
            loop.close()
            self._ports.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self, place: int) -> str:
        if not self._ports:
            raise RuntimeError("the sandbox is not running")
        return f"http://{self.host}:{self._ports[place]}"

    async def _serve(self) -> None:
        ports = []
        stand_ins: tuple[StandIn, ...] = (self.langfuse, self.model, self.slack, self.collector, self.receiver)
        for stand_in, port in zip(stand_ins, self._wanted, strict=True):
            runner = web.AppRunner(stand_in.app(), access_log=None, shutdown_timeout=0.1)
            self._runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, self.host, port).start()
            ports.append(runner.addresses[0][1])
        self._ports = ports

    async def _close(self) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        self._runners.clear()
        tasks = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
