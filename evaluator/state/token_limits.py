"""Requests and tokens a minute of one provider, for the whole fleet. Knows its Redis keys.

The keys stand in the package's table. Permits are only asked for where a limit of tokens is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import orjson
import redis

from evaluator.state.connection import reachable, scripts


class TokenLimits:
    """Permits for requests of known size. Raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._namespace = namespace
        self._run = client.register_script(scripts("limits.lua")["tokens"])

    def permits(
        self, provider: str, requests: int | None, tokens: int, returned: int, wanted: Sequence[int]
    ) -> tuple[int, float]:
        """Take the first of the wanted requests out of a provider's minute.

        Args:
            provider: whose limits.
            requests: a minute; None for no limit of requests.
            tokens: a minute.
            returned: tokens reserved before and not used; negative when more were used.
            wanted: the tokens of each request, as far as they are known before.

        Returns:
            How many of the requests may go now, and the seconds to the next.
        """
        keys = [f"{self._namespace}:{kind}:{provider}" for kind in ("pause", "window", "tokens")]
        with reachable():
            answer = self._run(keys, [requests or 0, tokens, returned, orjson.dumps(list(wanted))])
            granted, wait = cast("list[int]", answer)
        return granted, wait / 1000

    def paused(self, provider: str) -> timedelta:
        """Return for how long nobody may ask a provider."""
        with reachable():
            left = self._redis.pttl(f"{self._namespace}:pause:{provider}")
        return timedelta(milliseconds=max(0, left))
