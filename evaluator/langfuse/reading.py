"""Rows of Langfuse's API become our values: unknown fields are ignored, a row that cannot be read spoils no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from evaluator.langfuse.wire import json_object
from traces import Observation, RecordedScore, TooDeep, Trace, TraceRef, TraceRoot, parsed_json

Object = Mapping[str, Any]
T = TypeVar("T")

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_log = structlog.get_logger(__name__)


_Time = Annotated[datetime, msgspec.Meta(tz=True)] | None


class Row(msgspec.Struct, rename="camel", gc=False):
    """What is wanted of an observation's row; the decoder passes over the other half of its keys.

    Of what has the type `Any`, different versions of Langfuse and of its SDKs make different things.
    """

    id: Annotated[str, msgspec.Meta(min_length=1)]
    trace_id: str | None = None
    parent_observation_id: str | None = None
    is_root_observation: bool | None = None
    type: str | None = None
    name: str | None = None
    start_time: _Time = None
    end_time: _Time = None
    updated_at: _Time = None
    input: Any = None
    output: Any = None
    level: str | None = None
    status_message: str | None = None
    metadata: Any = None
    model: str | None = None
    provided_model_name: str | None = None
    usage_details: Any = None
    total_cost: Any = None
    time_to_first_token: Any = None
    prompt_name: str | None = None
    prompt_version: Any = None
    trace_name: str | None = None
    environment: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: list[str] | None = None
    release: str | None = None
    version: str | None = None


class Page(NamedTuple, Generic[T]):
    """A page of rows: those that have an id, how many came with the others, and where the next page begins."""

    rows: list[T]
    came: int
    cursor: str | None


class _Meta(msgspec.Struct):
    cursor: str | None = None


class _Answer(msgspec.Struct):
    data: list[Row]
    meta: _Meta | None = None


_answers = msgspec.json.Decoder(_Answer)


def observation_page(content: bytes) -> Page[Row]:
    """Read a page of observations.

    Raises:
        TooDeep: a value in it is nested too deeply.
        ValueError: it is no JSON object.
    """
    try:
        answer = _answers.decode(content)
    except RecursionError:
        raise TooDeep("nested too deeply") from None
    except msgspec.DecodeError:  # something in it is not as it should be: all else is read nevertheless
        objects, came, cursor = object_page(content)
        return Page([row for each in objects if (row := readable(row_of, each)) is not None], came, cursor)
    return Page(answer.data, len(answer.data), answer.meta.cursor if answer.meta else None)


def row_of(given: Object) -> Row:
    """Return what is wanted of a row; a time without a zone is UTC, and a value of an odd type is not there.

    Raises:
        ValueError: a time of it is none.
    """
    known = {**given, **{key: moment(given.get(key)) for key in ("startTime", "endTime", "updatedAt")}}
    fitting = {
        field.encode_name: known[field.encode_name]
        for field in msgspec.structs.fields(Row)
        if field.encode_name in known and _fits(known[field.encode_name], field.type)
    }
    return msgspec.convert(fitting, Row)


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def object_page(content: bytes) -> Page[Object]:
    """Read a page of anything that has an id.

    Raises:
        ValueError: it is no JSON object.
    """
    answer = json_object(content)
    data, meta = answer.get("data"), answer.get("meta")
    found = data if isinstance(data, list) else []
    cursor = meta.get("cursor") if isinstance(meta, dict) else None
    rows: list[Object] = [
        row for row in found if isinstance(row, dict) and row.get("id") and isinstance(row["id"], str)
    ]
    return Page(rows, len(found), cursor)


def newest(rows: Iterable[Row]) -> dict[str, Row]:
    """Return one row an id: the one Langfuse changed last."""
    kept: dict[str, Row] = {}
    for row in rows:
        known = kept.get(row.id)
        if known is None or (row.updated_at or _NEVER) >= (known.updated_at or _NEVER):
            kept[row.id] = row
    return kept


def readable(read: Callable[[Any], T], row: Row | Object) -> T | None:
    """Read one row; one that cannot be read is named in the log and left out, and spoils no other."""
    try:
        return read(row)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        of = (row.id, row.trace_id) if isinstance(row, Row) else (row.get("id"), row.get("traceId"))
        where = {"id": str(of[0]), "trace_id": str(of[1] or "")}
        _log.warning("a row of Langfuse cannot be read", **where, why=type(error).__name__)
        return None


def root_of(row: Row) -> TraceRoot | None:
    """Read a root's row; None while it has not ended."""
    start, end = row.start_time, row.end_time
    if end is None or start is None:
        return None
    return TraceRoot(
        TraceRef(_needed(row.trace_id), row.id, row.environment or "default", start, end),
        name=row.trace_name or row.name or "",
        level=row.level or "DEFAULT",
        user_id=row.user_id or None,
        session_id=row.session_id or None,
        tags=tuple(row.tags or ()),
        release=row.release or None,
        version=row.version or None,
        model=row.model or row.provided_model_name or None,
        prompt_name=row.prompt_name or None,
        prompt_version=_whole(row.prompt_version),
        metadata=_mapping(row.metadata),
    )


def observation_of(row: Row) -> Observation:
    """Read an observation with everything in it."""
    # There are hundreds in a batch, and most have none of these: what is not there is not read.
    metadata, usage, version = row.metadata, row.usage_details, row.prompt_version
    cost, first_token = row.total_cost, row.time_to_first_token
    return Observation(
        id=row.id,
        trace_id=_needed(row.trace_id),
        type=row.type or "SPAN",
        name=row.name or "",
        start=_needed(row.start_time),
        end=row.end_time,
        parent_id=row.parent_observation_id or None,
        is_root=bool(row.is_root_observation),
        input=_value(row.input),
        output=_value(row.output),
        level=row.level or "DEFAULT",
        status_message=row.status_message or None,
        metadata=_mapping(metadata) if metadata else {},
        model=row.model or row.provided_model_name or None,
        usage=_numbers(usage) if usage else {},
        cost=None if cost is None else _number(cost),
        prompt_name=row.prompt_name or None,
        prompt_version=None if version is None else _whole(version),
        time_to_first_token=None if first_token is None else _number(first_token),
        updated=row.updated_at,
    )


def trace_of(rows: Iterable[Row], ref: TraceRef) -> Trace | None:
    """Put the rows of one trace together; None without any. The root is the one `ref` names, else the earliest."""
    rows = list(rows)
    read = [o for row in rows if (o := readable(observation_of, row)) is not None]
    if not read:
        return None
    root = next((o for o in read if o.id == ref.root_id), None) or min(
        [o for o in read if o.is_root or o.parent_id is None] or read, key=lambda o: (o.start, o.id)
    )
    # A first child often starts in the same millisecond as its root, and still comes after it.
    observations = sorted(read, key=lambda o: (o.start, o is not root, o.id))
    about = next(row for row in rows if row.id == root.id)
    return Trace(
        id=ref.id,
        root=root,
        observations=tuple(observations),
        name=about.trace_name or root.name,
        environment=about.environment or "default",
        session_id=about.session_id or next((row.session_id for row in rows if row.session_id), None),
        user_id=about.user_id or next((row.user_id for row in rows if row.user_id), None),
        tags=tuple(about.tags or ()),
        release=about.release or next((row.release for row in rows if row.release), None),
        version=about.version or None,
    )


def score_of_row(row: Object) -> RecordedScore:
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
        timestamp=_needed(moment(row["timestamp"])),
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


def _needed(given: T | None) -> T:
    if not given:
        raise ValueError("an id or a time is missing")
    return given


def _value(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    if raw[:1] not in '{["-0123456789tfn':
        return raw
    try:
        value = parsed_json(raw)
    except ValueError:
        return raw
    # 1.10 is a text, as is an order's number of 23 digits: as a number it would no longer be what was answered.
    return raw if isinstance(value, float) and raw != repr(value) else value


def _mapping(raw: Any) -> Mapping[str, Any]:
    if isinstance(raw, dict):
        return raw
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
