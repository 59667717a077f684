"""The only user of the model API: many questions at once, retries by class of failure, what each answer cost.

Any OpenAI-compatible server. The SDK does authentication, headers, errors and timeouts; its request and response models
are left out on this path, which halves what a call costs in CPU (docs: performance). Its own retries are off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import httpx2
import openai
import orjson
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from evaluator.errors import EvaluatorError, Refused, Unavailable
from evaluator.limits import Gate
from evaluator.loop import LoopThread
from judges import Price, Prompt, Question, Reply
from traces import Failure, Outcome, Usage

INTERRUPTED: Final = "interrupted"
"""Kind of failure of a question that was not asked because the service is stopping; it costs no attempt."""

_FORMATS: Final = ("json_schema", "json_object", "text")
_LONGEST_PAUSE: Final = 300.0
_LONGEST_BACKOFF: Final = 20.0

Finished = Callable[[int, Outcome], None]
"""Told the place and the outcome of each question as it ends, on the event loop: it must be quick."""

_log = structlog.get_logger(__name__)


class _Refusal(Refused):
    """A final no: `kind` is fit to be counted."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class _OtherDialect(EvaluatorError):
    """The server does not know something we sent; it is left out from now on."""


@dataclass(slots=True)
class _Dialect:
    """What a model's server understands, learnt from its refusals and remembered for the process."""

    format: int = 0
    limit: str = "max_completion_tokens"
    temperature: bool = True

    def body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": prompt.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            self.limit: prompt.max_output_tokens,
        }
        if self.temperature and prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        match _FORMATS[self.format]:
            case "json_schema":
                schema = {"name": "verdict", "strict": True, "schema": prompt.schema}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            case "json_object":
                body["response_format"] = {"type": "json_object"}
        return body

    def learn(self, body: Mapping[str, Any], said: str) -> bool:
        """Leave out what the server's complaint names; whether there was anything to leave out."""
        if "temperature" in said and "temperature" in body:
            self.temperature = False
        elif "max_completion_tokens" in said and "max_completion_tokens" in body:
            self.limit = "max_tokens"
        elif any(word in said for word in ("response_format", "json_schema", "json_object", "structured")):
            wanted = _FORMATS.index(body.get("response_format", {}).get("type", "text"))
            # Several calls learn at once: only the first of them moves on.
            if wanted + 1 >= len(_FORMATS):
                return False
            self.format = max(self.format, wanted + 1)
        else:
            return False
        return True


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
    ) -> None:
        """Talk to `base_url`; `timeout` in seconds for one call, `attempts` for one that meets a passing failure."""
        self._loop = loop
        self._gate = gate
        self._prices = prices
        self._random = random
        self._attempts = attempts
        self._slots = asyncio.Semaphore(max_in_flight)
        self._dialects: dict[str, _Dialect] = {}
        self._stopping = False
        self._client = loop.call(_connected(base_url, api_key or "none", timeout))

    def ask(self, questions: Sequence[Question], finished: Finished) -> list[Outcome]:
        """Ask all questions at once and return their outcomes in order; a failed question is a `Failure` there."""
        return self._loop.call(self._ask_all(questions, finished))

    def probe(self) -> str:
        """Say whether the server answers and takes the key.

        Raises:
            Unavailable, Refused: it does not.
        """
        return self._loop.call(self._probe())

    def drain(self) -> None:
        """Start no new call; those in flight finish. Questions not asked come back as `INTERRUPTED`."""
        self._stopping = True

    def accept(self) -> None:
        """Take up work again after `drain`."""
        self._stopping = False

    def close(self) -> None:
        """Close the connections."""
        self._loop.call(self._client.close())

    async def _ask_all(self, questions: Sequence[Question], finished: Finished) -> list[Outcome]:
        async def one(index: int, question: Question) -> Outcome:
            outcome = await self._ask(question)
            finished(index, outcome)
            return outcome

        return list(await asyncio.gather(*(one(index, question) for index, question in enumerate(questions))))

    async def _ask(self, question: Question) -> Outcome:
        used = Usage()
        while True:
            try:
                reply = await self._reply(question.prompt)
            except _Refusal as error:
                return Failure(error.kind, str(error), usage=used)
            except (Unavailable, _OtherDialect) as error:
                kind = INTERRUPTED if self._stopping else "model unavailable"
                return Failure(kind, str(error), retryable=True, usage=used)
            used += reply.usage
            read = question.read(replace(reply, usage=used))
            if not isinstance(read, Prompt):
                return read
            question = question.again(read)

    async def _reply(self, prompt: Prompt) -> Reply:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((Unavailable, _OtherDialect)),
            stop=self._enough,
            wait=self._wait,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._call(prompt)
        raise AssertionError("tenacity returns or raises")

    def _enough(self, state: RetryCallState) -> bool:
        return self._stopping or state.attempt_number >= self._attempts

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _OtherDialect) or (isinstance(error, Unavailable) and error.retry_after is not None):
            return 0.0  # the gate holds everybody for as long as the server asked
        return float(min(0.25 * 2**state.attempt_number, _LONGEST_BACKOFF) * (0.5 + self._random.random()))

    async def _call(self, prompt: Prompt) -> Reply:
        dialect = self._dialects.setdefault(prompt.model, _Dialect())
        async with self._slots:
            await self._gate.permit()
            if self._stopping:
                raise Unavailable("the service is stopping")
            body = dialect.body(prompt)
            try:
                answer = await self._client.post("/chat/completions", body=body, cast_to=httpx2.Response)
            except openai.APIStatusError as error:
                raise await self._refusal(error, dialect, body) from None
            except openai.APIConnectionError as error:  # a timeout is one too
                raise Unavailable(f"the model API does not answer ({type(error).__name__})") from None
        return self._read(answer.content, prompt.model)

    def _read(self, content: bytes, asked: str) -> Reply:
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text = choice["message"].get("content") or choice["message"].get("refusal") or ""
            used = answer.get("usage") or {}
            read, written = int(used.get("prompt_tokens") or 0), int(used.get("completion_tokens") or 0)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise Unavailable("the model API answered without a choice") from None
        model = str(answer.get("model") or asked)
        price = self._prices.get(asked) or self._prices.get(model)
        usd = price.cost(read, written) if price else 0.0
        return Reply(text, model, str(choice.get("finish_reason") or ""), Usage(model, 1, read, written, usd))

    async def _refusal(
        self, error: openai.APIStatusError, dialect: _Dialect, body: Mapping[str, Any]
    ) -> EvaluatorError:
        status, code = error.status_code, str(error.code or "")
        if status == 429 and code != "insufficient_quota":
            pause = _seconds(error.response.headers.get("retry-after"))
            if pause is not None:
                await self._gate.pause(pause)
            return Unavailable("the model API's rate limit is reached", pause)
        if status >= 500 or status in {408, 409}:
            return Unavailable(f"the model API answered {status}")
        if status == 400 and dialect.learn(body, str(error.body).lower()):
            _log.info("the model's server does not know what was sent; it is left out", model=body["model"])
            return _OtherDialect("asked again in another form")
        # The server's own words may quote the prompt: they stay out of errors and logs.
        return _Refusal(
            _KINDS.get(code) or _KINDS.get(str(status), "request refused"), f"status {status} {code}".strip()
        )

    async def _probe(self) -> str:
        try:
            answer = await self._client.get("/models", cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            if error.status_code in {404, 405}:
                return "answers; it lists no models"
            raise Refused(f"the model API answered {error.status_code}; check OPENAI_API_KEY") from None
        except openai.APIConnectionError:
            raise Unavailable(f"{self._client.base_url} does not answer; check OPENAI_BASE_URL") from None
        listed = orjson.loads(answer.content).get("data") or []
        return f"{self._client.base_url} answers, {len(listed)} models"


_KINDS: Final = {
    "insufficient_quota": "quota exhausted",
    "context_length_exceeded": "context too long",
    "401": "model refused",
    "403": "model refused",
    "404": "model refused",
}


async def _connected(base_url: str, api_key: str, timeout: float) -> openai.AsyncOpenAI:  # noqa: ASYNC109 - of each call
    # Made on the loop it is used on: the transport belongs to one event loop.
    client = openai.DefaultAioHttpClient(timeout=timeout)
    return openai.AsyncOpenAI(base_url=base_url, api_key=api_key, http_client=client, max_retries=0, timeout=timeout)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(max(float(text), 0.05), _LONGEST_PAUSE)
    except ValueError:
        return None
