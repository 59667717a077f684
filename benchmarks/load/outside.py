"""Stand-ins for Langfuse and the model API that hold no traffic: every page is made when it is asked for.

`python -m benchmarks.load.outside` prints one JSON line with its address and serves until it is ended.
`POST /_reset` starts a new world (the fields of `Setting`), `GET /_counts` tells what arrived.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from benchmarks.keep_alive import listen
from benchmarks.load.world import LASTS, TICKET, Rows, Rush, Shape, World, number_of
from sandbox.langfuse.answers import Refusal
from sandbox.langfuse.limits import Bucket, RateLimiter

_API: Final = b"/api/public/"
_MOST_BYTES: Final = 5_000_000
"""Langfuse Cloud answers with no more."""


def _completion(mark: int) -> bytes:
    message = {"role": "assistant", "content": json.dumps({"reasoning": "It names the days.", "score": mark})}
    answer = {
        "id": "chatcmpl-load",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.4-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 820, "completion_tokens": 60, "total_tokens": 880},
    }
    return orjson.dumps(answer)


_COMPLETIONS: Final = {mark: _completion(mark) for mark in range(1, 6)}
_USUAL_MARK: Final = 4
_ASKED: Final = re.compile(rb"%s([0-9a-f]{12})" % TICKET.encode())
_HEALTH: Final = b'{"status":"OK","version":"4.60.0"}'
_PROJECTS: Final = b'{"data":[{"id":"load","name":"Load","organization":{"id":"o","name":"o"},"metadata":{}}]}'


@dataclass(slots=True)
class Setting:
    """How the outside is set up.

    Attributes:
        first: when the first trace ended, seconds since 1970; `step`, `count`, `shapes` and `doubled` as in `World`.
        requests_per_minute: Langfuse's limit a window; None: none.
        window_seconds: length of that window.
        latency: seconds a model call takes; `langfuse_latency` those of a request to Langfuse.
        too_large: status of an answer that has more bytes than Langfuse sends.
        rush: start, end and times of `Rush`; None: none.
        weighs: name of the score whose values and inclusion probabilities are added up; empty: none is.
        keep_ids: whether to tell scores apart by id, which costs memory.
    """

    first: float = 0.0
    step: float = 1.0
    count: int | None = 0
    shapes: Sequence[tuple[int, int] | tuple[int, int, bool]] = field(default_factory=lambda: [(6, 800)])
    doubled: int = 0
    requests_per_minute: int | None = None
    window_seconds: float = 60.0
    latency: float = 0.0
    langfuse_latency: float = 0.0
    keep_ids: bool = True
    too_large: int = 413
    rush: tuple[float, float, float] | None = None
    weighs: str = ""

    def world(self) -> World:
        """Return the traffic."""
        shapes = tuple(Shape(*shape) for shape in self.shapes)
        rush = None if self.rush is None else Rush(*self.rush)
        return World(self.first, self.step, self.count, shapes, self.doubled, rush)


def response(body: bytes, status: int = 200, headers: str = "") -> bytes:
    """Return an answer as it goes over the wire."""
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class Observations:
    """Answers `v2/observations`."""

    def __init__(self, world: World, too_large: int) -> None:
        self._world = world
        self._rows = Rows(world)
        self._too_large = too_large
        self.too_large = 0

    def page(self, query: dict[str, str], now: float) -> bytes:
        """Return a page, or refuse it when it is more than Langfuse answers at once."""
        conditions = {
            (each["column"], each.get("operator", "")[:1]): each["value"]
            for each in json.loads(query.get("filter", "[]"))
        }
        limit, cursor = int(query.get("limit", "50")), query.get("cursor")
        ids = conditions.get(("traceId", "a"))
        if ids is not None and query.get("isRootObservation") != "true":
            rows, after = self._whole(ids, int(cursor or 0), limit)
        else:
            start, end = (_seconds(conditions.get(("endTime", sign))) for sign in "><")
            least, most = (_seconds(conditions.get(("startTime", sign))) for sign in "><")
            found = self._world.between(max(start, least + LASTS), min(end or now, (most or now) + LASTS), now)
            rows, after = self._roots(found, cursor, limit)
        meta = b'{"cursor":"%d"}' % after if after is not None else b"{}"
        body = b'{"data":[' + b",".join(rows) + b'],"meta":' + meta + b"}"
        if len(body) > _MOST_BYTES:
            self.too_large += 1
            raise Refusal(self._too_large, {"message": "Response too large"})
        return response(body)

    def _roots(self, found: range, cursor: str | None, limit: int) -> tuple[list[bytes], int | None]:
        newest = found.stop - 1 if cursor is None else int(cursor)
        rows: list[bytes] = []
        for number in range(newest, found.start - 1, -1):
            if len(rows) >= limit:
                return rows, number
            rows.append(self._rows.root(number))
            later = self._world.older_row_of(number)
            if later is not None:
                rows.append(self._rows.root(later, at=number))
        return rows, None

    def _whole(self, ids: list[str], place: int, limit: int) -> tuple[list[bytes], int | None]:
        """Return the rows of whole traces; the newest trace first, as the storage has them when none overlap."""
        numbers = sorted((number_of(each) for each in ids), reverse=True)
        rows = (body for number in numbers for _, body in self._rows.whole(number))
        page = list(islice(rows, place, place + limit + 1))
        return page[:limit], place + limit if len(page) > limit else None


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


class Outside:
    """Both stand-ins behind one port."""

    def __init__(self) -> None:
        self.reset(Setting())

    def reset(self, setting: Setting) -> None:
        """Forget what came and start a new world."""
        self._setting = setting
        self._world = setting.world()
        self._observations = Observations(self._world, setting.too_large)
        self._limiter = RateLimiter()
        self._requests: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._ids: set[tuple[str, str]] = set()
        self._first = self._last = 0.0
        self._lag = self._worst_lag = 0.0
        self._ages: list[float] = []
        self._sums: Counter[str] = Counter()

    def answer(self, method: bytes, target: bytes, body: bytes) -> tuple[float, bytes]:
        """Answer one request."""
        if target.startswith(b"/_"):
            return 0.0, self._control(target, body)
        self._first = self._first or time.perf_counter()
        if target.endswith(b"/chat/completions"):
            self._requests["model"] += 1
            asked = _ASKED.search(body)
            mark = self._world.mark(int(asked[1], 16)) if asked is not None else _USUAL_MARK
            return self._setting.latency, response(_COMPLETIONS[mark])
        path, _, query = target.removeprefix(_API).partition(b"?")
        self._requests[f"{method.decode()} {path.decode()}"] += 1
        try:
            return self._setting.langfuse_latency, self._langfuse(method, path, query.decode(), body)
        except Refusal as refusal:
            headers = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers.items())
            return 0.0, response(orjson.dumps(refusal.body), refusal.status, headers)

    def _langfuse(self, method: bytes, path: bytes, query: str, body: bytes) -> bytes:
        if path == b"health":
            return response(_HEALTH)
        if path == b"projects":
            return response(_PROJECTS)
        setting, now = self._setting, time.time()
        self._limiter.take(Bucket.GENERAL, setting.requests_per_minute, setting.window_seconds, round(now * 1000))
        if path == b"v2/observations":
            return self._observations.page(dict(parse_qsl(query)), now)
        if path == b"v3/scores":
            return response(b'{"data":[],"meta":{}}')
        if path == b"scores" and method == b"POST":
            return self._take(body, now)
        return response(b'{"message":"no such route"}', 404)

    def _take(self, body: bytes, now: float) -> bytes:
        self._last = time.perf_counter()
        read = orjson.loads(body)
        scores = read if isinstance(read, list) else [read]
        for score in scores:
            self._names[score["name"]] += 1
            if score["name"] == self._setting.weighs and (score["id"], score["name"]) not in self._ids:
                self._weigh(score, now)
            if self._setting.keep_ids:
                self._ids.add((score["id"], score["name"]))
        self._lag = now - _seconds(scores[-1]["timestamp"])
        self._worst_lag = max(self._worst_lag, self._lag)
        return response(b'{"message":"Accepted"}', 202) if isinstance(read, list) else response(b'{"id":"accepted"}')

    def _weigh(self, score: dict[str, Any], now: float) -> None:
        """Add a score to the sums of an estimate: each stands for as many as were left out beside it."""
        value, chance = float(score["value"]), float(score["metadata"]["inclusion_probability"])
        uncertain = (1 - chance) / chance**2
        self._ages.append(now - _seconds(score["timestamp"]))
        for name, number in (
            ("number", 1.0),
            ("values", value),
            ("weights", 1 / chance),
            ("weighted", value / chance),
            ("uncertain", uncertain),
            ("uncertain_values", uncertain * value),
            ("uncertain_squares", uncertain * value**2),
        ):
            self._sums[name] += number  # type: ignore[assignment] # weights are added up too

    def _control(self, target: bytes, body: bytes) -> bytes:
        if target == b"/_reset":
            self.reset(Setting(**orjson.loads(body)))
            return response(b"{}")
        counts = {
            "requests": dict(self._requests),
            "scores": dict(self._names),
            "ids": len(self._ids),
            "refused": self._limiter.refused,
            "too_large": self._observations.too_large,
            "seconds": self._last - self._first,
            "lag": self._lag,
            "worst_lag": self._worst_lag,
            "age": statistics.median(self._ages) if self._ages else 0.0,
            "sums": dict(self._sums),
        }
        self._ages.clear()
        return response(orjson.dumps(counts))


async def serve() -> None:
    """Serve until the process is told to end."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    port = await listen(Outside().answer)
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await told.wait()


if __name__ == "__main__":
    asyncio.run(serve())
