"""HTTP sessions: answers of bounded size, and the proxy the machine is told to use."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from evaluator.http import TooLarge, content_of, open_session

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Ask = Callable[[aiohttp.ClientSession, str], Awaitable[bytes]]


def served(handler: Handler, ask: Ask, *, base_url: str = "") -> bytes:
    """Serve `handler`, and return what `ask` gets with a session for it, or for `base_url`."""

    async def run() -> bytes:
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        if base_url:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HTTP_PROXY", url)
                session = open_session(base_url, {}, 5)
        else:
            session = open_session(url, {"X-Who": "us"}, 5)
        try:
            return await ask(session, base_url or url)
        finally:
            await session.close()
            await runner.cleanup()

    return asyncio.run(run())


def read(most: int) -> Ask:
    async def ask(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.get(url) as response:
            return await content_of(response, most)

    return ask


async def ten(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"0123456789", headers={"X-Saw": request.headers.get("X-Who", "")})


async def a_bomb(request: web.BaseRequest) -> web.StreamResponse:
    small = gzip.compress(bytes(50 << 20))
    assert len(small) < 100_000
    return web.Response(body=small, headers={"Content-Encoding": "gzip"})


async def in_pieces(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"one ", b"two ", b"three"):
        await response.write(piece)
        await asyncio.sleep(0.01)
    return response


def test_an_answer_of_the_size_allowed_is_whole() -> None:
    assert served(ten, read(10)) == b"0123456789"
    assert served(in_pieces, read(100)) == b"one two three"


def test_one_byte_more_is_too_large() -> None:
    with pytest.raises(TooLarge, match="more than 9 bytes"):
        served(ten, read(9))


def test_a_small_answer_that_unpacks_to_a_large_one_is_too_large() -> None:
    with pytest.raises(TooLarge):
        served(a_bomb, read(1 << 20))


def test_the_proxy_of_the_environment_is_used() -> None:
    async def says_where(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.headers["Host"])

    assert served(says_where, read(100), base_url="http://langfuse.example:3000") == b"langfuse.example:3000"


def test_a_host_that_needs_no_proxy_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert served(ten, read(10)) == b"0123456789"
