"""Rows of Langfuse's API become our values: unknown fields are ignored, a row that cannot be read spoils no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
import structlog

from traces import Observation, RecordedScore, Trace, TraceRef, TraceRoot

Row = Mapping[str, Any]
T = TypeVar("T")

_log = structlog.get_logger(__name__)


def newest(rows: Iterable[Row]) -> dict[str, Row]:
    """Return one row an id: the one Langfuse changed last."""
    kept: dict[str, Row] = {}
    for row in rows:
        known = kept.get(row["id"])
        if known is None or str(row.get("updatedAt") or "") >= str(known.get("updatedAt") or ""):
            kept[row["id"]] = row
    return kept


def readable(read: Callable[[Row], T], row: Row) -> T | None:
    """Read one row; one that cannot be read is named in the log and left out, and spoils no other."""
    try:
        return read(row)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        where = {"id": str(row.get("id")), "trace_id": str(row.get("traceId") or "")}
        _log.warning("a row of Langfuse cannot be read", **where, why=type(error).__name__)
        return None


def root_of(row: Row) -> TraceRoot | None:
    """Read a root's row; None while it has not ended."""
    end = moment(row.get("endTime"))
    start = moment(row.get("startTime"))
    if end is None or start is None:
        return None
    return TraceRoot(
        TraceRef(row["traceId"], row["id"], row.get("environment") or "default", start, end),
        name=row.get("traceName") or row.get("name") or "",
        level=row.get("level") or "DEFAULT",
        user_id=row.get("userId") or None,
        session_id=row.get("sessionId") or None,
        tags=tuple(row.get("tags") or ()),
        release=row.get("release") or None,
        version=row.get("version") or None,
        model=_model(row),
        prompt_name=row.get("promptName") or None,
        prompt_version=_whole(row.get("promptVersion")),
        metadata=_mapping(row.get("metadata")),
    )


def observation_of(row: Row) -> Observation:
    """Read an observation with everything in it."""
    # There are hundreds in a batch, and most have none of these: what is not there is not read.
    get = row.get
    metadata, usage, version = get("metadata"), get("usageDetails"), get("promptVersion")
    cost, first_token = get("totalCost"), get("timeToFirstToken")
    return Observation(
        id=row["id"],
        trace_id=row["traceId"],
        type=get("type") or "SPAN",
        name=get("name") or "",
        start=_needed_moment(row, "startTime"),
        end=moment(get("endTime")),
        parent_id=get("parentObservationId") or None,
        is_root=bool(get("isRootObservation")),
        input=_value(get("input")),
        output=_value(get("output")),
        level=get("level") or "DEFAULT",
        status_message=get("statusMessage") or None,
        metadata=_mapping(metadata) if metadata else {},
        model=get("model") or get("providedModelName") or None,
        usage=_numbers(usage) if usage else {},
        cost=None if cost is None else _number(cost),
        prompt_name=get("promptName") or None,
        prompt_version=None if version is None else _whole(version),
        time_to_first_token=None if first_token is None else _number(first_token),
        updated=moment(get("updatedAt")),
    )


def trace_of(rows: Iterable[Row], ref: TraceRef) -> Trace | None:
    """Put the rows of one trace together; None without any. The root is the one `ref` names, else the earliest."""
    rows = list(rows)
    read = [o for row in rows if (o := readable(observation_of, row)) is not None]
    if not read:
        return None
    read.sort(key=lambda o: (o.start, o.id))
    roots = [o for o in read if o.is_root or o.parent_id is None] or read
    root = next((o for o in read if o.id == ref.root_id), roots[0])
    # A first child often starts in the same millisecond as its root, and still comes after it.
    observations = sorted(read, key=lambda o: (o.start, o is not root))
    about = next(row for row in rows if row["id"] == root.id)
    return Trace(
        id=ref.id,
        root=root,
        observations=tuple(observations),
        name=about.get("traceName") or root.name,
        environment=about.get("environment") or "default",
        session_id=_first(rows, about, "sessionId"),
        user_id=_first(rows, about, "userId"),
        tags=tuple(about.get("tags") or ()),
        release=_first(rows, about, "release"),
        version=about.get("version") or None,
    )


def score_of_row(row: Row) -> RecordedScore:
    """Read a score, whoever wrote it."""
    subject = row.get("subject") or {}
    kind = subject.get("kind")
    value = row["value"]
    return RecordedScore(
        id=row["id"],
        name=row["name"],
        value=value if isinstance(value, str) else float(value),
        data_type=row.get("dataType") or "NUMERIC",
        source=row.get("source") or "API",
        timestamp=_needed_moment(row, "timestamp"),
        trace_id=subject.get("id") if kind == "trace" else subject.get("traceId"),
        observation_id=subject.get("id") if kind == "observation" else None,
        session_id=subject.get("id") if kind == "session" else None,
        environment=row.get("environment") or "default",
        comment=row.get("comment") or "",
        metadata=_mapping(row.get("metadata")),
        author=row.get("authorUserId") or "",
    )


def moment(text: Any) -> datetime | None:
    """Read a time; UTC when it names no zone."""
    if not isinstance(text, str) or not text:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _needed_moment(row: Row, key: str) -> datetime:
    at = moment(row[key])
    if at is None:
        raise ValueError(f"{key} is no time")
    return at


def _first(rows: Iterable[Row], about: Row, key: str) -> str | None:
    return about.get(key) or next((row[key] for row in rows if row.get(key)), None)


def _model(row: Row) -> str | None:
    return row.get("model") or row.get("providedModelName") or None


def _value(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    if raw[:1] not in '{["-0123456789tfn':
        return raw
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw
    # 1.10 is a text, as is an order's number of 23 digits: as a number it would no longer be what was answered.
    return raw if isinstance(value, float) and raw != repr(value) else value


def _mapping(raw: Any) -> Mapping[str, Any]:
    if not raw:
        return {}
    value = _value(raw)
    return value if isinstance(value, dict) else ({} if value in (None, "") else {"metadata": value})


def _numbers(raw: Any) -> dict[str, float]:
    if not raw:
        return {}
    return {k: n for k, v in _mapping(raw).items() if (n := _number(v)) is not None}


def _number(raw: Any) -> float | None:
    if raw is None or isinstance(raw, bool):
        return None
    try:
        number = float(raw)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(raw: Any) -> int | None:
    number = _number(raw)
    return None if number is None else int(number)
