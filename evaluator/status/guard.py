"""What stands before the status page: who may read it, and what a browser may do with it. Pure ASGI.

Health is told to everybody who reaches the port: it holds neither names nor numbers of anybody's traffic.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evaluator.errors import ConfigError, Problem
from evaluator.settings import Settings

OPEN: Final = frozenset({"/healthz", "/readyz"})

SHORTEST_TOKEN: Final = 16
"""Characters: there is no limit to how often a token may be guessed."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Refuse to show the page to others without a token.

    Raises:
        ConfigError: it would be.
    """
    token, host = settings.evaluator_status_token.get_secret_value(), settings.evaluator_status_host
    how = "a long random text, such as what `openssl rand -hex 24` prints"
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError([Problem("EVALUATOR_STATUS_TOKEN", f"has less than {SHORTEST_TOKEN} characters; set {how}")])
    if not token and not is_loopback(host):
        what = f"is not set, but the status page would be served on {host} for others too; set {how}"
        keep = "or keep EVALUATOR_STATUS_HOST=127.0.0.1, or EVALUATOR_STATUS_PORT=0 to serve nothing"
        raise ConfigError([Problem("EVALUATOR_STATUS_TOKEN", f"{what}, {keep}")])


class Guard:
    """Lets nobody through who may not read, and adds what keeps a browser to this page."""

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        """Stand before `app`. Without a `token` only names of this machine are answered to.

        So a web page that lets its own name lead to this machine reads nothing (DNS rebinding).
        """
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def discreetly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = None if scope["path"] in OPEN else self._refused(Headers(scope=scope))
        await (refused or self._app)(scope, receive, discreetly)

    def _refused(self, headers: Headers) -> Response | None:
        if not self._token:
            if is_loopback(_host(headers.get("host", ""))):
                return None
            return PlainTextResponse("ask for it as 127.0.0.1 or localhost\n", 421)
        if hmac.compare_digest(_shown(headers.get("authorization", "")), self._token):
            return None
        said = "the value of EVALUATOR_STATUS_TOKEN is wanted: as a bearer token, or as password of any user\n"
        return PlainTextResponse(said, 401, {"WWW-Authenticate": 'Basic realm="evaluator", charset="UTF-8"'})


def _shown(authorization: str) -> bytes:
    """Return the token that a request shows, as bearer or as a browser's password."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode()
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2] if kind.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        return b""


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
