"""Fixtures of the wire tests: the sandbox on real sockets and the application opened against it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from evaluator.app import App, open_app
from evaluator.settings import Settings
from sandbox.server import Sandbox

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
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        running.model.latency_seconds = 0.0
        yield running


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Write a configuration folder: `config(rules=..., service=..., monitors=..., rubrics={name: text})`."""

    def write(
        *, rules: str = RULES, service: str = SERVICE, monitors: str = "[]", rubrics: dict[str, str] | None = None
    ) -> Path:
        folder = tmp_path / "config"
        (folder / "rubrics").mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(rules)
        (folder / "evaluator.yaml").write_text(service)
        (folder / "monitors.yaml").write_text(monitors)
        for name, text in ({"helpfulness": RUBRIC} if rubrics is None else rubrics).items():
            (folder / "rubrics" / f"{name}.yaml").write_text(text)
        return folder

    return write


@pytest.fixture
def environment(sandbox: Sandbox, valkey: redis.Redis, valkey_url: str) -> dict[str, str]:
    """The variables of a process that works against the sandbox."""
    del valkey
    return {
        "LANGFUSE_BASE_URL": sandbox.langfuse_url,
        "LANGFUSE_PUBLIC_KEY": sandbox.public_key,
        "LANGFUSE_SECRET_KEY": sandbox.secret_key,
        "OPENAI_BASE_URL": sandbox.model_url,
        "OPENAI_API_KEY": "sk-sandbox",
        "REDIS_URL": valkey_url,
        "SLACK_WEBHOOK_URL": sandbox.slack_url,
        "EVALUATOR_HEARTBEAT": "2",
        "EVALUATOR_GRACE": "5",
        "EVALUATOR_LOG": "json",
    }


@pytest.fixture
def service(environment: dict[str, str], config: Config, tmp_path: Path) -> OpenService:
    """Open the application against the sandbox, with the configuration written so far: `with service() as app`."""

    @contextlib.contextmanager
    def opened(folder: Path | None = None, **changes: Any) -> Iterator[App]:
        values: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
        written = tmp_path / "config"
        values |= {"evaluator_config": folder or (written if written.exists() else config()), **changes}
        with open_app(Settings(**values)) as app:
            yield app

    return opened


class Traffic:
    """Finished traces in the Langfuse stand-in, as few words as a test needs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._langfuse = sandbox.langfuse

    def add(self, number: int, *, first: int = 0, ended_ago: float = 120.0, **fields: Any) -> list[str]:
        """Load traces of a root, a retriever and a generation; return their ids."""
        rows = [row for n in range(first, first + number) for row in _rows(n, ended_ago, fields)]
        self._langfuse.load_observations(rows)
        return [trace_id(n) for n in range(first, first + number)]


@pytest.fixture
def traffic(sandbox: Sandbox) -> Traffic:
    return Traffic(sandbox)


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
