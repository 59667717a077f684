"""Waiting for the event loop from another thread."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import pytest

from evaluator.loop import LoopThread, _result


class EndsWhileNobodyLooks(Future[str]):
    """Ends in the moment between a wait that ran out and the look whether it has ended."""

    def __init__(self, outcome: str | Exception) -> None:
        super().__init__()
        self._outcome = outcome

    def result(self, timeout: float | None = None) -> str:
        if timeout is not None and not self.done():
            if isinstance(self._outcome, Exception):
                self.set_exception(self._outcome)
            else:
                self.set_result(self._outcome)
            raise NotYet
        return super().result(timeout)


def test_work_that_ends_as_a_wait_runs_out_is_no_timeout() -> None:
    assert _result(EndsWhileNobodyLooks("done")) == "done"


def test_a_timeout_of_the_work_itself_is_raised() -> None:
    with pytest.raises(TimeoutError, match="of the work"):
        _result(EndsWhileNobodyLooks(TimeoutError("of the work")))


def test_things_are_given_in_the_order_in_which_they_came() -> None:
    ended: deque[int] = deque()

    async def work() -> None:
        for number in range(50):
            ended.append(number)
            await asyncio.sleep(0.001)

    with LoopThread() as loop:
        lots = list(loop.stream(work(), ended))
    assert [number for lot in lots for number in lot] == list(range(50))
    assert len(lots) > 1


def test_what_the_work_raises_is_raised_to_who_draws() -> None:
    ended: deque[Any] = deque([1])

    async def work() -> None:
        raise ZeroDivisionError

    with LoopThread() as loop, pytest.raises(ZeroDivisionError):
        list(loop.stream(work(), ended))
