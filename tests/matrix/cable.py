"""The line between the service and Redis, which can break under an answer: carried out, and never heard."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from random import Random
from typing import Final

_CHUNK: Final = 1 << 16


class Cable:
    """Forwards connections from one unix socket to another.

    Attributes:
        breaks: Probability that an answer breaks its connection instead of arriving.
        broken: How often that happened.
    """

    def __init__(self, here: Path, there: Path) -> None:
        self.breaks = 0.0
        self.broken = 0
        self._here, self._there = here, there
        self._random = Random(0)
        self._callers: set[asyncio.StreamWriter] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cable", daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._accepted, str(self._here))

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for caller in self._callers:  # also one whose call ended before it began
            caller.transport.abort()
        await asyncio.sleep(0)  # or the loop is closed before the sockets are

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.get_running_loop().create_task(self._connected(reader, writer))
        self._callers.add(writer)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                back, forth = await asyncio.open_unix_connection(str(self._there))
            except OSError:
                writer.transport.abort()
                self._callers.discard(writer)
                return
            ways = [
                asyncio.create_task(self._carry(reader, forth, breaks=False)),
                asyncio.create_task(self._carry(back, writer, breaks=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                forth.transport.abort()
                writer.transport.abort()
                self._callers.discard(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, breaks: bool) -> None:
        while data := await reader.read(_CHUNK):
            if breaks and self.breaks and self._random.random() < self.breaks:
                self.broken += 1
                return
            writer.write(data)
            await writer.drain()
