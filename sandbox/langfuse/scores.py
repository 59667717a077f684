"""Creating scores: what POST /api/public/scores accepts, and what a score becomes when it is stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from sandbox.langfuse.answers import Issue, invalid, issue
from sandbox.langfuse.environments import environment_name
from sandbox.langfuse.score_store import ScoreRow
from sandbox.langfuse.times import milliseconds

_TEXTS: Final = (
    "traceId", "sessionId", "observationId", "datasetRunId", "comment", "environment", "queueId", "configId",
)  # fmt: skip
_SUBJECTS: Final = ("traceId", "sessionId", "datasetRunId")
DATA_TYPES: Final = frozenset({"NUMERIC", "BOOLEAN", "CATEGORICAL", "TEXT", "CORRECTION"})
_LONGEST_NAME: Final = 35
_SOURCES: Final = frozenset({"API", "ANNOTATION"})


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """A score config: scores that name it and break it are accepted and then silently dropped."""

    id: str
    name: str
    data_type: str
    min_value: float | None = None
    max_value: float | None = None
    labels: tuple[str, ...] = ()
    archived: bool = False

    def allows(self, row: ScoreRow) -> bool:
        """Tell whether `row` would be stored."""
        if self.archived or row.name != self.name or row.data_type != self.data_type:
            return False
        if isinstance(row.value, str):
            return row.data_type != "CATEGORICAL" or row.value in self.labels
        below = self.min_value is not None and row.value < self.min_value
        above = self.max_value is not None and row.value > self.max_value
        return not below and not above

    def document(self, project: str, now: str) -> dict[str, Any]:
        """Return the config as the API shows it."""
        categories = [{"label": label, "value": place} for place, label in enumerate(self.labels)]
        return {
            "id": self.id, "name": self.name, "dataType": self.data_type, "minValue": self.min_value,
            "maxValue": self.max_value, "categories": categories, "isArchived": self.archived, "description": None,
            "projectId": project, "createdAt": now, "updatedAt": now,
        }  # fmt: skip


def score_config(body: Any) -> ScoreConfig:
    """Return the config that POST /score-configs makes.

    Raises:
        Refusal: 400 with zod issues.
    """
    body = body if isinstance(body, dict) else {}
    name, kind, labels = body.get("name"), body.get("dataType"), body.get("categories")
    low, high = body.get("minValue"), body.get("maxValue")
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
        invalid([issue("String must contain 1 to 35 characters", "name")])
    if kind not in DATA_TYPES - {"CORRECTION"}:
        invalid([issue("Invalid enum value", "dataType", code="invalid_enum_value")])
    if low is not None and high is not None and not high > low:
        invalid([issue("Maximum value must be greater than Minimum value", "maxValue")])
    if kind == "BOOLEAN" and labels is not None:
        invalid([issue("Categories are made for booleans", "categories")])
    named = tuple(str(each["label"]) for each in labels or ())
    return ScoreConfig(str(uuid.uuid4()), name, kind, low, high, named)


def score_row(body: Any, *, now: int, visible_at: int, keeps_timestamp: bool) -> ScoreRow:
    """Return the row that one request object makes.

    `keeps_timestamp` is False for servers before 4.59: they strip the unknown key and use the time of receipt.

    Raises:
        Refusal: 400 with zod issues.
    """
    issues = list(problems(body))
    if issues:
        invalid(issues)
    value = body["value"]
    kind = body.get("dataType") or ("CATEGORICAL" if isinstance(value, str) else "NUMERIC")
    sent = body.get("timestamp") if keeps_timestamp else None
    return ScoreRow(
        id=body.get("id") or str(uuid.uuid4()),
        name="output" if kind == "CORRECTION" else body["name"],
        value=value if isinstance(value, str) else float(value),
        data_type=kind,
        timestamp=now if sent is None else milliseconds(sent),
        created=now,
        updated=now,
        visible_at=visible_at,
        trace_id=body.get("traceId"),
        observation_id=body.get("observationId"),
        session_id=body.get("sessionId"),
        run_id=body.get("datasetRunId"),
        environment=environment_name(body.get("environment")),
        source=body.get("source") or "API",
        comment=body.get("comment"),
        metadata=stored_metadata(body.get("metadata")),
        config_id=body.get("configId"),
        queue_id=body.get("queueId"),
    )


def problems(body: Any) -> Iterator[Issue]:
    """Yield what is wrong with one request object."""
    if not isinstance(body, dict):
        yield issue("Expected object", code="invalid_type")
        return
    yield from _wrong_names(body)
    yield from _wrong_subject(body)
    yield from _wrong_value(body)
    yield from (
        issue("Expected string", name, code="invalid_type")
        for name in _TEXTS
        if not isinstance(body.get(name), (str, type(None)))
    )
    if body.get("source") is not None and body["source"] not in _SOURCES:
        yield issue("Invalid enum value. Expected 'API' | 'ANNOTATION'", "source", code="invalid_enum_value")
    if body.get("timestamp") is not None:
        try:
            milliseconds(body["timestamp"])
        except ValueError as error:
            yield issue(str(error), "timestamp", code="invalid_string")


def _wrong_names(body: Mapping[str, Any]) -> Iterator[Issue]:
    id_, name = body.get("id"), body.get("name")
    if id_ is not None and not (isinstance(id_, str) and 1 <= len(id_) <= 800 and "\r" not in id_):
        yield issue("id must be 1 to 800 characters without carriage return", "id")
    if not isinstance(name, str) or not name:
        yield issue("Required" if name is None else "String must not be empty", "name", code="invalid_type")


def _wrong_subject(body: Mapping[str, Any]) -> Iterator[Issue]:
    if sum(bool(body.get(name)) for name in _SUBJECTS) != 1:
        yield issue("Provide exactly one of the following: traceId, sessionId or datasetRunId")
    elif body.get("observationId") and not body.get("traceId"):
        yield issue("observationId requires traceId", "observationId")


def _wrong_value(body: Mapping[str, Any]) -> Iterator[Issue]:
    value, kind = body.get("value"), body.get("dataType")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is not None and kind not in DATA_TYPES:
        yield issue("Invalid enum value", "dataType", code="invalid_enum_value")
    elif not number and not isinstance(value, str):
        yield issue("Value must be a number or a string", "value", code="invalid_type")
    elif kind in {"NUMERIC", "BOOLEAN"} and not number:
        yield issue("Expected number", "value", code="invalid_type")
    elif kind == "BOOLEAN" and value not in {0, 1}:
        yield issue("Boolean score values must equal either 1 or 0", "value")
    elif kind in {"CATEGORICAL", "TEXT", "CORRECTION"} and number:
        yield issue("Expected string", "value", code="invalid_type")
    elif kind == "TEXT" and not 1 <= len(str(value)) <= 500:
        yield issue("Text score values must be between 1 and 500 characters", "value")
    elif kind == "CORRECTION" and (body.get("configId") or not body.get("traceId")):
        yield issue("Corrections take no configId and belong to a trace or observation")


def stored_metadata(metadata: Any) -> dict[str, str]:
    """Return metadata as the table keeps it: a map of text to text."""
    if metadata is None:
        return {}
    pairs = metadata if isinstance(metadata, dict) else {"metadata": metadata}
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in pairs.items()}
