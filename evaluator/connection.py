"""The way to Redis: a client, its scripts, and what is raised when nobody answers."""

from __future__ import annotations

import contextlib
import importlib.resources
import re
from collections.abc import Iterator

import redis

from evaluator.errors import Unavailable


def connect(url: str) -> redis.Redis:
    """Return a client for `url` (redis://, rediss:// or unix://); nothing is sent yet."""
    return redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5, health_check_interval=30)


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Turn what the client raises when Redis cannot be reached into `Unavailable`."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError) as error:
        msg = f"Redis does not answer ({type(error).__name__}): check REDIS_URL and the server"
        raise Unavailable(msg) from error


def scripts() -> dict[str, str]:
    """Return the parts of state.lua by name."""
    text = importlib.resources.files("evaluator").joinpath("state.lua").read_text(encoding="utf-8")
    parts = re.split(r"^-- ([a-z]+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
