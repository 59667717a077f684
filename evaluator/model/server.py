"""One OpenAI-compatible server: sends prompts in a form it understands, sorts refusals, counts what answers cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import openai
import orjson
import structlog

from evaluator.errors import Refused, Unavailable
from evaluator.limits import TokenGate
from evaluator.model.completion import Dialect, complaint, read, refusal
from evaluator.model.concurrency import Slots
from evaluator.model.rate_headers import exhausted
from evaluator.model.transport import Transport
from evaluator.model.waits import Waits
from judges import Price, Prompt, Reply

_PROBE_SECONDS: Final = 10.0

_OVERRUN: Final = frozenset({429, 503, 529})
"""Refusals for want of room."""

_log = structlog.get_logger(__name__)


class Server:
    """Sends one prompt at a time. Made on the event loop it is used on: its connections belong to that loop."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        gate: TokenGate,
        prices: Mapping[str, Price],
        timeout: float,
    ) -> None:
        """Talk to `base_url`; `timeout` in seconds for one request, from sending to the last byte.

        Raises:
            ConfigError: `base_url` is no address, or holds a password.
        """
        self._transport = Transport(base_url, api_key, timeout)
        self._gate = gate
        self._prices = prices
        self._dialects: dict[str, Dialect] = {}

    async def reply(self, prompt: Prompt, waits: Waits, slots: Slots) -> Reply:
        """Send a prompt, again without what the server does not understand, and return its reply.

        Waiting for the provider's limits is one of `waits`.

        What was left out is remembered only when that helped: a complaint may quote a trace that holds these words.

        Raises:
            Unavailable: no answer now; the gate holds everybody when the server asked for it.
            FinalRefusal: never an answer to this.
        """
        known = dialect = self._dialects.get(prompt.model, Dialect())
        reserved = prompt.likely_tokens if self._gate.counts_tokens else 0
        while True:
            try:
                content = await self._post(dialect.body(prompt), reserved, waits, slots)
                break
            except openai.APIStatusError as error:
                simpler = dialect.without(complaint(error))
                if simpler is None:
                    raise await self._refused(error) from None
                dialect = simpler
        if dialect != known:
            self._remember(prompt.model, dialect)
        reply = read(content, prompt.model)
        if reserved:
            self._gate.used(reserved, reply.usage.input_tokens + reply.usage.output_tokens or reserved)
        return self._priced(reply, prompt.model)

    def knows_price(self, asked: str, answered: str) -> bool:
        """Whether anybody told the price of a model, under the name asked for or the one that answered."""
        return asked in self._prices or answered in self._prices

    def most(self, prompt: Prompt) -> float:
        """Return what one call may cost at most, in USD; 0 when nobody told the price."""
        price = self._prices.get(prompt.model)
        return price.cost(prompt.most_input_tokens, prompt.max_output_tokens) if price else 0.0

    async def probe(self) -> str:
        """Say whether the server answers and takes the key.

        Raises:
            Unavailable: it does not answer, or not now.
            Refused: it does not take the key.
        """
        place = self._transport.place
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                answer = await self._transport.get("/models")
        except openai.APIStatusError as error:
            return _without_models(place, error.status_code)
        except (TimeoutError, Unavailable):
            raise Unavailable(f"{place} does not answer; check OPENAI_BASE_URL") from None
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            return f"{place} answers, {len(orjson.loads(answer)['data'])} models"
        return _without_models(place, 404)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _post(self, body: Mapping[str, Any], tokens: int, waits: Waits, slots: Slots) -> bytes:
        with waits:
            await self._gate.permit(tokens)
        time, pause = asyncio.get_running_loop().time, 0.0

        def heard(headers: Mapping[str, str]) -> None:
            nonlocal pause
            pause = exhausted(headers, tokens or 1) or 0.0

        began = time()
        try:
            content = await self._transport.post("/chat/completions", body, heard)
        except openai.APIStatusError as error:
            if error.status_code in _OVERRUN:
                slots.refused()
            if tokens:
                self._gate.used(tokens, 0)
            raise
        except Unavailable:
            slots.unanswered(time() - began)
            raise
        slots.answered(time() - began)
        if pause:
            await self._gate.pause(pause)
        return content

    async def _refused(self, error: openai.APIStatusError) -> Exception:
        sorted_out = refusal(error)
        if isinstance(sorted_out, Unavailable) and sorted_out.retry_after is not None:
            await self._gate.pause(sorted_out.retry_after)
        return sorted_out

    def _remember(self, model: str, dialect: Dialect) -> None:
        if self._dialects.get(model) != dialect:
            self._dialects[model] = dialect
            _log.info("the model's server does not know all that was sent", model=model, understands=str(dialect))

    def _priced(self, reply: Reply, asked: str) -> Reply:
        usage = reply.usage
        price = self._prices.get(asked) or self._prices.get(usage.model)
        usd = price.cost(usage.input_tokens, usage.output_tokens) if price else 0.0
        return replace(reply, usage=replace(usage, usd=usd))


def _without_models(place: str, status: int) -> str:
    if status in {401, 403}:
        raise Refused(f"{place} answered {status}; check OPENAI_API_KEY")
    if status in {404, 405}:
        return f"{place} answers, but lists no models; does OPENAI_BASE_URL end as it must, usually /v1?"
    raise Unavailable(f"{place} answered {status}")
