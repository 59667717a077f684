"""Scores: what we write to Langfuse, and what we read back from it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from traces.record import record

ScoreValue = float | str
_NAMESPACE: Final = uuid.UUID("5d0e1f8a-7c39-5b7e-9a5e-3f0b9a1c2d47")
_SPACE: Final = _NAMESPACE.bytes


class DataType(StrEnum):
    """Langfuse's score types that we write."""

    NUMERIC = "NUMERIC"
    BOOLEAN = "BOOLEAN"
    CATEGORICAL = "CATEGORICAL"


@record(frozen=True, slots=True)
class Subject:
    """What a score is about: a trace, an observation of a trace, or a session."""

    trace_id: str | None = None
    observation_id: str | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        if (self.trace_id is None) == (self.session_id is None):
            msg = "a score is about either a trace or a session"
            raise ValueError(msg)
        if self.observation_id is not None and self.trace_id is None:
            msg = "an observation needs its trace"
            raise ValueError(msg)

    def __str__(self) -> str:
        return "/".join(part for part in (self.trace_id, self.observation_id, self.session_id) if part)


@record(frozen=True, slots=True)
class Score:
    """A score on its way to Langfuse.

    `timestamp` is the subject's end time and never changes: with the same id it makes a rewrite replace instead of
    duplicate (langfuse-contract 1.2). A BOOLEAN's value is 0.0 or 1.0.
    """

    id: str
    subject: Subject
    name: str
    value: ScoreValue
    data_type: DataType
    timestamp: datetime
    environment: str = "default"
    comment: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@record(frozen=True, slots=True)
class RecordedScore:
    """A score as Langfuse holds it, whoever wrote it. A boolean's value is 0.0 or 1.0.

    `author` is the person who annotated; empty for scores of programs, and where authors were not asked for.
    """

    id: str
    name: str
    value: ScoreValue
    data_type: str
    source: str
    timestamp: datetime
    trace_id: str | None = None
    observation_id: str | None = None
    session_id: str | None = None
    environment: str = "default"
    comment: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""


def score_id(project_id: str, subject: Subject, name: str) -> str:
    """Return the identity of a score: a function of project, subject and name only, so that any retry agrees.

    Ids may hold anything (users choose those of sessions), so the parts are joined as JSON: different parts can never
    read the same.
    """
    digest = _digest_before(project_id, subject.trace_id, subject.observation_id, subject.session_id).copy()
    digest.update(f"{encode_basestring_ascii(name)}]".encode())
    return _uuid5(digest.hexdigest())


@lru_cache(maxsize=64)  # a subject gets several scores, one after the other
def _digest_before(*parts: str | None) -> hashlib._Hash:
    written = ["null" if part is None else encode_basestring_ascii(part) for part in parts]
    return hashlib.sha1(_SPACE + f"[{', '.join(written)}, ".encode(), usedforsecurity=False)


def _uuid5(digest: str) -> str:
    """Return `str(uuid.uuid5(_NAMESPACE, name))` (RFC 9562, 5.5) of a name's SHA-1: there is one a score."""
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
