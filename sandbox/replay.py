"""Recorded agent runs in OpenAI chat format become traces, as if the agent had been traced while it ran."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from sandbox.plans import ScorePlan, SpanPlan, TracePlan, stable_id

NAME: Final = "recorded-run"
REWARD: Final = "task-success"
_SPREAD: Final = timedelta(hours=6)
_MODEL: Final = "gpt-4o"
_TOKENS_A_SECOND: Final = 60
_CHARACTERS_A_TOKEN: Final = 4

Message = Mapping[str, Any]


class BadRecording(ValueError):
    """A file is no list of recorded runs; the message says where."""


def runs(path: Path, end: datetime) -> Iterator[TracePlan]:
    """Give the runs of a file as traces, spread over the six hours before `end`.

    The file is JSON (`.json` or `.json.gz`): a list of objects with `traj`, the messages of the chat, and, where
    known, `task_id`, `trial` and `reward`.

    Raises:
        BadRecording: the file has another shape.
        OSError: it cannot be read.
    """
    recorded = _read(path)
    for number, run in enumerate(recorded):
        messages = run.get("traj") if isinstance(run, dict) else None
        if not isinstance(messages, list) or not all(isinstance(m, dict) and "role" in m for m in messages):
            raise BadRecording(f"{path}: run {number}: expected an object with `traj`, a list of chat messages")
        start = end - _SPREAD * ((number + 1) / (len(recorded) + 1))
        yield _Run(run, number, start).trace(messages)


@dataclass(slots=True)
class _Run:
    """One run on its way to a trace; `now` moves with each step."""

    run: Mapping[str, Any]
    number: int
    now: datetime
    steps: list[SpanPlan] = field(default_factory=list)

    def trace(self, messages: Sequence[Message]) -> TracePlan:
        start = self.now
        root = self._id("root")
        results = {m.get("tool_call_id"): m for m in messages if m["role"] == "tool"}
        since: list[Message] = []
        for place, message in enumerate(messages):
            if message["role"] != "assistant":
                since.append(message)
                continue
            self._generation(root, place, since, message)
            since = []
            for call in message.get("tool_calls") or []:
                self._tool(root, call, results.get(call.get("id"), {}))
        first = next((m.get("content") for m in messages if m["role"] == "user"), None)
        last = next(
            (m.get("content") for m in reversed(messages) if m["role"] == "assistant" and m.get("content")), None
        )
        about = {name: str(self.run[name]) for name in ("task_id", "trial") if name in self.run}
        top = SpanPlan(root, "AGENT", NAME, start, self.now, None, first, last, metadata=about)
        task = self.run.get("task_id", self.number)
        return TracePlan(
            stable_id(32, "run", self._digest()),
            (top, *self.steps),
            NAME,
            user_id=f"user-{task}",
            session_id=f"task-{task}-trial-{self.run.get('trial', 0)}",
            tags=("recorded",),
            release="recorded",
            scores=self._reward(),
        )

    def _generation(self, root: str, place: int, since: Sequence[Message], message: Message) -> None:
        read = sum(len(str(m.get("content") or "")) for m in since) // _CHARACTERS_A_TOKEN
        written = max(1, len(json.dumps(message.get("tool_calls") or message.get("content"))) // _CHARACTERS_A_TOKEN)
        start = self._took(0.4 + written / _TOKENS_A_SECOND)
        usage = {"input": read, "output": written, "total": read + written}
        self.steps.append(
            SpanPlan(
                self._id("message", place), "GENERATION", "chat", start, self.now, root, list(since), dict(message),
                model=_MODEL, usage=usage,
            )
        )  # fmt: skip

    def _tool(self, root: str, call: Message, result: Message) -> None:
        function = call.get("function") or {}
        output = result.get("content")
        failed = isinstance(output, str) and output.startswith("Error")
        start = self._took(0.3)
        self.steps.append(
            SpanPlan(
                self._id("call", call.get("id"), len(self.steps)), "TOOL", str(function.get("name", "tool")), start,
                self.now, root, _parsed(function.get("arguments")), _parsed(output),
                level="ERROR" if failed else "DEFAULT", status_message=output[:200] if failed and output else None,
            )
        )  # fmt: skip

    def _took(self, seconds: float) -> datetime:
        start = self.now
        self.now = start + timedelta(seconds=seconds)
        return start

    def _reward(self) -> tuple[ScorePlan, ...]:
        reward = self.run.get("reward")
        if not isinstance(reward, int | float):
            return ()
        return (ScorePlan(REWARD, float(reward >= 1), "BOOLEAN"),)

    def _id(self, *parts: object) -> str:
        return stable_id(16, self._digest(), *parts)

    def _digest(self) -> str:
        return f"{self.run.get('task_id')}/{self.run.get('trial')}/{self.number}"


def _read(path: Path) -> list[Any]:
    raw = path.read_bytes()
    try:
        recorded = orjson.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (orjson.JSONDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise BadRecording(f"{path}: is not JSON: {error}") from error
    if not isinstance(recorded, list):
        raise BadRecording(f"{path}: expected a list of runs")
    return recorded


def _parsed(text: Any) -> Any:
    try:
        return orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return text
