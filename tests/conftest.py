"""Fixtures every test may use: a real Redis-compatible server, one a test process, emptied before each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest
import redis

from evaluator.state.connection import connect
from evaluator.state.embedded import embedded_redis
from evaluator.state.fleet import State

# How long an example takes depends on who else uses the machine: no test is a timed one.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass by the eight thousand tests, which all stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_redis(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    with connect(valkey_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def state(valkey: redis.Redis) -> State:
    return State(valkey, "test", timedelta(hours=1))


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the recorded data of ../shared is not on this machine")
    return SHARED
