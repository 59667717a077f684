"""Langfuse's error bodies, and the exception by which the stand-in's inner parts refuse a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson
from aiohttp import web

Issue = dict[str, Any]
HOST_HINT: Final = "Confirm that you've configured the correct host."
V4_OFF: Final = "This API needs the v4 write mode; this deployment is not running in it."
LEGACY_OFF: Final = (
    "This endpoint is not available on deployments running in Langfuse v4 events_only mode. "
    "Use the v2 observations and v3 scores endpoints instead."
)
TOO_MUCH: Final = "Query ran out of resources. Narrow the time range or add filters, then try again."


class Refusal(Exception):
    """A request the server answers with an error: `status`, JSON `body`, extra `headers`."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body.get('message', '')}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return `body` as a JSON response."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


def issue(message: str, *path: str | int, code: str = "custom") -> Issue:
    """Return one validation issue in zod's form."""
    return {"code": code, "path": list(path), "message": message}


def invalid(issues: Sequence[Issue]) -> NoReturn:
    """Refuse a query or body that does not fit its schema."""
    raise Refusal(400, {"message": "Invalid request data", "error": list(issues)})


def bad_request(message: str) -> NoReturn:
    """Refuse a request that fits the schema and makes no sense."""
    raise Refusal(400, {"message": message, "error": "InvalidRequestError"})


def not_found(message: str) -> NoReturn:
    """Refuse: missing resource, or an API that is switched off."""
    raise Refusal(404, {"message": message, "error": "LangfuseNotFoundError"})


def narrow() -> NoReturn:
    """Refuse a query that reads too much: the caller must narrow its window."""
    raise Refusal(422, {"message": TOO_MUCH, "error": "Request timed out"})


def server_error(status: int) -> web.Response:
    """Return what the server (422 for want of resources, 500) or a proxy in front of it (502, 503, 504) says."""
    if status == 422:
        return answer({"message": TOO_MUCH, "error": "Request timed out"}, 422)
    if status == 503:
        return answer({"message": "Service Unavailable"}, 503)
    if status == 500:
        return answer({"message": "Internal Server Error", "error": "planted by the sandbox"}, 500)
    return web.Response(text=f"<html><body><h1>{status}</h1></body></html>", status=status, content_type="text/html")
