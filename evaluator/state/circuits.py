"""Circuits of models, in Redis: which models the fleet leaves alone since their key is refused or their quota is spent.

Keys, beside those of `state`. Should they vanish, each model is asked once more, and people may be told once more.

| key | type | kept for | holds |
|---|---|---|---|
| N:circuit:MODEL | hash | 1 day after the last trial | why it is open, when it is tried next, the pause before that |
| N:circuit:MODEL:told | string | 1 hour | people know: who opens and closes many times says so once an hour |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

import orjson
import redis

from evaluator.state.connection import reachable, scripts

_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_KEPT: Final = timedelta(days=1)
_TOLD: Final = timedelta(hours=1)


class Circuit(NamedTuple):
    """An open circuit: why it opened, seconds to the next trial, and whether the caller is to try."""

    why: str
    seconds: float
    tries: bool = False


class Circuits:
    """Every method raises `Unavailable` when Redis cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str, first_pause: timedelta = _FIRST_PAUSE) -> None:
        """Use `client`; a model is tried again after `first_pause`, then after twice as long, up to five minutes."""
        self._namespace = namespace
        self._first_pause = first_pause
        self._scripts = {name: client.register_script(body) for name, body in scripts("circuits.lua").items()}

    def look(self, models: Sequence[str], *, claim: bool = False) -> dict[str, Circuit]:
        """Return the open circuits among those of `models`; with `claim` the caller tries each that is due."""
        if not models:
            return {}
        with reachable():
            found = cast("list[Any]", self._scripts["look"]([self._key(model) for model in models], [int(claim)]))
        return {
            model: Circuit(one[0].decode(), one[1] / 1000, bool(one[2]))
            for model, one in zip(models, found, strict=True)
            if one is not None
        }

    def open(
        self, model: str, why: str, message: Mapping[str, Any] | None = None, *, trial: bool = False
    ) -> tuple[bool, float]:
        """Open a circuit; return whether it was closed before, and seconds to the next trial.

        Args:
            model: which.
            why: what people are told of it.
            message: goes to Slack when it was closed before; None where there is no Slack.
            trial: whether it was a trial that was refused.
        """
        keys = [self._key(model), self._key(model) + ":told", f"{self._namespace}:outbox"]
        payload = b"" if message is None else orjson.dumps({"message": message, "chart": None})
        spans = [_milliseconds(span) for span in (self._first_pause, _LONGEST_PAUSE, _KEPT, _TOLD)]
        with reachable():
            answer = self._scripts["open"](keys, [why, int(trial), *spans, f"circuit/{model}", payload])
        fresh, wait = cast("list[int]", answer)
        return bool(fresh), wait / 1000

    def close(self, model: str) -> None:
        """Close a circuit."""
        with reachable():
            self._scripts["close"]([self._key(model)])

    def _key(self, model: str) -> str:
        return f"{self._namespace}:circuit:{model}"


def _milliseconds(span: timedelta) -> int:
    return max(1, int(span.total_seconds() * 1000))
