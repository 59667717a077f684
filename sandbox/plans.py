"""A trace to be played into Langfuse, as plain values: what traffic and replay make and ingest sends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """One observation. `usage` counts tokens, `cost` is in USD."""

    id: str
    type: str
    name: str
    start: datetime
    end: datetime
    parent_id: str | None = None
    input: Any = None
    output: Any = None
    level: str = "DEFAULT"
    status_message: str | None = None
    model: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    cost: float | None = None
    prompt_name: str | None = None
    prompt_version: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """A score somebody else gives the trace: a person's feedback, a recorded reward."""

    name: str
    value: float
    data_type: str
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class TracePlan:
    """A trace: its spans, the root first, and the scores others give it."""

    id: str
    spans: tuple[SpanPlan, ...]
    name: str
    environment: str = "production"
    user_id: str | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    release: str | None = None
    scores: tuple[ScorePlan, ...] = ()

    @property
    def end(self) -> datetime:
        """When the root ended."""
        return self.spans[0].end


def stable_id(digits: int, *parts: object) -> str:
    """Return an id of so many hexadecimal digits that follows from `parts`."""
    return hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=digits // 2).hexdigest()
