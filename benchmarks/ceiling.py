"""How many requests a second the stand-ins answer: what no contender can be faster than.

A raw client sends the same prepared request again and again on many connections, one at a time on each, and only
counts the bytes that come back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import orjson

from benchmarks.outside import Behaviour
from benchmarks.stand_ins import StandIns
from benchmarks.work import FORMAT, MODEL, messages

_CONNECTIONS: Final = 64
_SECONDS: Final = 1.0


def ceilings(stand_ins: StandIns) -> dict[str, float]:
    """Return requests a second by what is asked: a completion, a page of 100 rows with their texts, 100 scores."""
    stand_ins.reset(Behaviour(traces=1000))
    port = urlsplit(stand_ins.url).port or 80
    asked = {
        "chat completion": _request("POST", "/v1/chat/completions", _prompt()),
        "page of 100 observations with input and output": _request("GET", _page(), b""),
        "100 scores": _request("POST", "/api/public/scores", orjson.dumps([_score(n) for n in range(100)])),
    }
    return {name: asyncio.run(_rate(port, request)) for name, request in asked.items()}


async def _rate(port: int, request: bytes) -> float:
    loop = asyncio.get_running_loop()
    clients = [_Client(request) for _ in range(_CONNECTIONS)]
    transports = [(await loop.create_connection(client.itself, "127.0.0.1", port))[0] for client in clients]
    started = time.perf_counter()
    await asyncio.sleep(_SECONDS)
    rate = sum(client.done for client in clients) / (time.perf_counter() - started)
    for transport in transports:
        transport.abort()
    return rate


class _Client(asyncio.Protocol):
    """Sends a request, and again when its answer is whole; the first answer tells how long each one is."""

    def __init__(self, request: bytes) -> None:
        self.done = 0
        self._request = request
        self._length = 0
        self._came = 0

    def itself(self) -> _Client:
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._length:
            head, _, rest = data.partition(b"\r\n\r\n")
            self._length = len(data) - len(rest) + int(head.lower().partition(b"content-length: ")[2])
        self._came += len(data)
        if self._came >= self._length:
            self._came = 0
            self.done += 1
            self._transport.write(self._request)


def _request(method: str, target: str, body: bytes) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _prompt() -> bytes:
    given = {"question": "How do I return it? " * 15, "context": ["Orders can be returned within 30 days. " * 12] * 2}
    return orjson.dumps(
        {"model": MODEL, "messages": messages(given, "Within 30 days. " * 50), "response_format": FORMAT}
    )


def _page() -> str:
    filters = [{"type": "datetime", "column": "startTime", "operator": ">=", "value": "2000-01-01T00:00:00+00:00"}]
    return f"/api/public/v2/observations?fields=core,io&limit=100&filter={quote(json.dumps(filters))}"


def _score(number: int) -> Mapping[str, object]:
    return {
        "id": f"7d444840-9dc0-11d1-b245-5ffdce74{number:04x}",
        "traceId": f"{number:032x}",
        "name": "helpfulness",
        "value": 4,
        "dataType": "NUMERIC",
        "timestamp": "2026-11-23T12:00:00+00:00",
        "comment": "The answer names the thirty days and the way back, both of which the documents say.",
        "metadata": {"evaluator": "helpfulness", "version": "0123456789ab", "inclusion_probability": 1.0},
    }
