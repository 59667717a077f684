"""What the wire tests share: a configuration, traffic in the stand-in, and the types of their fixtures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from evaluator.app import App
from evaluator.clock import SystemClock
from sandbox.server import Sandbox

Run = Callable[..., subprocess.CompletedProcess[str]]
Config = Callable[..., Path]
OpenService = Callable[..., AbstractContextManager[App]]

RULES = """
- {name: answered, rule: not_empty}
- {name: no-errors, rule: error_level}
"""

RUBRIC = """
name: helpfulness
description: Does the answer help?
sample: [{rate: 1}]
inputs: {question: $.root.input, answer: $.root.output}
criteria: Judge whether the answer helps the person who asked. 1 is useless, 5 is all they needed.
score: {type: numeric, min: 1, max: 5}
"""

SERVICE = """
discovery: {every: 1s, quiet_for: 1s, max_wait: 30s, overlap: 5m, longest_trace: 1h}
judges: {trace: off}
"""


class WrongClock(SystemClock):
    """The machine's clock, `wrong` by some time."""

    def __init__(self) -> None:
        self.wrong = timedelta()

    def now(self) -> datetime:
        return super().now() + self.wrong


class Traffic:
    """Finished traces in the Langfuse stand-in, as few words as a test needs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._langfuse = sandbox.langfuse

    def add(self, number: int, *, first: int = 0, ended_ago: float = 120.0, **fields: Any) -> list[str]:
        """Load traces of a root, a retriever and a generation; return their ids."""
        rows = [row for n in range(first, first + number) for row in _rows(n, ended_ago, fields)]
        self._langfuse.load_observations(rows)
        return [trace_id(n) for n in range(first, first + number)]


def everything(client: redis.Redis) -> dict[str, str]:
    """Return what Redis holds, as text by key. (A dump would not do: longer values are compressed in it.)"""
    reads: dict[str, Callable[[Any], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "set": client.smembers,
        "list": lambda key: client.lrange(key, 0, -1),
        "zset": lambda key: client.zrange(key, 0, -1),
        "none": lambda _: None,  # gone since it was listed
    }
    keys = [key.decode() for key in client.scan_iter() if isinstance(key, bytes)]
    return {key: repr(reads[str(client.type(key), "ascii")](key)) for key in keys}  # type: ignore[arg-type]


def trace_id(number: int) -> str:
    return f"{number:032x}"


def _rows(number: int, ended_ago: float, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    end = datetime.now(UTC) - timedelta(seconds=ended_ago + number * 0.001)
    start = end - timedelta(seconds=2)
    shared = {
        "traceId": trace_id(number),
        "traceName": "answer-user-query",
        "environment": "production",
        "userId": f"user-{number % 7}",
        "sessionId": f"session-{number // 3}",
        "updatedAt": end.isoformat(),
    }
    root = {
        **shared,
        "id": f"root-{number}",
        "type": "SPAN",
        "name": "answer-user-query",
        "startTime": start.isoformat(),
        "endTime": end.isoformat(),
        "input": {"question": f"How do I return order {number}?"},
        "output": f"Order {number} can be returned within 30 days of delivery.",
    }
    yield {**root, **fields}
    yield {
        **shared,
        "id": f"retriever-{number}",
        "parentObservationId": f"root-{number}",
        "type": "RETRIEVER",
        "name": "search",
        "startTime": (start + timedelta(seconds=0.1)).isoformat(),
        "endTime": (start + timedelta(seconds=0.3)).isoformat(),
        "output": ["Orders can be returned within 30 days of delivery."],
    }
    yield {
        **shared,
        "id": f"generation-{number}",
        "parentObservationId": f"root-{number}",
        "type": "GENERATION",
        "name": "answer",
        "startTime": (start + timedelta(seconds=0.4)).isoformat(),
        "endTime": (end - timedelta(seconds=0.1)).isoformat(),
        "model": "gpt-5.4-mini",
        "usageDetails": {"input": 200, "output": 40, "total": 240},
        "promptName": "support",
        "promptVersion": 3,
    }
