"""Many questions at once: how many are in flight, what is tried again, who has no time to wait, what a stop ends."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final

import structlog
from structlog.contextvars import bind_contextvars

from evaluator.errors import Unavailable
from evaluator.limits import TokenGate
from evaluator.loop import LoopThread
from evaluator.model.attaching import Attach, attached, told
from evaluator.model.breaker import Breaker
from evaluator.model.completion import ACCESS_REFUSED, TOO_LONG, FinalRefusal
from evaluator.model.concurrency import Slots
from evaluator.model.endpoint import Endpoint, Served, fallbacks_of
from evaluator.model.journal import UNREADABLE, Journal, of_no_use, write_in
from evaluator.model.pacing import Pacing
from evaluator.model.panel import CLOSED, UNAVAILABLE, UNFUNDED, Panel
from evaluator.model.reuse import Reuse
from evaluator.model.server import Server
from evaluator.model.slow import Slow
from evaluator.model.waits import Waits
from evaluator.money.purse import Bill, Purse, Spent
from evaluator.state.cache import Cache
from evaluator.state.paces import Paces
from judges import Price, Prompt, Question, Reply
from traces import Failure, Outcome, Usage, Verdict

INTERRUPTED: Final = "interrupted"
"""Kind of failure of a question that was not asked because the service is stopping; it costs no attempt."""

POSTPONED: Final = "model_slow"
"""Kind of failure of a question whose model keeps people waiting, asked by one in a hurry; it costs no attempt."""

Ended = tuple[int, Outcome]
"""The place of a question and its outcome."""

_NOT_SLOW: Final = frozenset({CLOSED, UNFUNDED, ACCESS_REFUSED})
"""Kinds of passing failures that say nothing of how fast a model is."""

_LONGEST_BACKOFF: Final = 20.0
_AWAY: Final = Failure(POSTPONED, "its model is slow or down", retryable=True)

_log = structlog.get_logger(__name__)


class ModelApi:
    """Asks judges. Safe for many threads; calls in flight are bounded for the process and model, not for a batch."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        loop: LoopThread,
        gate: TokenGate,
        prices: Mapping[str, Price],
        random: Random,
        max_in_flight: int = 64,
        timeout: float = 60.0,
        attempts: int = 5,
        first_backoff: float = 0.5,
        attach: Attach | None = None,
        purse: Purse | None = None,
        entries: Mapping[str, Served] | None = None,
        breaker: Breaker | None = None,
        cache: Cache | None = None,
        paces: Paces | None = None,
    ) -> None:
        """Open a connection.

        Args:
            base_url: where the API is; it usually ends with /v1.
            api_key: its key; may be empty for a server that wants none.
            loop: the event loop all calls run on.
            gate: the provider's limits.
            prices: USD per million tokens, by model.
            random: spreads the retries.
            max_in_flight: calls of one model at once, at most; fewer while its server is overrun.
            timeout: seconds for one call, from sending to the last byte.
            attempts: calls for one question that meets passing failures.
            first_backoff: seconds before the second attempt, doubled for each one after it.
            attach: gives images and files that prompts refer to; without it judges are told that they are missing.
            purse: where the money for calls comes from; None when nobody counts it.
            entries: models that are elsewhere, or have limits of their own, by the name rubrics use.
            breaker: which models are left alone; without it a key that is refused fails each question.
            cache: verdicts that are used again for the same question; without it each question is asked.
            paces: how many calls the fleet has in the air; without it this process learns alone.

        Raises:
            ConfigError: `base_url` is no address, or holds a password.
        """
        self._loop = loop
        self._random = random
        self._attempts, self._first_backoff, self._attach = attempts, first_backoff, attach
        self._asking: set[Waits] = set()
        self._drained = False
        self._slow = Slow(loop.time)
        self._purse = purse
        self._breaker = breaker or Breaker(None, loop.time)
        self._entries = entries or {}
        self._pacing = Pacing(paces, partial(_most_in_flight, self._entries, max_in_flight), loop.time)
        self._reuse = None if cache is None else Reuse(cache, self._place)
        self._panel = Panel(self._ask, self._entries, self._breaker, self._reuse)
        self._server = loop.call(_connected(Endpoint(base_url, api_key, timeout=timeout), gate, prices))
        self._servers = {
            model: loop.call(_connected(entry.endpoint, entry.gate, prices, {model: entry.name}))
            for model, entry in self._entries.items()
        }

    def ask(
        self,
        questions: Sequence[Question],
        patience: float | None = None,
        about: Sequence[Mapping[str, str]] | None = None,
        journals: Sequence[Journal | None] | None = None,
        *,
        gives_way: bool = False,
    ) -> Generator[list[Ended]]:
        """Ask all questions at once and give their outcomes as they end; a failed question is a `Failure` there.

        Args:
            questions: of any rubrics and models.
            patience: seconds after which no question waits any more, for a place, a limit or another attempt: it ends
                as `POSTPONED`, and so does every later question to its model for a while. Calls in the air finish.
            about: what each line of the log about a question says besides.
            journals: where all that is sent for a question is noted.
            gives_way: whether calls are made only while nobody else waits for the model.
        """
        ended: deque[Ended] = deque()
        none = [None] * len(questions)
        known = about or [{}] * len(questions)
        asking = self._ask_all(questions, ended, patience, known, journals or none, gives_way=gives_way)
        yield from self._loop.stream(asking, ended)

    def is_closed(self, asks: Sequence[str]) -> bool:
        """Whether it is known that too few of these opinions can be had now for an outcome; asks nobody.

        Args:
            asks: the model of each opinion; where it takes no calls, those in its place count.
        """
        return self._panel.too_few(asks, self._breaker.is_open)

    def probe(self, model: str | None = None) -> str:
        """Say whether a model's server answers and takes the key; without a model, that of those without an entry.

        Raises:
            Unavailable: it does not answer, or not now.
            Refused: it does not take the key.
        """
        return self._loop.call(self._server_of(model or "").probe([model] if model else []))

    def drain(self) -> None:
        """Start no new call; those in flight finish. Questions not asked come back at once, as `INTERRUPTED`."""
        self._drained = True
        self._loop.call(self._end_waits())

    @property
    def is_drained(self) -> bool:
        """Whether no new call is started."""
        return self._drained

    def accept(self, models: Iterable[str] = ()) -> None:
        """Take up work, again after `drain`; the way to these models' servers is opened now, not in mid-work."""
        self._drained = False
        for server in {self._server_of(model) for model in models}:
            self._loop.call(server.open())

    def close(self) -> None:
        """Close the connections."""
        if self._reuse is not None:
            self._loop.call(self._reuse.close())
        if self._purse is not None:
            self._loop.call(self._purse.close())
        self._loop.call(self._pacing.close())
        for server in (self._server, *self._servers.values()):
            self._loop.call(server.close())

    def _server_of(self, model: str) -> Server:
        return self._servers.get(model, self._server)

    def _place(self, model: str) -> str:
        return self._server_of(model).place(model)

    def is_unfunded(self, payers: Sequence[str]) -> bool:
        """Whether it is known that there is no money left today for a question of these rubrics."""
        return self._purse is not None and self._purse.is_spent(payers)

    async def _end_waits(self) -> None:
        for waits in self._asking:
            waits.end(INTERRUPTED)

    async def _ask_all(
        self,
        questions: Sequence[Question],
        ended: deque[Ended],
        patience: float | None,
        about: Sequence[Mapping[str, str]],
        journals: Sequence[Journal | None],
        *,
        gives_way: bool,
    ) -> None:
        models = {model for question in questions for model in question.asks}
        away = {model for model in models if patience is not None and self._slow.turns_away(model)}
        asked = Counter(model for q in questions if away.isdisjoint(q.asks) for model in q.asks)
        answered: Counter[str] = Counter()
        may_be = models.union(*(question.may_ask for question in questions if question.escalate is not None))
        await self._breaker.look(may_be.union(*(fallbacks_of(self._entries, model) for model in may_be)))

        def heard(model: str, outcome: Outcome) -> None:
            if isinstance(outcome, Verdict) and outcome.usage.cached:
                asked[model] -= 1  # a kept verdict says nothing of how fast a model is
                return
            answered[model] += not _kept_waiting(outcome)

        async def one(index: int, question: Question) -> None:
            bind_contextvars(**about[index])  # each task has a context of its own
            write_in(journals[index])
            outcome: Outcome = _AWAY
            if away.isdisjoint(question.asks):
                outcome = await self._panel.outcome(question, waits, heard)
            ended.append((index, outcome))

        def hurry() -> None:
            self._learn(asked, answered)
            waits.end(POSTPONED)

        with self._waiting(gives_way=gives_way) as waits:
            timer = asyncio.get_running_loop().call_later(patience, hurry) if patience is not None else None
            tasks = [asyncio.create_task(one(index, question)) for index, question in enumerate(questions)]
            try:
                await asyncio.gather(*tasks)
            finally:
                # When the caller is interrupted, its calls must not go on behind everybody's back.
                for task in tasks:
                    task.cancel()
                if timer is not None:
                    timer.cancel()
            if not waits.ended_by:
                self._learn(asked, answered, in_time=patience is not None)

    @contextlib.contextmanager
    def _waiting(self, *, gives_way: bool) -> Iterator[Waits]:
        waits = Waits(gives_way=gives_way)
        if self._drained:
            waits.end(INTERRUPTED)
        self._asking.add(waits)
        try:
            yield waits
        finally:
            self._asking.discard(waits)

    def _learn(self, asked: Mapping[str, int], answered: Mapping[str, int], *, in_time: bool = False) -> None:
        """Learn from one batch which models are slow: a few questions without an answer may be bad luck."""
        for model, number in asked.items():
            if number <= 0:
                continue
            if 2 * answered.get(model, 0) < number:
                self._slow.mark(model)
                _log.warning("a model is slow or down: its questions go to the patient lane", model=model)
            elif in_time:
                self._slow.clear(model)

    async def _ask(self, question: Question, waits: Waits) -> Outcome:
        used = Usage()
        while True:
            try:
                prompt = await attached(question.prompt, self._attach)
                reply = await self._reply(prompt, waits)
                if used.calls:
                    reply = replace(reply, usage=used + reply.usage)
                used = reply.usage
                outcome = question.read(reply)
            except FinalRefusal as error:
                smaller = question.smaller(error.context) if error.kind == TOO_LONG else None
                if smaller is None:
                    return Failure(error.kind, str(error), usage=used)
                question = smaller
                continue
            except Spent as error:
                return Failure(UNFUNDED, str(error), retryable=True, usage=used)
            except Unavailable as error:
                return Failure(waits.ended_by or UNAVAILABLE, str(error), retryable=True, usage=used)
            except Exception as error:  # noqa: BLE001 - a mistake of ours costs one question, not the batch
                _log.error("a question failed by a mistake of the service", where=_where(error))
                return Failure("judge_error", _where(error), usage=used)
            if not isinstance(outcome, Prompt):
                if isinstance(outcome, Failure):
                    of_no_use(f"{outcome.kind}: {outcome.reason}", is_lost=True)
                return told(self._marked(outcome, question.prompt.model), prompt)
            if outcome.repair:
                of_no_use(UNREADABLE)
            question = question.again(outcome)

    def _marked(self, outcome: Outcome, asked: str) -> Outcome:
        """Mark a verdict whose cost of 0 only means that nobody told the price."""
        if not isinstance(outcome, Verdict) or self._server_of(asked).knows_price(asked, outcome.usage.model):
            return outcome
        return replace(outcome, details={**outcome.details, "unpriced": True})

    async def _reply(self, prompt: Prompt, waits: Waits) -> Reply:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._call(prompt, waits)
            except Unavailable as error:
                # A loop of our own: the error that ends one of tenacity's holds itself, and with it all that was asked.
                if waits.ended_by or attempt >= self._attempts:
                    raise
                seconds = self._wait(error, attempt)
            with waits:
                await asyncio.sleep(seconds)

    async def _call(self, prompt: Prompt, waits: Waits) -> Reply:
        slots = await self._pacing.slots(prompt.model)
        server = self._server_of(prompt.model)
        while True:
            with waits:
                if self._purse is not None:
                    # Who waits for money must not keep a place from those who have some.
                    await self._purse.room(prompt.payers)
                await slots.acquire(gives_way=waits.gives_way)
            try:
                if self._purse is None:
                    return await server.reply(prompt, waits, slots)
                bill = await self._purse.reserve(prompt.payers, server.most(prompt))
                if bill is not None:
                    return await self._paid(self._purse, bill, prompt, waits, slots)
            finally:
                slots.release()

    async def _paid(self, purse: Purse, bill: Bill, prompt: Prompt, waits: Waits, slots: Slots) -> Reply:
        usd: float | None = 0.0
        try:
            reply = await self._server_of(prompt.model).reply(prompt, waits, slots)
            # A server that does not say what was used has used something.
            usd = reply.usage.usd if reply.usage.input_tokens or reply.usage.output_tokens else None
            return reply
        finally:
            purse.settle(bill, usd)

    def _wait(self, error: Unavailable, attempt: int) -> float:
        jitter = 0.5 + self._random.random()
        if error.retry_after is not None:
            # The gate holds everybody for so long. Spread behind it, or all come back in the same moment.
            return error.retry_after + self._first_backoff * jitter
        backoff: float = self._first_backoff * 2.0 ** (attempt - 1)
        return min(backoff, _LONGEST_BACKOFF) * jitter


def _most_in_flight(entries: Mapping[str, Served], usually: int, model: str) -> int:
    own = entries[model].calls_in_flight if model in entries else None
    return own or usually


async def _connected(
    endpoint: Endpoint, gate: TokenGate, prices: Mapping[str, Price], names: Mapping[str, str] | None = None
) -> Server:
    """Return a server; it is made on the event loop it belongs to."""
    return Server(endpoint, gate=gate, prices=prices, names=names)


def _kept_waiting(outcome: Outcome) -> bool:
    """Whether an opinion is missing because its model is slow or down, and for no other reason."""
    return isinstance(outcome, Failure) and outcome.retryable and outcome.kind not in _NOT_SLOW


def _where(error: BaseException) -> str:
    """Say what was raised where; the message of an error may hold content."""
    frames: list[Any] = list(traceback.walk_tb(error.__traceback__))
    frame, line = frames[-1]
    return f"{type(error).__name__} in {frame.f_code.co_name}, line {line}"
