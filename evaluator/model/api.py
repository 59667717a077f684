"""Many questions at once: how many are in flight, what is tried again, what a stop ends."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from evaluator.errors import Unavailable
from evaluator.limits import Gate
from evaluator.loop import LoopThread
from evaluator.model.completion import FinalRefusal
from evaluator.model.server import Server
from evaluator.model.waits import Waits
from judges import Price, Prompt, Question, Reply
from traces import Failure, Outcome, Usage, Verdict

INTERRUPTED: Final = "interrupted"
"""Kind of failure of a question that was not asked because the service is stopping; it costs no attempt."""

Finished = Callable[[int, Outcome], None]
"""Told the place and the outcome of each question as it ends, on the event loop: it must be quick."""

_LONGEST_BACKOFF: Final = 20.0

_log = structlog.get_logger(__name__)


class ModelApi:
    """Asks judges. Safe for many threads; calls in flight are bounded for the whole process, not for a batch."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        loop: LoopThread,
        gate: Gate,
        prices: Mapping[str, Price],
        random: Random,
        max_in_flight: int = 64,
        timeout: float = 60.0,
        attempts: int = 5,
        first_backoff: float = 0.5,
    ) -> None:
        """Open a connection.

        Args:
            base_url: where the API is; it usually ends with /v1.
            api_key: its key; may be empty for a server that wants none.
            loop: the event loop all calls run on.
            gate: the provider's limits.
            prices: USD per million tokens, by model.
            random: spreads the retries.
            max_in_flight: calls at once.
            timeout: seconds for one call, from sending to the last byte.
            attempts: calls for one question that meets passing failures.
            first_backoff: seconds before the second attempt, doubled for each one after it.

        Raises:
            ConfigError: `base_url` is no address, or holds a password.
        """
        self._loop = loop
        self._random = random
        self._attempts = attempts
        self._first_backoff = first_backoff
        self._slots = asyncio.Semaphore(max_in_flight)
        self._waits = Waits()

        async def connected() -> Server:
            waits = self._waits
            return Server(base_url=base_url, api_key=api_key, gate=gate, waits=waits, prices=prices, timeout=timeout)

        self._server = loop.call(connected())

    def ask(self, questions: Sequence[Question], finished: Finished) -> list[Outcome]:
        """Ask all questions at once and return their outcomes in order; a failed question is a `Failure` there."""
        return self._loop.call(self._ask_all(questions, finished))

    def probe(self) -> str:
        """Say whether the server answers and takes the key.

        Raises:
            Unavailable: it does not answer, or not now.
            Refused: it does not take the key.
        """
        return self._loop.call(self._server.probe())

    def drain(self) -> None:
        """Start no new call; those in flight finish. Questions not asked come back at once, as `INTERRUPTED`."""
        self._waits.over = True
        self._loop.call(self._waits.end())

    def accept(self) -> None:
        """Take up work again after `drain`."""
        self._waits.over = False

    def close(self) -> None:
        """Close the connections."""
        self._loop.call(self._server.close())

    async def _ask_all(self, questions: Sequence[Question], finished: Finished) -> list[Outcome]:
        async def one(index: int, question: Question) -> Outcome:
            outcome = await self._ask(question)
            finished(index, outcome)
            return outcome

        tasks = [asyncio.create_task(one(index, question)) for index, question in enumerate(questions)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            # Should `finished` raise, the other calls must not go on behind everybody's back.
            for task in tasks:
                task.cancel()

    async def _ask(self, question: Question) -> Outcome:
        used = Usage()
        while True:
            try:
                reply = await self._reply(question.prompt)
                used += reply.usage
                outcome = question.read(replace(reply, usage=used))
            except FinalRefusal as error:
                return Failure(error.kind, str(error), usage=used)
            except Unavailable as error:
                kind = INTERRUPTED if self._waits.over else "model_unavailable"
                return Failure(kind, str(error), retryable=True, usage=used)
            except Exception as error:  # noqa: BLE001 - a mistake of ours costs one question, not the batch
                _log.error("a question failed by a mistake of the service", where=_where(error))
                return Failure("judge_error", _where(error), usage=used)
            if not isinstance(outcome, Prompt):
                return self._marked(outcome, question.prompt.model)
            question = question.again(outcome)

    def _marked(self, outcome: Outcome, asked: str) -> Outcome:
        """Mark a verdict whose cost of 0 only means that nobody told the price."""
        if not isinstance(outcome, Verdict) or self._server.knows_price(asked, outcome.usage.model):
            return outcome
        return replace(outcome, details={**outcome.details, "unpriced": True})

    async def _reply(self, prompt: Prompt) -> Reply:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            stop=self._enough,
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._call(prompt)
        raise AssertionError("tenacity returns or raises")

    async def _call(self, prompt: Prompt) -> Reply:
        with self._waits.one():
            await self._slots.acquire()
        try:
            return await self._server.reply(prompt)
        finally:
            self._slots.release()

    def _enough(self, state: RetryCallState) -> bool:
        return self._waits.over or state.attempt_number >= self._attempts

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        jitter = 0.5 + self._random.random()
        if isinstance(error, Unavailable) and error.retry_after is not None:
            # The gate holds everybody for so long. Spread behind it, or all come back in the same moment.
            return error.retry_after + self._first_backoff * jitter
        backoff: float = self._first_backoff * 2.0 ** (state.attempt_number - 1)
        return min(backoff, _LONGEST_BACKOFF) * jitter

    async def _sleep(self, seconds: float) -> None:
        with self._waits.one():
            await asyncio.sleep(seconds)


def _where(error: BaseException) -> str:
    """Say what was raised where; the message of an error may hold content."""
    frames: list[Any] = list(traceback.walk_tb(error.__traceback__))
    frame, line = frames[-1]
    return f"{type(error).__name__} in {frame.f_code.co_name}, line {line}"
