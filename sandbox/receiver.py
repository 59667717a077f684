"""A receiver of webhooks: checks signature and time as a careful one does, and keeps what arrived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

from aiohttp import web

from sandbox.faults import CONTROL, Fault, FaultKind, Faults, controlling, injecting

SECRET: Final = "whsec_" + base64.b64encode(b"a secret of the sandbox").decode()
_TOLERANCE_SECONDS: Final = 300


class ReceiverStandIn:
    """Takes POST /alerts.

    Attributes:
        faults: What goes wrong on the wire.
        secret: What messages must be signed with.
        received: What arrived, oldest first.
        ids: The `webhook-id` of each.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.secret = SECRET
        self.received: list[dict[str, Any]] = []
        self.ids: list[str] = []

    def counts(self) -> dict[str, Any]:
        """Return how many messages arrived."""
        return {"received": len(self.received), "distinct": len(set(self.ids))}

    def app(self) -> web.Application:
        """Return the web application that serves it."""
        app = web.Application(middlewares=[injecting(self.faults, _refused)], client_max_size=8 << 20)
        app.router.add_post("/alerts", self._take)
        app.router.add_post(f"{CONTROL}faults", controlling(self.faults))
        return app

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        name, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        given = [each.partition(",") for each in request.headers.get("webhook-signature", "").split()]
        expected = hmac.new(_key(self.secret), f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
        wanted = base64.b64encode(expected).decode()
        if not any(version == "v1" and hmac.compare_digest(said, wanted) for version, _, said in given):
            return web.Response(status=401, text="bad signature")
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > _TOLERANCE_SECONDS:
            return web.Response(status=401, text="too old")
        try:
            self.received.append(json.loads(body))
        except ValueError:
            return web.Response(status=400)
        self.ids.append(name)
        return web.Response(status=204)


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def _refused(fault: Fault) -> web.Response:
    if fault.kind is FaultKind.RATE_LIMITED:
        return web.Response(status=429, headers={"Retry-After": f"{max(1, round(fault.seconds))}"})
    return web.Response(status=fault.status)
