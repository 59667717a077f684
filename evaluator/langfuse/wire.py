"""Requests to Langfuse: authentication, retries by class of failure, one pause for the whole fleet."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar

import aiohttp

from evaluator.errors import ConfigError, EvaluatorError, Problem, Refused, Unavailable
from evaluator.http import TooLarge, content_of, open_session
from evaluator.limits import Gate
from traces import TooDeep, parsed_json

LARGEST_ANSWER: Final = 64 << 20
"""Bytes of an answer; Cloud stops at 5 MB, a Langfuse of one's own may not."""

_LONGEST_PAUSE: Final = 300.0
_LONGEST_WORDS: Final = 200
"""Characters of a refusal's own words that go into errors, logs and dead letters."""

_LATELY_SECONDS: Final = 60.0
_TROUBLE_SECONDS: Final = 5.0

Params = Sequence[tuple[str, str]]
T = TypeVar("T")


class TooWide(EvaluatorError):
    """Langfuse ran out of resources (422), or cannot even answer with one row: ask for less at once."""


class TooLong(TooWide):
    """The answer has more bytes than may be: the same again in smaller pages."""


class ArrayRefused(EvaluatorError):
    """This Langfuse takes one score a request."""


class Wire:
    """One HTTP session; every method runs on the event loop."""

    def __init__(
        self,
        base_url: str,
        public_key: str,
        secret_key: str,
        *,
        gate: Gate,
        random: Random,
        timeout: float,
        attempts: int,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        key = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
        self._headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
        self._gate = gate
        self._random = random
        self._timeout = timeout
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None
        self._heard: float | None = None

    async def trouble(self) -> str:
        """Return why Langfuse does not answer now, empty when it does; it is asked when nobody heard of it lately."""
        time = asyncio.get_running_loop().time
        if self._heard is not None and time() - self._heard < _LATELY_SECONDS:
            return ""
        try:
            async with asyncio.timeout(_TROUBLE_SECONDS):
                await self._once("GET", "health", json_object, (), None)
        except TimeoutError:
            return f"Langfuse at {self.base_url} does not answer within {_TROUBLE_SECONDS:g} s"
        except EvaluatorError as error:
            return str(error)
        return ""

    async def get(self, path: str, params: Params = ()) -> Any:
        """Return the JSON answer of GET /api/public/PATH."""
        answer, _ = await self.get_sized(path, params, json_object)
        return answer

    async def get_sized(self, path: str, params: Params, read: Callable[[bytes], T]) -> tuple[T, int]:
        """Return what `read` makes of the answer of GET /api/public/PATH, and its length in bytes.

        An answer it cannot read (ValueError) is none: the request is sent again.
        """
        _, answer, length = await self._send("GET", path, read, params=params)
        return answer, length

    async def post(self, path: str, body: bytes) -> int:
        """Return the status of POST /api/public/PATH."""
        status, _, _ = await self._send("POST", path, json_object, body=body)
        return status

    async def post_once(self, path: str, body: bytes) -> Any:
        """Send POST /api/public/PATH, and never again by itself: what is sent twice is there twice."""
        _, answer, _ = await self._once("POST", path, json_object, (), body)
        return answer

    async def _send(
        self, method: str, path: str, read: Callable[[bytes], T], *, params: Params = (), body: bytes | None = None
    ) -> tuple[int, T, int]:
        """Send a request, again and again while Langfuse is unavailable."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(method, path, read, params, body)
            except Unavailable as error:
                # A loop of our own: the error that ends one of tenacity's holds itself, and with it all that was read.
                if attempt >= self._attempts:
                    raise
                seconds = self._wait(error, attempt)
            await asyncio.sleep(seconds)

    def _wait(self, error: Unavailable, attempt: int) -> float:
        if error.retry_after is not None:
            return 0.0  # the gate holds everybody
        return float(min(0.25 * 2**attempt, 15.0) * (0.5 + self._random.random()))

    async def _once(
        self, method: str, path: str, read: Callable[[bytes], T], params: Params, body: bytes | None
    ) -> tuple[int, T, int]:
        await self._gate.permit()
        if self._session is None:
            self._session = open_session(self.base_url, self._headers, self._timeout)
        url = f"{self.base_url}/api/public/{path}"
        try:
            async with self._session.request(
                method, url, params=list(params), data=body, allow_redirects=False
            ) as response:
                content = await content_of(response, LARGEST_ANSWER)
                status, reply = response.status, response.headers
        except TooLarge as error:
            raise TooLong(f"Langfuse answered {method} {path} with {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"Langfuse at {self.base_url} does not answer ({type(error).__name__})") from error
        if status == 429:
            pause = _seconds(reply.get("Retry-After"))
            await self._gate.pause(pause)
            raise Unavailable(f"Langfuse's rate limit is reached; it asks for {pause:.0f} s", pause)
        if 300 <= status < 400:
            # Followed, a POST would become a GET, and its answer would pass for a score accepted.
            raise ConfigError([Problem("LANGFUSE_BASE_URL", f"{self.base_url} redirects; set the address it leads to")])
        if status >= 300:
            raise _error_of(method, path, status, content)
        try:
            answer = read(content)
        except TooDeep as error:  # one of the rows alone will be to blame
            raise TooLong(f"what Langfuse answered to {method} {path} is nested too deeply to be read") from error
        except ValueError:  # a web page, or half an answer: nothing is proved by it
            raise Unavailable(
                f"Langfuse answered {status} to {method} {path}, but not in its JSON; check LANGFUSE_BASE_URL"
            ) from None
        self._heard = asyncio.get_running_loop().time()
        return status, answer, len(content)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def json_object(content: bytes) -> Mapping[str, Any]:
    """Read an answer that is a JSON object.

    Raises:
        ValueError: it is something else, such as a proxy's page or half an answer.
    """
    answer = parsed_json(content)
    if isinstance(answer, dict):
        return answer
    raise ValueError("no JSON object")


def _error_of(method: str, path: str, status: int, content: bytes) -> EvaluatorError:
    """Return what the caller must do about an answer that refuses."""
    try:
        answer = json_object(content)
    except ValueError:
        answer = {}
    said = " ".join(str(answer.get("message", "")).split())[:_LONGEST_WORDS]
    what = f"Langfuse answered {status} to {method} {path}: {said}"
    if status in {401, 403}:
        return ConfigError([Problem("LANGFUSE_SECRET_KEY", f"{what}; check LANGFUSE_PUBLIC_KEY, LANGFUSE_BASE_URL")])
    if status == 413:
        return TooLong(what)
    if status == 422:
        return TooWide(what)
    if status >= 500 or status == 408:
        return Unavailable(what)
    if status == 400 and method == "POST" and _wants_object(answer):
        return ArrayRefused(what)
    return Refused(what)


def _wants_object(answer: Mapping[str, Any]) -> bool:
    """Whether a validation error says that an array came where one object was expected; zod says it in two forms."""
    issues = answer.get("error")
    return isinstance(issues, list) and any(
        isinstance(issue, Mapping)
        and (issue.get("received") == "array" or "received array" in str(issue.get("message", "")))
        for issue in issues
    )


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or 1)
    except ValueError:
        return 1.0
    return 1.0 if math.isnan(seconds) else min(max(seconds, 0.05), _LONGEST_PAUSE)
