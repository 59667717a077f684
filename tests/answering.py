"""A model API that answers what a test tells it to, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from aiohttp import web

from evaluator.loop import LoopThread
from evaluator.model import ModelApi
from judges import NumericScale, Prompt, Question
from judges.asking import answer_schema
from traces import Failure, Outcome

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]
Open = Callable[..., ModelApi]

KEY: Final = "sk-secret-4711"
CONTENT: Final = "the patient's name is Ada"
FIVE: Final = NumericScale(type="numeric", min=1, max=5)


def says(
    text: str | None,
    finish: str = "stop",
    *,
    model: str = "gpt-2026",
    read: int = 100,
    written: int = 20,
    told: dict[str, Any] | None = None,
    **more: Any,
) -> Act:
    """Answer with a completion that holds `text`; what is `told` of it stands beside the message."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message, **(told or {})}
    usage = {"prompt_tokens": read, "completion_tokens": written}
    return sends(200, {"model": model, "choices": [choice], "usage": usage, **more})


def scores(score: Any, reasoning: str = "Because.", **more: Any) -> Act:
    """Answer with a verdict."""
    return says(json.dumps({"reasoning": reasoning, "score": score}), **more)


def refuses(status: int, message: str = "No.", *, code: str | None = None, **headers: str) -> Act:
    """Answer with an error; underscores in the names of headers stand for hyphens."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return sends(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def refusing(*words: str) -> Act:
    """Refuse requests that hold any of these parameters or forms, as an older server does."""

    async def act(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        form = body.get("response_format", {}).get("type", "text")
        for word in words:
            if word in body:
                return await refuses(400, f"Unknown parameter: '{word}'.")(request)
            if word == form:
                return await refuses(400, f"'response_format' of type '{word}' is not supported.")(request)
        return await scores(4)(request)

    return act


def sends(status: int, body: Any, headers: dict[str, str] | None = None) -> Act:
    """Answer with any body."""

    async def act(_request: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    return act


async def resets(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """Promise a long answer and close the connection in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.abort()
    return response


async def trickles(request: web.Request) -> web.StreamResponse:
    """Send a blank now and then, for ever: no read of it ever times out."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


class Answering:
    """The server: acts from `script` come first, one a request, then `always`; a held one waits for `release`."""

    def __init__(self) -> None:
        self.script: list[Act] = []
        self.always: Act = scores(4)
        self.models: Act = sends(200, {"data": [{"id": "gpt"}]})
        self.requests: list[dict[str, Any]] = []
        self.keys: Counter[str] = Counter()
        self.paths: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._loop = LoopThread("answering")
        self._held: asyncio.Event | None = None
        self._runner: web.AppRunner | None = None

    def hold(self) -> None:
        """Let every request wait."""
        self._loop.call(self._set_held(asyncio.Event()))

    def release(self) -> None:
        """Answer those that wait, and do not hold any more."""
        self._loop.call(self._set_held(None))

    def __enter__(self) -> Self:
        self.port = self._loop.call(self._serve())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        if self._runner is not None:
            self._loop.call(self._runner.cleanup())
        self._loop.close()

    async def _set_held(self, event: asyncio.Event | None) -> None:
        before, self._held = self._held, event
        if before is not None:
            before.set()

    async def _serve(self) -> int:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/openai/deployments/{name}/chat/completions", self._complete)
        app.router.add_get("/openai/models", self._list)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return await self.models(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(json.loads(await request.read()))
        self.keys[request.headers.get("Authorization", request.headers.get("api-key", ""))] += 1
        self.paths.append(request.path_qs)
        act = self.script.pop(0) if self.script else self.always
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self._held is not None:
                await self._held.wait()
            return await act(request)
        finally:
            self.in_flight -= 1


class Gate:
    """Counts permits and notes pauses; may be closed."""

    def __init__(self) -> None:
        self.permits = 0
        self.pauses: list[float] = []
        self.sizes: list[int] = []
        self.tokens: list[tuple[int, int]] = []
        self.counts_tokens = False
        self.closed = False
        self.error: Exception | None = None

    def ended(self, model: str, seconds: float, how: str) -> None:
        pass

    def used(self, reserved: int, tokens: int) -> None:
        """Note what was used of what was reserved."""
        self.tokens.append((reserved, tokens))

    async def permit(self, tokens: int = 0) -> None:
        """Let one request pass."""
        if self.error is not None:
            raise self.error
        if self.closed:
            await asyncio.Event().wait()
        self.sizes.append(tokens)
        self.permits += 1

    async def pause(self, seconds: float) -> None:
        """Note the pause."""
        self.pauses.append(seconds)


def question(text: str = CONTENT, model: str = "gpt", **changes: Any) -> Question:
    """Return a question about `text`."""
    prompt = Prompt(model, "Judge, in JSON.", text, answer_schema(FIVE), max_output_tokens=100)
    return Question(prompt, FIVE, **changes)


def ask(api: ModelApi, *questions: Question, patience: float | None = None) -> list[Outcome]:
    """Ask, by default one question, and return the outcomes in its order."""
    ended = dict(each for lot in api.ask(questions or [question()], patience) for each in lot)
    return [ended[index] for index in range(len(ended))]


def failure(api: ModelApi, *questions: Question) -> Failure:
    """Ask and return the first outcome, which must be a failure."""
    outcome = ask(api, *questions)[0]
    assert isinstance(outcome, Failure)
    return outcome
