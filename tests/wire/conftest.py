"""Fixtures of the wire tests: the sandbox on real sockets and the application opened against it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from evaluator.app import App, open_app
from evaluator.clock import Clock
from evaluator.settings import Settings
from sandbox.server import Sandbox
from tests import forked
from tests.serving import RUBRIC, RULES, SERVICE, Config, OpenService, Run, Traffic


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
        "EVALUATOR_STATUS_PORT": "0",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run the command line in a process of its own: `run("sweep", "--json", folder=config())`."""

    def command(*arguments: str, folder: Path | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
        settings = {**environment, "EVALUATOR_CONFIG": str(folder or tmp_path / "config"), "COLUMNS": "160", **changes}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANGFUSE", "OPENAI", "SLACK", "EVALUATOR"))}
        return forked.run("evaluator.cli", arguments, env={**clean, **settings}, cwd=tmp_path, timeout=60)

    return command


@pytest.fixture
def service(environment: dict[str, str], config: Config, tmp_path: Path) -> OpenService:
    """Open the application against the sandbox, with the configuration written so far: `with service() as app`."""

    @contextlib.contextmanager
    def opened(folder: Path | None = None, clock: Clock | None = None, **changes: Any) -> Iterator[App]:
        values: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
        written = tmp_path / "config"
        values |= {"evaluator_config": folder or (written if written.exists() else config()), **changes}
        with open_app(Settings(**values), clock=clock) as app:
            yield app

    return opened


@pytest.fixture
def traffic(sandbox: Sandbox) -> Traffic:
    return Traffic(sandbox)
