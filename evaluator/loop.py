"""One asyncio loop on one thread of the process: where all network IO of the evaluation path happens.

Worker threads stay plain and synchronous. They hand a coroutine over and wait for it in short steps, because a wait
without a timeout cannot be interrupted by Dramatiq's time limit or a shutdown: the job would never leave the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
_STEP_SECONDS: Final = 0.25
"""An interrupt is met within it. Dozens of threads wait at once, and each that wakes holds up the others."""

_LONGEST_PAUSE: Final = 0.1
"""What has ended and was not yet given is lost when the process is killed, and may have been paid for."""

_LEAST_PAUSE: Final = 0.02


class LoopThread:
    """A running event loop; `call` runs a coroutine on it from any other thread."""

    def __init__(self, name: str = "io") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and return what it returns, or raise what it raises.

        When the calling thread is interrupted (an exception raised into it), the coroutine is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return _result(future)
        except BaseException:
            future.cancel()
            raise
        finally:
            del future  # or what it raised and this frame would hold each other, with all that was read

    def stream(self, work: Coroutine[Any, Any, None], ended: deque[T]) -> Iterator[list[T]]:
        """Run `work`, which appends to `ended`, and give what it appended in lots.

        The thread looks now and then, more seldom the longer it takes, and at once when all has ended: to wake it for
        each of many things that end together would cost more than they do. When it stops drawing, or is interrupted,
        the coroutine is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        pause = _LEAST_PAUSE
        try:
            while not done.wait(pause):
                pause = min(pause * 2, _LONGEST_PAUSE)
                if ended:
                    yield [ended.popleft() for _ in range(len(ended))]
            if ended:
                yield list(ended)
            future.result()
        finally:
            future.cancel()
            del future

    def time(self) -> float:
        """Return the event loop's clock, in seconds."""
        return self._loop.time()

    def close(self) -> None:
        """Cancel what still runs, then stop the loop and its thread."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(NotYet, CancelledError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _result(future: Future[T]) -> T:
    try:
        while True:
            try:
                return future.result(_STEP_SECONDS)
            except NotYet:
                # It may have ended just now; and what it raised may itself be a timeout.
                if future.done():
                    return future.result()
    finally:
        del future


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
