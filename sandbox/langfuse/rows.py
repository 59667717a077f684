"""One observation as Langfuse stores it: every field of every group, filled where the sender left it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sandbox.langfuse.prices import enrich
from sandbox.langfuse.timeline import Key
from sandbox.langfuse.times import iso, milliseconds
from sandbox.langfuse.xxhash import trace_hash

TYPES: Final = frozenset(
    "GENERATION SPAN EVENT AGENT TOOL CHAIN RETRIEVER EVALUATOR EMBEDDING GUARDRAIL".split()  # noqa: SIM905  the docs' list
)
LEVELS: Final = frozenset({"DEBUG", "DEFAULT", "WARNING", "ERROR"})
_DEFAULTS: Final[Mapping[str, Any]] = {
    "endTime": None,
    "parentObservationId": None,
    "type": "SPAN",
    "name": "",
    "level": "DEFAULT",
    "statusMessage": None,
    "version": None,
    "environment": "default",
    "bookmarked": False,
    "public": False,
    "userId": None,
    "sessionId": None,
    "completionStartTime": None,
    "input": None,
    "output": None,
    "metadata": None,
    "model": None,
    "internalModelId": None,
    "modelParameters": None,
    "usageDetails": None,
    "costDetails": None,
    "totalCost": None,
    "usagePricingTierName": None,
    "promptId": None,
    "promptName": None,
    "promptVersion": None,
    "tags": None,
    "release": None,
    "traceName": None,
}


@dataclass(slots=True, eq=False)
class Row:
    """A stored version of an observation.

    `body` holds the API's fields, `start`, `end` and `visible_at` are milliseconds. `order` is the key of the table,
    with the update time behind it: of two versions with one key the newest is read first.
    """

    body: dict[str, Any]
    start: int
    end: int | None
    visible_at: int
    order: Key
    gone: bool = False

    @property
    def id(self) -> str:
        """The observation's id."""
        return str(self.body["id"])

    @property
    def trace_id(self) -> str:
        """The trace's id."""
        return str(self.body["traceId"])


def row(given: Mapping[str, Any], *, project: str, now: int, visible_at: int) -> Row:
    """Return the stored row of an observation given in the API's field names.

    `id`, `traceId` and `startTime` are needed; `input` and `output` may be any JSON and are stored as text.

    Raises:
        KeyError: A needed field is absent.
        ValueError: A time is malformed, or type or level is unknown.
    """
    body = dict(_DEFAULTS) | dict(given)
    start = milliseconds(body["startTime"])
    end = None if body["endTime"] is None else milliseconds(body["endTime"])
    first = None if body["completionStartTime"] is None else milliseconds(body["completionStartTime"])
    updated = milliseconds(body["updatedAt"]) if "updatedAt" in body else now
    return filled(body, project=project, start=start, end=end, first=first, updated=updated, visible_at=visible_at)


def filled(
    body: dict[str, Any], *, project: str, start: int, end: int | None, first: int | None, updated: int, visible_at: int
) -> Row:
    """Complete `body` in place from its moments (ms) and wrap it.

    Raises:
        KeyError: `id` or `traceId` is absent.
        ValueError: Type or level is unknown.
    """
    for name, value in _DEFAULTS.items():
        body.setdefault(name, value)
    if body["type"] not in TYPES or body["level"] not in LEVELS:
        raise ValueError(f"unknown type {body['type']!r} or level {body['level']!r}")
    body["projectId"] = project
    body["startTime"], body["endTime"] = iso(start), None if end is None else iso(end)
    body["completionStartTime"] = None if first is None else iso(first)
    body["updatedAt"] = iso(updated)
    body.setdefault("createdAt", body["updatedAt"])
    body.setdefault("isRootObservation", not body["parentObservationId"])
    body["latency"] = None if end is None else (end - start) / 1000
    body["timeToFirstToken"] = None if first is None else (first - start) / 1000
    for name in ("input", "output"):
        if body[name] is not None and not isinstance(body[name], str):
            body[name] = orjson.dumps(body[name]).decode()
    body["metadata"] = body["metadata"] or {}
    body["tags"] = sorted(body["tags"] or ())
    enrich(body)
    return Row(body, start, end, visible_at, (start, trace_hash(body["traceId"]), body["id"], updated))
