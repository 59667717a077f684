"""What the sandbox adds to Langfuse under /_sandbox/: counts, bulk loading, settings. No key needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from sandbox.faults import CONTROL
from sandbox.langfuse.answers import answer, bad_request

if TYPE_CHECKING:
    from sandbox.langfuse.stand_in import LangfuseStandIn


def add_control(app: web.Application, langfuse: LangfuseStandIn) -> None:
    """Add GET counts and scores, POST load, behaviour and reset to `app`."""

    async def counts(_request: web.Request) -> web.StreamResponse:
        return answer(langfuse.counts())

    async def scores(_request: web.Request) -> web.StreamResponse:
        return answer(langfuse.all_scores())

    async def load(request: web.Request) -> web.StreamResponse:
        return answer(load_lines(langfuse, await request.read()))

    async def behaviour(request: web.Request) -> web.StreamResponse:
        try:
            langfuse.behaviour.change(orjson.loads(await request.read()))
        except (ValueError, AttributeError) as error:
            bad_request(str(error))
        return answer(asdict(langfuse.behaviour))

    async def reset(_request: web.Request) -> web.StreamResponse:
        langfuse.reset()
        return answer({})

    app.router.add_get(f"{CONTROL}counts", counts)
    app.router.add_get(f"{CONTROL}scores", scores)
    app.router.add_post(f"{CONTROL}load", load)
    app.router.add_post(f"{CONTROL}behaviour", behaviour)
    app.router.add_post(f"{CONTROL}reset", reset)


def load_lines(langfuse: LangfuseStandIn, lines: bytes) -> dict[str, int]:
    """Store JSON lines and return how many of each kind there were.

    A line with `startTime` is an observation in the API's field names (`visibleAfter`: seconds until it is seen), a
    line with `value` a score as POST /scores takes it.

    Raises:
        Refusal: 400 at the first line that is neither; observations are stored before scores.
    """
    documents = list(_documents(lines))
    try:
        return {
            "observations": langfuse.load_observations(found for found in documents if "startTime" in found),
            "scores": langfuse.load_scores(found for found in documents if "startTime" not in found),
        }
    except (KeyError, ValueError) as error:
        bad_request(f"cannot load: {error!r}")


def _documents(lines: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            bad_request(f"line {number}: {error}")
        if not isinstance(document, dict):
            bad_request(f"line {number} is not an object")
        yield document
