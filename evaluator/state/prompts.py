"""The last known prompts of the fleet, in Redis: a restart during an outage of Langfuse goes on with them.

One key, beside those of `state`: N:prompts, a hash of source -> text, version and when it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

import orjson
import redis

from evaluator.state.connection import reachable
from judges import ManagedPrompt


@dataclass(frozen=True, slots=True)
class Kept:
    """A prompt, and when Langfuse last said that it is so."""

    prompt: ManagedPrompt
    at: datetime


class KeptPrompts:
    """Prompts by source. Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._redis = client
        self._key = f"{namespace}:prompts"

    def all(self) -> dict[str, Kept]:
        """Return what is known, by source."""
        with reachable():
            held = cast("dict[bytes, bytes]", self._redis.hgetall(self._key))
        read = {source.decode(): _read(data) for source, data in held.items()}
        return {source: kept for source, kept in read.items() if kept is not None}

    def keep(self, source: str, kept: Kept) -> None:
        """Keep what a prompt is now."""
        data = {"text": kept.prompt.text, "version": kept.prompt.version, "at": kept.at.isoformat()}
        with reachable():
            self._redis.hset(self._key, source, orjson.dumps(data))


def _read(data: bytes) -> Kept | None:
    """Read what was kept; None for what another release wrote in a form unknown here: it is asked for anew."""
    try:
        held = orjson.loads(data)
        return Kept(ManagedPrompt(text=held["text"], version=held["version"]), datetime.fromisoformat(held["at"]))
    except (ValueError, KeyError, TypeError):
        return None
