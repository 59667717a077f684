"""Stand-ins for Langfuse and the model API, in a process of their own and fast enough not to be what is timed.

`python -m benchmarks.outside --traces N` prints one JSON line with its address and serves until it is ended. What the
sandbox is faithful about (limits, errors, duplicates) is left out; what is asked for is really answered: windows,
ids, pages, scores counted by id. `POST /_reset` starts a new run, `GET /_counts` tells what arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from benchmarks.keep_alive import listen, response
from benchmarks.traffic import Stored, StoredTrace, finished_traces, recent

_API: Final = b"/api/public/"
_HEALTH: Final = response(b'{"status":"OK","version":"4.60.0"}')
_PROJECTS: Final = response(
    b'{"data":[{"id":"bench","name":"Bench","organization":{"id":"o","name":"o"},"metadata":{}}]}'
)
_NOTHING: Final = response(b"{}")
_ACCEPTED: Final = response(b'{"message":"Accepted"}', 202)
_UNKNOWN: Final = response(b'{"message":"no such route"}', 404)
_LIMITED: Final = response(b'{"error":{"message":"Rate limit reached.","code":"rate_limit_exceeded"}}', 429)
_BROKEN: Final = response(b'{"error":{"message":"The server had an error.","code":"server_error"}}', 500)
_MOST_QUERIES: Final = 512
_CURSOR: Final = re.compile(rb"&cursor=[^&]*")


@dataclass(slots=True)
class Behaviour:
    """One run: how many traces exist, how the model answers (seconds, sigma of their spread, shares of refusals)."""

    traces: int = 1000
    latency: float = 0.0
    spread: float = 0.0
    limited: float = 0.0
    failing: float = 0.0


class Observations:
    """Answers `v2/observations` from prepared bytes."""

    def __init__(self, traces: list[StoredTrace], visible: int) -> None:
        self._traces = traces[:visible]
        self._by_id = {trace.id: trace for trace in self._traces}
        self._found: dict[bytes, list[bytes]] = {}

    def page(self, query: bytes) -> bytes:
        """Return the page a query asks for; the rows found are kept for the pages that follow."""
        given = dict(parse_qsl(query.decode()))
        place, limit = int(given.pop("cursor", "0")), int(given.get("limit", "50"))
        question = _CURSOR.sub(b"", query)
        found = self._found.get(question)
        if found is None:
            if len(self._found) >= _MOST_QUERIES:
                self._found.clear()
            found = self._found[question] = self._search(given)
        after = place + limit
        meta = b'{"cursor":"%d"}' % after if after < len(found) else b"{}"
        return response(b'{"data":[' + b",".join(found[place:after]) + b'],"meta":' + meta + b"}")

    def _search(self, given: dict[str, str]) -> list[bytes]:
        conditions = [each for each in json.loads(given.get("filter", "[]")) if isinstance(each, dict)]
        ids = next((each["value"] for each in conditions if each["column"] == "traceId"), None)
        roots = given.get("isRootObservation") == "true" or any(c["column"] == "isRootObservation" for c in conditions)
        traces = self._traces if ids is None else [self._by_id[each] for each in ids if each in self._by_id]
        rows = [trace.root for trace in traces] if roots else [o for trace in traces for o in trace.observations]
        for each in conditions:
            if each["type"] == "datetime":
                rows = _within(rows, each["column"], each["operator"], each["value"])
        rows.sort(key=attrgetter("start"), reverse=True)
        return [row.full for row in rows] if "io" in given.get("fields", "") else [row.lean for row in rows]


def _within(rows: list[Stored], column: str, operator: str, moment: str) -> list[Stored]:
    """Keep the rows in time; as texts, moments in one form and zone stand in their order up to the second."""
    at = moment[:23]
    of = attrgetter({"startTime": "start", "endTime": "end"}[column])
    return [row for row in rows if (of(row) >= at if operator.startswith(">") else of(row) < at)]


class Scores:
    """Keeps the bodies of scores as they came; they are read when somebody asks, not while a contender waits."""

    def __init__(self) -> None:
        self._unread: list[bytes] = []
        self._ids: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()
        self._written = 0

    def take(self, body: bytes) -> bytes:
        """Keep a body and accept it."""
        self._unread.append(body)
        return _ACCEPTED if body[:1] == b"[" else response(b'{"id":"accepted"}')

    def counts(self) -> dict[str, int]:
        """Return how many scores came, how many ids and (trace, name) pairs they have."""
        for body in self._unread:
            read = orjson.loads(body)
            for score in read if isinstance(read, list) else [read]:
                self._written += 1
                self._ids.add(str(score.get("id")))
                self._pairs.add((str(score.get("traceId")), str(score["name"])))
        self._unread.clear()
        return {"scores": self._written, "ids": len(self._ids), "pairs": len(self._pairs)}


class Model:
    """Answers chat completions with one verdict, in the form the caller asked for."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._random = Random(1)
        self._faulty = bool(behaviour.limited or behaviour.failing)
        self.calls = 0
        self.refused = 0

    def answer(self, body: bytes) -> tuple[float, bytes]:
        """Return how long to wait, and a completion or a refusal."""
        self.calls += 1
        asked = self._behaviour
        if self._faulty:
            draw = self._random.random()
            if draw < asked.limited + asked.failing:
                self.refused += 1
                return 0.0, _LIMITED if draw < asked.limited else _BROKEN
        seconds = asked.latency
        if seconds and asked.spread:
            seconds *= self._random.lognormvariate(0.0, asked.spread)
        return seconds, _completion(body)


_REASON: Final = "The answer names the thirty days and the way back, both of which the documents say; it leaves out that a refund takes three to five working days, which the person had asked for as well."  # noqa: E501
_VERDICT: Final = {"reasoning": _REASON, "score": 4}


def _chat(message: dict[str, Any]) -> bytes:
    return response(
        orjson.dumps(
            {
                "id": "chatcmpl-bench",
                "object": "chat.completion",
                "created": 1,
                "model": "gpt-5.4-mini",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}],
                "usage": {"prompt_tokens": 820, "completion_tokens": 60, "total_tokens": 880},
            }
        )
    )


_BY_FORM: Final = (
    (b"extract_structured_data", _chat({"content": json.dumps({"explanation": _REASON, "label": "4"})})),
    (b"ReasonScore", _chat({"content": json.dumps({"reason": _REASON, "score": 8})})),
)
"""What phoenix and deepeval call the form they want, and that form."""

_PLAIN: Final = _chat({"content": json.dumps(_VERDICT)})


def _completion(body: bytes) -> bytes:
    return next((answer for form, answer in _BY_FORM if form in body), _PLAIN)


class Outside:
    """Both stand-ins behind one port."""

    def __init__(self, traces: list[StoredTrace]) -> None:
        self._stored = traces
        self.reset(Behaviour())

    def reset(self, behaviour: Behaviour) -> None:
        """Forget what came and behave anew."""
        self._model = Model(behaviour)
        self._observations = Observations(self._stored, behaviour.traces)
        self._scores = Scores()
        self._requests: Counter[str] = Counter()
        self._first = self._last = 0.0

    def answer(self, method: bytes, target: bytes, body: bytes) -> tuple[float, bytes]:
        """Answer one request."""
        if target.startswith(b"/_"):
            return 0.0, self._control(target, body)
        if not self._first:
            self._first = time.perf_counter()
        if target.endswith(b"/chat/completions"):
            return self._model.answer(body)
        return 0.0, self._langfuse(method, target, body)

    def _langfuse(self, method: bytes, target: bytes, body: bytes) -> bytes:
        path, _, query = target.removeprefix(_API).partition(b"?")
        self._requests[f"{method.decode()} {path.decode()}"] += 1
        match path:
            case b"v2/observations":
                return self._observations.page(query)
            case b"scores" if method == b"POST":
                self._last = time.perf_counter()
                return self._scores.take(body)
            case b"health":
                return _HEALTH
            case b"projects":
                return _PROJECTS
            case b"otel/v1/traces":
                return _NOTHING
        return _UNKNOWN

    def _control(self, target: bytes, body: bytes) -> bytes:
        if target == b"/_reset":
            self.reset(Behaviour(**orjson.loads(body)))
            return _NOTHING
        return response(orjson.dumps(self._counts()))

    def _counts(self) -> dict[str, Any]:
        return {
            **self._scores.counts(),
            "calls": self._model.calls,
            "refused": self._model.refused,
            "seconds": max(0.0, self._last - self._first),
            "requests": dict(self._requests),
        }


async def serve(traces: int) -> None:
    """Serve until the process is told to end."""
    outside = Outside(finished_traces(traces, recent()))
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    port = await listen(outside.answer)
    print(json.dumps({"url": f"http://127.0.0.1:{port}", "traces": traces}), flush=True)
    await told.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outside", description=__doc__)
    parser.add_argument("--traces", type=int, default=1000, help="how many to have in store")
    asyncio.run(serve(parser.parse_args().traces))


if __name__ == "__main__":
    main()
