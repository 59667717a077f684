"""The way to Redis: a client, its scripts, and what is raised when nobody answers."""

from __future__ import annotations

import contextlib
import importlib.resources
import re
from collections.abc import Iterator
from typing import Final

import redis

from evaluator.errors import ConfigError, Problem, Unavailable

_AWAY: Final = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.OutOfMemoryError,
)
"""What passes when the server comes back or a person mends it; work waits for it."""

_TAKES_NOTHING: Final = re.compile(r"(?:^|caused error: )(MISCONF|NOREPLICAS|BUSY)\b")
"""Answers that say the same and have no type of their own: a full disk, replicas that are missing, a long script."""


def connect(url: str) -> redis.Redis:
    """Return a client for `url` (redis://, rediss:// or unix://); nothing is sent yet.

    Raises:
        ConfigError: it is no such address.
    """
    try:
        client = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5, health_check_interval=30)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # does not connect, but says now what it would say later
    except (TypeError, ValueError):
        # The client's own words show parts of the address, which may be parts of the password.
        what = "is no address such as rediss://user:password@host:6379/0; a password's / # ? @ are %2F %23 %3F %40"
        raise ConfigError([Problem("REDIS_URL", what)]) from None
    return client


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Turn what the client raises when Redis cannot be reached, or takes nothing now, into `Unavailable`."""
    try:
        yield
    except _AWAY as error:
        if isinstance(error.__cause__, Unavailable):  # the broker has told it in Dramatiq's way
            raise error.__cause__ from None
        msg = f"Redis does not answer ({type(error).__name__}): check REDIS_URL and the server"
        raise Unavailable(msg) from error
    except redis.exceptions.LockError as error:
        raise Unavailable("another process holds what this one needs, or took longer than it may") from error
    except redis.ResponseError as error:
        found = _TAKES_NOTHING.search(str(error))
        if found is None:
            raise
        raise Unavailable(f"Redis takes nothing now ({found[1]}): check its disk and its replicas") from error


def scripts(file: str = "fleet.lua") -> dict[str, str]:
    """Return the scripts of a .lua file of this package, by name."""
    text = importlib.resources.files("evaluator.state").joinpath(file).read_text(encoding="utf-8")
    parts = re.split(r"^-- ([a-z]+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
