"""One OpenAI-compatible server: sends prompts in a form it understands, sorts refusals, counts what answers cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
import structlog

from evaluator.errors import Refused, Unavailable
from evaluator.limits import ANSWERED, NO_ANSWER, TokenGate
from evaluator.model.completion import Dialect, FinalRefusal, StatusError, complaint, read, refusal
from evaluator.model.concurrency import Slots
from evaluator.model.endpoint import Endpoint
from evaluator.model.journal import Sent, sending
from evaluator.model.rate_headers import exhausted
from evaluator.model.transport import Transport
from evaluator.model.waits import Waits
from judges import NO_LOGPROBS, UNTOLD_LOGPROBS, Price, Prompt, Reply

_PROBE_SECONDS: Final = 10.0

_OVERRUN: Final = frozenset({429, 503, 529})
"""Refusals for want of room."""

_log = structlog.get_logger(__name__)


class Server:
    """Sends one prompt at a time. Made on the event loop it is used on: its connections belong to that loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        gate: TokenGate,
        prices: Mapping[str, Price],
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Talk to an endpoint, within the limits of `gate`.

        Args:
            endpoint: where it is.
            gate: its limits.
            prices: USD per million tokens, by model.
            names: what the server calls models, where it is not what rubrics call them.

        Raises:
            ConfigError: its address is none, or holds a password.
        """
        self._endpoint = endpoint
        self._transport = Transport(endpoint)
        self._names = names or {}
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
        name = self._named(prompt.model)
        reserved = prompt.likely_tokens if self._gate.counts_tokens else 0
        while True:
            try:
                body = {**dialect.body(prompt), "model": name}
                content, sent = await self._post(prompt, name, body, reserved, waits, slots)
                break
            except StatusError as error:
                simpler = dialect.without(complaint(error), logprobs=prompt.logprobs)
                if simpler is None:
                    raise await self._refused(error) from None
                if prompt.logprobs and not simpler.logprobs:
                    raise FinalRefusal(NO_LOGPROBS, UNTOLD_LOGPROBS) from None
                dialect = simpler
        if dialect != known:
            self._remember(prompt.model, dialect)
        try:
            price = self._prices.get(prompt.model)
            reply = read(content, name, self._prices.get if price is None else lambda _: price)
        except Unavailable as error:
            sent.failed = str(error)
            raise
        if reserved:
            self._gate.used(reserved, reply.usage.input_tokens + reply.usage.output_tokens or reserved)
        sent.reply, sent.failed = reply, ""
        return reply

    def knows_price(self, asked: str, answered: str) -> bool:
        """Whether anybody told the price of a model, under the name asked for or the one that answered."""
        return asked in self._prices or answered in self._prices

    def place(self, model: str) -> str:
        """Return where a model is and what it is called there."""
        return f"{self._endpoint.base_url} {self._endpoint.api_version} {self._named(model)}"

    def most(self, prompt: Prompt) -> float:
        """Return what one call may cost at most, in USD; 0 when nobody told the price."""
        price = self._prices.get(prompt.model)
        return price.cost(prompt.most_input_tokens, prompt.max_output_tokens) if price else 0.0

    async def probe(self, models: Collection[str] = ()) -> str:
        """Say whether the server answers, takes the key and lists `models`.

        Raises:
            Unavailable: it does not answer, or not now.
            Refused: it does not take the key.
        """
        place = self._transport.place
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                answer = await self._transport.get("/models")
        except StatusError as error:
            return self._without_models(place, error.status)
        except (TimeoutError, Unavailable):
            raise Unavailable(f"{place} does not answer; check {self._endpoint.address_in}") from None
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            listed = {str(each["id"]) for each in orjson.loads(answer)["data"]}
            return f"{place} answers, {len(listed)} models{_not_among(listed, [self._named(m) for m in models])}"
        return self._without_models(place, 404)

    async def open(self) -> None:
        """Open the way to the server now, rather than with the first call."""
        self._transport.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _post(
        self, prompt: Prompt, model: str, body: Mapping[str, Any], tokens: int, waits: Waits, slots: Slots
    ) -> tuple[bytes, Sent]:
        with waits:
            await self._gate.permit(tokens)
        time, pause = asyncio.get_running_loop().time, 0.0

        def heard(headers: Mapping[str, str]) -> None:
            nonlocal pause
            pause = exhausted(headers, tokens or 1) or 0.0

        sent = sending(prompt, model, time())
        try:
            content = await self._transport.post(self._endpoint.chat(model), body, heard)
        except StatusError as error:
            sent.failed = f"status {error.status}"
            self._gate.ended(model, sent.lasted(time()), str(error.status))
            if error.status in _OVERRUN:
                slots.refused()
            if tokens:
                self._gate.used(tokens, 0)
            raise
        except Unavailable as error:
            sent.failed = str(error)
            seconds = sent.lasted(time())
            self._gate.ended(model, seconds, NO_ANSWER)
            slots.unanswered(seconds)
            raise
        seconds = sent.lasted(time())
        self._gate.ended(model, seconds, ANSWERED)
        slots.answered(seconds)
        if pause:
            await self._gate.pause(pause)
        return content, sent

    async def _refused(self, error: StatusError) -> Exception:
        sorted_out = refusal(error, self._endpoint.address_in, self._endpoint.key_in)
        if isinstance(sorted_out, Unavailable) and sorted_out.retry_after is not None:
            await self._gate.pause(sorted_out.retry_after)
        return sorted_out

    def _remember(self, model: str, dialect: Dialect) -> None:
        if self._dialects.get(model) != dialect:
            self._dialects[model] = dialect
            _log.info("the model's server does not know all that was sent", model=model, understands=str(dialect))

    def _named(self, model: str) -> str:
        return self._names.get(model, model)

    def _without_models(self, place: str, status: int) -> str:
        if status in {401, 403}:
            raise Refused(f"{place} answered {status}; check {self._endpoint.key_in}")
        if status in {404, 405}:
            ends = f"does {self._endpoint.address_in} end as it must, usually /v1?"
            return f"{place} answers, but lists no models; {ends}"
        raise Unavailable(f"{place} answered {status}")


def _not_among(listed: Collection[str], models: Sequence[str]) -> str:
    """Say which models a server does not list. It may have them all the same, under another name or a tag."""
    missing = [model for model in models if model not in listed and f"{model}:latest" not in listed]
    return f", but none is listed as {', '.join(map(repr, missing))}" if missing else ""
