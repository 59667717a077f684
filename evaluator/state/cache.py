"""Verdicts that were paid for, in Redis, to be used again for the same question. Off unless evaluator.yaml says so.

Keys, beside those of `state`. Should they vanish, the same is paid for once more.

| key | type | kept for | holds |
|---|---|---|---|
| N:cache:HASH | string | as configured | a verdict: value, reason (which may quote a trace), details; never a prompt |

HASH is a keyed hash of all that can change what comes of a question: who has no key cannot even test a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

import orjson
import redis

from evaluator.state.connection import reachable
from judges import answers_of
from traces import Outcome, Usage, Verdict, outcome_from_json, outcome_to_json

_OF_ITS_CALL: Final = frozenset({"unpriced"})
"""Details that tell of a call, not of what came of it."""


class Cache:
    """Named operations on kept verdicts. Those that ask Redis raise `Unavailable` when it cannot be reached."""

    def __init__(self, client: redis.Redis, namespace: str, expires: timedelta, secret: str) -> None:
        """Use `client`; a verdict is kept for as long as `expires`, under a hash that only `secret` tells."""
        self._redis = client
        self._prefix = f"{namespace}:cache:"
        self._expires = expires
        self._key = hashlib.blake2b(secret.encode(), digest_size=32, person=b"evaluator.cache").digest()

    def key(self, pieces: Iterable[str]) -> str:
        """Return the key of a question that consists of `pieces`, none of which can pass for two."""
        hashed = hashlib.blake2b(key=self._key, digest_size=20)
        for piece in pieces:
            data = piece.encode(errors="surrogatepass")
            hashed.update(len(data).to_bytes(8))
            hashed.update(data)
        return self._prefix + hashed.hexdigest()

    def exchange(self, wanted: Sequence[str], new: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """Keep what is `new`, then return what is kept of what is `wanted`, both by key; all in one go."""
        with reachable():
            pipe = self._redis.pipeline(transaction=False)
            for key, verdict in new.items():
                pipe.set(key, orjson.dumps(outcome_to_json(used_again(verdict))), px=self._expires)
            if wanted:
                pipe.mget(wanted)
            answers = pipe.execute()
        held = cast("list[bytes | None]", answers[-1]) if wanted else []
        read = {key: _read(data) for key, data in zip(wanted, held, strict=True) if data is not None}
        return {key: verdict for key, verdict in read.items() if verdict is not None}


def is_worth_keeping(outcome: Outcome) -> bool:
    """Whether an outcome would be the same again: a verdict, in a group on every question, and nothing was missing."""
    if not isinstance(outcome, Verdict) or "media_missing" in outcome.details:
        return False
    return all(isinstance(answer, Verdict) for answer in (answers_of(outcome) or {}).values())


def used_again(verdict: Verdict) -> Verdict:
    """Return a verdict as it is when it is used again: nobody is called, nothing is paid."""
    details = {name: told for name, told in verdict.details.items() if name not in _OF_ITS_CALL}
    return replace(verdict, usage=Usage(verdict.usage.model, cached=1), details=details)


def _read(data: bytes) -> Verdict | None:
    """Read a kept verdict; one of another release that cannot be read is none."""
    try:
        outcome = outcome_from_json(orjson.loads(data))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return outcome if isinstance(outcome, Verdict) else None
