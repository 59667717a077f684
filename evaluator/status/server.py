"""Serves health, metrics and the status page from inside a process, on a thread of its own. Nothing can be changed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from evaluator.app import App
from evaluator.errors import ConfigError, EvaluatorError, Gone, Problem
from evaluator.pulse import Pulse
from evaluator.settings import Settings
from evaluator.status import page
from evaluator.status.guard import Guard, check_exposure
from evaluator.status.health import Health, alive, ready
from evaluator.status.lookout import WEEKS, Lookout
from evaluator.status.metrics import exposition

_STOP_SECONDS: Final = 5.0
_LONGEST_ID: Final = 500
_FOLDER: Final = Path(__file__).parent / "pages"
_FILES: Final = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}

_log = structlog.get_logger(__name__)


def application(app: App, pulse: Pulse, token: str = "") -> ASGIApp:
    """Return everything that is served, behind its guard."""
    site = _Site(app, Lookout(app))
    routes = [
        Route("/healthz", _health(partial(alive, pulse))),
        Route("/readyz", _health(partial(ready, app, schedules=pulse.process.role != "worker"))),
        Route("/metrics", site.metrics),
        Route("/", site.overview),
        Route("/evaluators", site.evaluators),
        Route("/trace", site.trace),
        Route("/scores", site.scores),
        Route("/alerts", site.alerts),
        Route("/dead", site.dead_letters),
        *(Route(f"/{name}", partial(_file, name, kind)) for name, kind in _FILES.items()),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={EvaluatorError: site.unavailable}), token)


class _Site:
    """The pages and the metrics; each is looked at anew, within the limits of the lookout."""

    def __init__(self, app: App, lookout: Lookout) -> None:
        self._app = app
        self._lookout = lookout

    def metrics(self, _: Request) -> Response:
        return Response(exposition(self._lookout.seen()), media_type=CONTENT_TYPE_LATEST)

    def overview(self, _: Request) -> Response:
        seen = self._lookout.seen()
        return HTMLResponse(page.overview(self._lookout.frame, seen.status, self._app.definitions, seen.spending))

    def evaluators(self, _: Request) -> Response:
        seen = self._lookout.seen()
        return HTMLResponse(page.evaluators(self._lookout.frame, seen.status, self._app.definitions, seen.spending))

    def trace(self, request: Request) -> Response:
        asked = request.query_params.get("id", "").strip()[:_LONGEST_ID]
        if not asked:
            return HTMLResponse(page.trace(self._lookout.frame, ""))
        try:
            story = self._lookout.story(asked)
        except Gone as error:
            return HTMLResponse(page.trace(self._lookout.frame, asked, error=str(error)), 404)
        return HTMLResponse(page.trace(self._lookout.frame, asked, story))

    def scores(self, _: Request) -> Response:
        return HTMLResponse(page.scores(self._lookout.frame, self._lookout.scores(), WEEKS))

    def alerts(self, _: Request) -> Response:
        look, told = self._lookout, [page.Told(at, text) for at, text in self._app.alerts.told()]
        not_taken, delivers = look.seen().status.not_taken, bool(self._app.destinations)
        return HTMLResponse(page.alerts(look.frame, look.monitors(), told, not_taken, delivers=delivers))

    def dead_letters(self, _: Request) -> Response:
        letters, kinds = self._app.state.dead.newest(page.MOST_LETTERS), self._lookout.seen().status.dead
        return HTMLResponse(page.dead_letters(self._lookout.frame, letters, kinds))

    def unavailable(self, request: Request, error: Exception) -> Response:
        if request.url.path == "/metrics":
            return PlainTextResponse(f"{error}\n", 503)
        return HTMLResponse(page.unavailable(self._lookout.frame, str(error), request.url.path), 503)


def _file(name: str, kind: str, _: Request) -> Response:
    return Response((_FOLDER / name).read_bytes(), media_type=kind)


@contextlib.contextmanager
def served_beside(app: App, pulse: Pulse) -> Iterator[str | None]:
    """Serve for as long as the block runs, where the settings say; give the address, None when nothing is served.

    Raises:
        ConfigError: others would reach it without a token, or the port that was asked for is taken.
    """
    settings = app.settings
    if not settings.evaluator_status_port:
        yield None
        return
    check_exposure(settings)
    listener = _listener(settings)
    if listener is None:
        yield None
        return
    with listener, serving(application(app, pulse, settings.evaluator_status_token.get_secret_value()), listener):
        address = address_of(settings.evaluator_status_host, listener)
        _log.info("status page, health and metrics", address=address)
        yield address


@contextlib.contextmanager
def serving(what: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve on a socket that listens, for as long as the block runs."""
    server = uvicorn.Server(
        uvicorn.Config(
            what,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_STOP_SECONDS)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any that is free.

    Raises:
        OSError: it cannot be had.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=64)


def address_of(host: str, listener: socket.socket) -> str:
    """Return the address people open."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"


def _listener(settings: Settings) -> socket.socket | None:
    """Return a listening socket. Where nobody asked for this port, and it is taken, the process goes on without."""
    host, port = settings.evaluator_status_host, settings.evaluator_status_port
    try:
        return listen(host, port)
    except OSError as error:
        why = f"port {port} of {host} cannot be had ({os.strerror(error.errno or 0)})"
        if "evaluator_status_port" in settings.model_fields_set:
            raise ConfigError([Problem("EVALUATOR_STATUS_PORT", f"{why}; set another one, or 0 for none")]) from None
        _log.warning("no status page here, set EVALUATOR_STATUS_PORT to have one", reason=why)
        return None


def _health(check: partial[Health]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        del request
        found = check()
        return JSONResponse(found.as_json(), 200 if found.is_well else 503)

    return answer
