"""As much of an HTTP/1.1 server as a benchmark needs: keep-alive, pipelining, bodies of known length, late answers.

A web framework would cost more than the clients it is there to time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

Answering = Callable[[bytes, bytes, bytes], tuple[float, bytes]]
"""Method, target and body of a request -> seconds to wait and the whole response."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REASONS: Final = {200: "OK", 202: "Accepted", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


def response(body: bytes, status: int = 200) -> bytes:
    """Return a JSON response as it goes over the wire."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One client; its requests are answered in order as long as it waits for late answers itself."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._loop = asyncio.get_running_loop()
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        held = self._held + data if self._held else data
        while (end := held.find(b"\r\n\r\n") + 4) > 3:
            found = _LENGTH.search(held, 0, end)
            whole = end + int(found[1]) if found else end
            if len(held) < whole:
                break
            method, target, _ = held[: held.index(b"\r\n")].split(b" ", 2)
            self._answer(*self._answering(method, target, held[end:whole]))
            held = held[whole:]
        self._held = held

    def _answer(self, seconds: float, written: bytes) -> None:
        if seconds:
            self._loop.call_later(seconds, self._write, written)
        else:
            self._write(written)

    def _write(self, written: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(written)


async def listen(answering: Answering) -> int:
    """Serve on a free port of this machine, until the event loop ends; return the port."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answering), "127.0.0.1", 0, backlog=4096)
    port: int = server.sockets[0].getsockname()[1]
    return port
